"""Tracks whose factors are explained by their sound and by their attributes, each a known share of the variance."""

import dataclasses
from pathlib import Path

import numpy as np

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.attributes.columns import NumericColumn
from cs_keras.data.attributes.table import AttributeTable, make_table
from cs_keras.data.schema import DatasetInfo, make_tracks, write_dataset
from cs_keras.data.shards import read_shard, write_shard
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.store import Factors, save_factors
from tests.data.small import track_row

N_FACTORS = 4
SHARE = 0.45  # of the variance that each of the two explains; the rest nothing does
AUDIO = AudioConfig(sample_rate=4000, n_fft=128, hop_length=64)  # 65 bins, of which 33 up to 1 kHz
FRAMES = 4
GENRES = ("folk", "metal", "pop")


@dataclasses.dataclass(frozen=True, eq=False)
class Planted:
    """A dataset, and shape (n_tracks, N_FACTORS) each, numbers behind it and what they explain of the factors."""

    folder: Path
    ids: np.ndarray
    factors: np.ndarray
    audible: np.ndarray
    attributes: np.ndarray
    by_audio: np.ndarray
    by_attributes: np.ndarray

    @property
    def test(self) -> np.ndarray:
        """Which tracks are test tracks."""
        return np.arange(len(self.ids)) % 10 >= 8

    def table(self, has: np.ndarray | None = None) -> AttributeTable:
        """Return the attributes of all tracks, or of some."""
        rows = np.arange(len(self.ids)) if has is None else np.flatnonzero(has)
        columns = {f"number {n}": NumericColumn(self.attributes[rows, n : n + 1]) for n in range(N_FACTORS)}
        return make_table(self.ids[rows].tolist(), columns, "the table")


def write_evidence(folder: Path, n_tracks: int = 2000, has_audio: np.ndarray | None = None) -> Planted:
    """Write a dataset of fold i % 10 for track i, of which some have audio, and factors ``wmf`` of all.

    A number of a track is the level of a quarter of its bins up to 1 kHz, where the mel scale is linear, in steps
    of 3 dB, the same in all of its frames.
    """
    rng = np.random.default_rng(0)
    audible, attributes, neither = rng.normal(size=(3, n_tracks, N_FACTORS)).astype(np.float32)
    turns = [np.linalg.qr(rng.normal(size=(N_FACTORS, N_FACTORS)))[0] for _ in range(2)]
    by_audio, by_attributes = (
        np.sqrt(SHARE) * x @ q for x, q in zip((audible, attributes), turns, strict=True)
    )
    factors = (by_audio + by_attributes + np.sqrt(1 - 2 * SHARE) * neither).astype(np.float32)
    ids = np.array([f"t{row:05d}" for row in range(n_tracks)])
    has_audio = np.ones(n_tracks, np.bool_) if has_audio is None else has_audio
    levels = np.pad(np.repeat(audible, 8, axis=1), ((0, 0), (1, 32)), mode="edge")
    magnitudes = np.repeat(10 ** (0.3 * levels)[:, np.newaxis], FRAMES, axis=1).astype(np.float32)
    name = "shards/fold-00/part-00000.h5"
    rows = np.flatnonzero(has_audio)
    write_shard(folder / name, [(ids[row], magnitudes[row]) for row in rows], AUDIO, "float32")
    stored = {track.track_id: track for track in read_shard(folder / name).tracks}
    table = []
    for row, track_id in enumerate(ids):
        shard_track = stored.get(track_id)
        known = (
            {"first_frame": shard_track.first_frame, "n_frames": FRAMES, "shard": name}
            if shard_track
            else _NOWHERE
        )
        table.append(track_row(track_id, fold=row % 10, genres=[GENRES[row % 3]], **known))
    write_dataset(folder, DatasetInfo(AUDIO, "float32"), make_tracks(table))
    planted = Planted(folder, ids, factors, audible, attributes, by_audio, by_attributes)
    _save_factors(planted)
    return planted


_NOWHERE = {"first_frame": 0, "n_frames": 0, "shard": ""}


def _save_factors(planted: Planted) -> None:
    train = planted.factors[np.arange(len(planted.ids)) % 10 < 7]
    factors = Factors(
        name="wmf",
        track_ids=planted.ids,
        item_factors=planted.factors,
        has_factors=np.ones(len(planted.ids), np.bool_),
        playlist_ids=np.array([], np.str_),
        playlist_factors=np.zeros((0, N_FACTORS), np.float32),
        scaler=fit_scaler("standardize", train),
        protocol="given",
        config=None,
        quality={},
    )
    save_factors(planted.folder / "factors" / "wmf.npz", factors)
