"""Recordings to a dataset folder: decode, transform, write shards; what is already whole is not redone."""

import collections
import dataclasses
import os
import threading
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras import config
from cs_keras.audio.decode import load_mono
from cs_keras.audio.settings import AudioConfig
from cs_keras.audio.spectrogram import MagnitudeSpectrogram
from cs_keras.config import check_choice, check_range
from cs_keras.data.catalogue import Recording, check_unique
from cs_keras.data.folds import SPLITS, assign_folds, group_keys
from cs_keras.data.schema import (
    DATASET_FILE,
    SHARDS_FOLDER,
    DatasetInfo,
    LeftOut,
    Tracks,
    make_tracks,
    read_info,
    read_tracks,
    write_dataset,
)
from cs_keras.data.shards import Shard, read_shard, write_shard
from cs_keras.errors import AudioError, ConfigError, CsKerasError
from cs_keras.progress import Advance, Progress, Silent
from cs_keras.runs import digest, remove_temporaries

FINGERPRINT_BYTES = 65_536  # of either end of a file
UNKNOWN_DURATION_S = 240.0  # planned for files whose header does not say how long they are


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """Settings of an ingest.

    Attributes
    ----------
    audio
        What the magnitudes are made with.
    dtype
        Of the magnitudes on disk: ``float16`` or ``float32``.
    fold_by
        What a fold keeps together: ``artist`` or ``track``.
    decoder
        See `cs_keras.audio.decode.decode`.
    shard_mb
        Megabytes a shard is planned for; the largest part of the work that a kill can cost, for each worker.
    workers
        Shards made at a time; 0 is one for each processor core.
    append
        Add to a dataset that is already whole.
    """

    audio: AudioConfig = AudioConfig()
    dtype: str = "float16"
    fold_by: str = "artist"
    decoder: str = "auto"
    shard_mb: int = 128
    workers: int = 0
    append: bool = False

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, ("float16", "float32"))
        check_choice("folds", self.fold_by, ("artist", "track"))
        check_choice("decoder", self.decoder, ("auto", "soundfile", "tfio", "librosa"))
        check_range("shard_mb", self.shard_mb, 1, 4096)
        check_range("workers", self.workers, 0)


@dataclasses.dataclass(frozen=True)
class Part:
    """One shard to make: its name in the dataset and its recordings, in order."""

    name: str
    fold: int
    recordings: tuple[Recording, ...]


@dataclasses.dataclass(frozen=True)
class Ingested:
    """What an ingest did: tracks in the dataset now, how many are new, and what was left out, with reasons."""

    n_tracks: int
    n_new: int
    left_out: tuple[LeftOut, ...]
    dealing: str


def ingest(
    recordings: Sequence[Recording], out: Path, settings: IngestConfig, progress: Progress | None = None
) -> Ingested:
    """Bring `recordings` into the dataset `out`.

    Shards are made in parallel, each whole or not at all; ``dataset.json`` comes last. Called again after a
    kill, it keeps the shards that are there and makes the others: the files end up with the same bytes.

    Raises
    ------
    ConfigError
        When `out` holds a dataset with other settings, or one to which nothing may be added without ``append``.
    DataError
        When ids or files stand twice, or fewer than three recordings can be used.
    StorageError
        When files cannot be read or written.
    """
    progress = progress or Silent()
    check_unique(recordings, "The recordings to ingest")
    remove_temporaries(out)
    info, tracks = _existing(out, settings)
    known = {*tracks.strings("track_id"), *(entry.track_id for entry in info.left_out)}
    new = [recording for recording in recordings if recording.track_id not in known]
    if not new:
        return Ingested(len(tracks), 0, info.left_out, info.dealing)
    if known and not settings.append:
        raise ConfigError(
            f"{out} already holds a dataset of {len(tracks)} tracks, and {len(new)} of the recordings are not in "
            f"it (first: {new[0].track_id!r}); add them with --append, or choose another --out."
        )
    refused: dict[str, str] = {}
    while True:  # a second round only where unusable recordings were all that a split had
        usable = [recording for recording in new if recording.track_id not in refused]
        folds, dealing = _assign(usable, tracks, info.fold_by)
        parts = _plan(usable, folds, tracks, settings)
        shards = _make_shards(parts, out, settings, progress)
        refused |= {i: why for shard in shards for i, why in _left_out(shard).items()}
        rows = [*tracks.table.to_pylist(), *_rows(parts, shards, settings.audio)]
        if known or all(any(row["fold"] in members for row in rows) for members in SPLITS.values()):
            break
    left_out = info.left_out + tuple(
        LeftOut(r.track_id, refused[r.track_id]) for r in new if r.track_id in refused
    )
    dealing = info.dealing if known else dealing
    merged = make_tracks(rows)
    write_dataset(out, dataclasses.replace(info, left_out=left_out, dealing=dealing), merged)
    return Ingested(len(merged), len(merged) - len(tracks), left_out, dealing)


def _existing(out: Path, settings: IngestConfig) -> tuple[DatasetInfo, Tracks]:
    wanted = DatasetInfo(settings.audio, settings.dtype, settings.fold_by)
    if not (out / DATASET_FILE).exists():
        return wanted, make_tracks([])
    info = read_info(out)
    for name in ("audio", "dtype", "fold_by"):
        there, asked = getattr(info, name), getattr(wanted, name)
        if there != asked:
            raise ConfigError(f"{out} was made with {name} = {there}; this command asks for {asked}.")
    return info, read_tracks(out)


def _assign(recordings: Sequence[Recording], tracks: Tracks, fold_by: str) -> tuple[list[int], str]:
    old_keys = group_keys(tracks.strings("track_id"), tracks.strings("artist"), fold_by)
    known = dict(zip(old_keys, tracks.numbers("fold").tolist(), strict=True))
    ids, artists = [r.track_id for r in recordings], [r.artist for r in recordings]
    return assign_folds(ids, artists, fold_by, known)


def _plan(
    recordings: Sequence[Recording], folds: Sequence[int], tracks: Tracks, settings: IngestConfig
) -> list[Part]:
    """Pack recordings into shards by the length their headers give: the same input gives the same shards."""
    audio = settings.audio
    bytes_per_second = audio.frames_per_second * audio.n_bins * np.dtype(settings.dtype).itemsize
    seconds = settings.shard_mb * 1e6 / bytes_per_second
    members: dict[int, list[Recording]] = collections.defaultdict(list)
    for recording, fold in zip(recordings, folds, strict=True):
        members[fold].append(recording)
    taken = collections.Counter(Path(name).parent.name for name in set(tracks.strings("shard")))
    parts = []
    for fold, inside in sorted(members.items()):
        folder = f"fold-{fold:02d}"
        for number, group in enumerate(_pack(inside, seconds), taken[folder]):
            parts.append(Part(f"{SHARDS_FOLDER}/{folder}/part-{number:05d}.h5", fold, tuple(group)))
    return parts


def _pack(recordings: Sequence[Recording], seconds: float) -> list[list[Recording]]:
    groups: list[list[Recording]] = []
    filled = seconds
    for recording in recordings:
        length = recording.duration_s or UNKNOWN_DURATION_S
        if filled + length > seconds and filled:
            groups.append([])
            filled = 0.0
        groups[-1].append(recording)
        filled += length
    return groups


def _make_shards(parts: Sequence[Part], out: Path, settings: IngestConfig, progress: Progress) -> list[Shard]:
    spectrogram = MagnitudeSpectrogram(settings.audio, settings.dtype)
    stop = threading.Event()
    done: dict[str, Shard] = {}
    total = sum(len(part.recordings) for part in parts)
    with (
        progress.task("ingest", total) as advance,
        ThreadPoolExecutor(settings.workers or os.cpu_count()) as pool,
    ):
        futures = {
            pool.submit(_make_shard, part, out, settings, spectrogram, advance, stop): part.name
            for part in parts
        }
        try:
            for future in as_completed(futures):
                done[futures[future]] = future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [done[part.name] for part in parts]


def _make_shard(
    part: Part,
    out: Path,
    settings: IngestConfig,
    spectrogram: MagnitudeSpectrogram,
    advance: Advance,
    stop: threading.Event,
) -> Shard:
    path, plan = out / part.name, _plan_digest(part, settings)
    whole = _read_if_whole(path, plan)
    if whole:
        advance(len(part.recordings))
        return whole
    tracks, left_out = [], {}
    for recording in part.recordings:
        if stop.is_set():
            raise CsKerasError("Ingest was stopped.")
        try:
            samples = load_mono(recording.path, settings.audio, settings.decoder)
            tracks.append((recording.track_id, spectrogram(samples)))
        except AudioError as error:
            left_out[recording.track_id] = str(error)
        advance(1)
    attributes = {"plan": plan, **{f"left_out/{i}": why for i, why in left_out.items()}}
    write_shard(path, tracks, settings.audio, settings.dtype, attributes)
    return read_shard(path)


def _plan_digest(part: Part, settings: IngestConfig) -> str:
    """Identify a shard by what goes into it; a recording that has changed makes another shard."""
    files = [[r.track_id, r.path.name, *_fingerprint(r.path)] for r in part.recordings]
    return digest([config.to_dict(settings.audio), settings.dtype, settings.decoder, files])


def _fingerprint(path: Path) -> list[int]:
    """Return a file's size and a checksum of its ends: no date, so that a copy gives the same shards."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            ends = file.read(FINGERPRINT_BYTES)
            file.seek(max(0, size - FINGERPRINT_BYTES))
            return [size, zlib.crc32(ends + file.read())]
    except OSError:
        return [0, 0]


def _read_if_whole(path: Path, plan: str) -> Shard | None:
    try:
        shard = read_shard(path)
    except (CsKerasError, OSError):
        return None
    return shard if shard.attributes.get("plan") == plan else None


def _left_out(shard: Shard) -> dict[str, str]:
    prefix = "left_out/"
    return {n.removeprefix(prefix): str(why) for n, why in shard.attributes.items() if n.startswith(prefix)}


def _rows(parts: Sequence[Part], shards: Sequence[Shard], audio: AudioConfig) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for part, shard in zip(parts, shards, strict=True):
        described = {recording.track_id: recording for recording in part.recordings}
        for track in shard.tracks:
            recording = described[track.track_id]
            rows.append(
                {
                    **{name: getattr(recording, name) for name in ("artist", "title", "album", "isrc")},
                    "track_id": track.track_id,
                    "genres": list(recording.genres),
                    "duration_s": ((track.n_frames - 1) * audio.hop_length + audio.n_fft) / audio.sample_rate,
                    "fold": part.fold,
                    "shard": part.name,
                    "first_frame": track.first_frame,
                    "n_frames": track.n_frames,
                }
            )
    return rows
