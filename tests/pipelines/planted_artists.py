"""Tracks whose factors are explained by attributes, by their artist and by their genre, each a known share."""

import dataclasses
from pathlib import Path

import numpy as np

from cs_keras.data.attributes.columns import NumericColumn
from cs_keras.data.attributes.table import AttributeTable, make_table
from cs_keras.data.schema import DatasetInfo, make_tracks, write_dataset
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.store import Factors, save_factors
from tests.data.small import track_row

N_FACTORS = 4
SHARES = {"attributes": 0.35, "artist": 0.3, "genre": 0.2}  # of the variance; nothing explains the rest
NOISE = 1 - sum(SHARES.values())
GENRES = ("folk", "jazz", "metal", "pop", "soul")
N_NEW = 10  # artists whose tracks are all test tracks


@dataclasses.dataclass(frozen=True, eq=False)
class PlantedArtists:
    """A dataset of fold i % 10 for track i, and shape (n_tracks, N_FACTORS) each, what explains the factors."""

    folder: Path
    ids: np.ndarray
    artists: np.ndarray
    folds: np.ndarray
    factors: np.ndarray
    attributes: np.ndarray
    by_attributes: np.ndarray
    by_genre: np.ndarray

    def table(self, has: np.ndarray | None = None) -> AttributeTable:
        """Return the attributes of all tracks, or of some."""
        rows = np.arange(len(self.ids)) if has is None else np.flatnonzero(has)
        columns = {f"number {n}": NumericColumn(self.attributes[rows, n : n + 1]) for n in range(N_FACTORS)}
        return make_table(self.ids[rows].tolist(), columns, "the table")

    @property
    def is_new(self) -> np.ndarray:
        """Whether a track's artist has no train tracks."""
        return ~np.isin(self.artists, self.artists[self.folds < 7])

    def best(self, *explained: np.ndarray) -> np.ndarray:
        """Return the best prediction of each track from what is `explained` and the artist's train tracks.

        The factors' residuals scatter around their artist's with a variance that is known, and artists around 0:
        Bayes' rule for normal distributions. A train track's own residual is not used.
        """
        part = sum(explained, np.zeros_like(self.factors))
        within = NOISE + SHARES["attributes"] + SHARES["genre"] - part.var(axis=0).mean()
        found, rows = part.copy(), np.arange(len(self.ids))
        for row in rows:
            others = (self.artists == self.artists[row]) & (self.folds < 7) & (rows != row)
            residuals = (self.factors - part)[others]
            found[row] += residuals.sum(axis=0) / (len(residuals) + within / SHARES["artist"])
        return found


def write_artists(folder: Path, n_tracks: int = 1500) -> PlantedArtists:
    """Write a dataset without audio, of artists with 2 to 20 tracks of random years, and factors ``wmf`` of all."""
    random = np.random.default_rng(0)
    sizes = random.integers(2, 21, n_tracks)
    owner = random.permutation(np.repeat(np.arange(n_tracks), sizes)[:n_tracks])
    folds = np.where(owner < N_NEW, 8, np.arange(n_tracks) % 10)
    genre = random.integers(0, len(GENRES), n_tracks)
    attributes, noise, of_artist = random.normal(size=(3, n_tracks, N_FACTORS)).astype(np.float32)
    of_genre = np.linalg.qr(random.normal(size=(len(GENRES), N_FACTORS)))[0]
    of_genre = (of_genre - of_genre.mean(axis=0)) / of_genre.std()
    turn = np.linalg.qr(random.normal(size=(N_FACTORS, N_FACTORS)))[0]
    by_attributes = np.sqrt(SHARES["attributes"]) * attributes @ turn
    by_genre = np.sqrt(SHARES["genre"]) * of_genre[genre]
    by_artist = np.sqrt(SHARES["artist"]) * of_artist[owner]
    factors = (by_attributes + by_genre + by_artist + np.sqrt(NOISE) * noise).astype(np.float32)
    ids = np.array([f"t{row:05d}" for row in range(n_tracks)])
    artists = np.array([f"artist {number}" for number in owner])
    dates = [f"{year}" for year in np.random.default_rng(1).integers(1900, 2000, n_tracks)]
    rows = zip(ids, artists, genre, folds.tolist(), dates, strict=True)
    nowhere = {"shard": "", "first_frame": 0, "n_frames": 0}
    table = [
        track_row(track_id, artist=artist, genres=[GENRES[number]], fold=fold, release_date=date, **nowhere)
        for track_id, artist, number, fold, date in rows
    ]
    write_dataset(folder, DatasetInfo(fold_by="track"), make_tracks(table))
    save_factors(
        folder / "factors" / "wmf.npz",
        Factors(
            name="wmf",
            track_ids=ids,
            item_factors=factors,
            has_factors=np.ones(n_tracks, np.bool_),
            playlist_ids=np.array([], np.str_),
            playlist_factors=np.zeros((0, N_FACTORS), np.float32),
            scaler=fit_scaler("standardize", factors[folds < 7]),
            protocol="given",
            config=None,
            quality={},
        ),
    )
    return PlantedArtists(folder, ids, artists, folds, factors, attributes, by_attributes, by_genre)
