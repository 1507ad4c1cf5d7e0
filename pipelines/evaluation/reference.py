"""The test tracks as factors place them, as people listen to them, and as their makers are known from training."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cs_keras.data.genres import track_genres
from cs_keras.data.schema import Tracks
from cs_keras.errors import DataError
from cs_keras.evaluation.groups import assign_popularity_groups
from cs_keras.factors.store import Factors

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Names = npt.NDArray[np.str_]
Kind = Literal["similarity", "dot"]  # of lists: of tracks by similarity, of playlists by dot product
Scores = Callable[[Kind, Rows], npt.NDArray[np.float64]]  # of all test tracks for the rows that ask

ARTIST_GROUPS = ("new", "known")


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """Factors of the test tracks, or one score each, and of the playlists that ask for them.

    Attributes
    ----------
    items : ndarray of float32, shape (n_test, n_factors), or of float64, shape (n_test,)
        Scores rank the tracks the same for every playlist.
    playlists : ndarray of float32, shape (n_playlists, n_factors)
        The reference's own, but for another fit, whose space is its own.
    places : ndarray of float32, shape (n_test, n), or None
        Where tracks lie in a space of the predictor's own, similar ones near by Euclidean distance; None for
        similarity by `items`.
    scores
        From a kind of list and the rows that ask to scores of all test tracks, as
        `cs_keras.evaluation.rank_fusion.Score`, by which it ranks then in place of `items` and `places`; or None.
    """

    items: npt.NDArray[Any]
    playlists: Matrix
    places: Matrix | None = None
    scores: Scores | None = None

    @property
    def is_ranking(self) -> bool:
        """Whether it has one score a track, and so no similarity."""
        return self.items.ndim == 1


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """What predictions for test tracks are held against; test tracks without factors are left out.

    Attributes
    ----------
    rows
        Track table rows with factors, by split.
    own
        The reference factors as a predictor: what a model that errs in nothing would be.
    second
        The same of a fit with another seed, or None.
    listening : csr_matrix, shape (n_playlists, n_test), or None
        Who holds which test track.
    artists, train_artists
        Who made each test and each train track; a track of no known artist has one of its own.
    train_factors
        Shape (n_train, n_factors), float32.
    genres : tuple of tuple of str, or None
        Of each test track, most of them one; None where no test track has any.
    """

    rows: dict[str, Rows]
    own: Predictor
    second: Predictor | None
    listening: Any
    artists: Names
    train_artists: Names
    train_factors: Matrix
    genres: tuple[tuple[str, ...], ...] | None = None

    @property
    def popularity(self) -> Rows | None:
        """How many playlists hold each test track, shape (n_test,); None without listening."""
        return None if self.listening is None else self.listening.getnnz(axis=0).astype(np.int64)

    @property
    def artist_known(self) -> npt.NDArray[np.bool_]:
        """Whether the artist of each test track made a train track, shape (n_test,)."""
        return np.isin(self.artists, self.train_artists)

    @property
    def groups(self) -> dict[str, npt.NDArray[Any]]:
        """Labels of the test tracks: the quarter of ``popularity``, from 0, and whether the ``artist`` is known."""
        popularity = self.popularity
        by_popularity = {} if popularity is None else {"popularity": assign_popularity_groups(popularity)}
        return {**by_popularity, "artist": np.array(ARTIST_GROUPS)[self.artist_known.astype(int)]}


def make_reference(tracks: Tracks, factors: Factors, listening: Any = None) -> Reference:
    """Return what predictions of `factors` are held against.

    Parameters
    ----------
    tracks, factors
        Track table and its factors.
    listening : csr_matrix, shape (n_playlists, n_tracks), optional
        See `pipelines.factors.interactions.open_interactions`.

    Raises
    ------
    DataError
        When no test track has factors.
    """
    rows = {
        split: np.flatnonzero(tracks.in_split(split) & factors.has_factors)
        for split in ("train", "validation", "test")
    }
    train, test = rows["train"], rows["test"]
    if not len(test):
        raise DataError("No test track has listening, so there is no reference to judge predictions by.")
    second = None
    if factors.second_item_factors is not None and factors.second_playlist_factors is not None:
        second = Predictor(factors.second_item_factors[test], factors.second_playlist_factors)
    artists, genres = _artists(tracks), track_genres(tracks)
    of_test = tuple(genres[row] for row in test.tolist())
    return Reference(
        rows,
        Predictor(factors.item_factors[test], factors.playlist_factors),
        second,
        None if listening is None else listening[:, test],
        artists[test],
        artists[train],
        factors.item_factors[train],
        of_test if any(of_test) else None,
    )


def _artists(tracks: Tracks) -> Names:
    """Return the artist of each track; nobody else's work is by the artist of a track that names none."""
    named = zip(tracks.strings("artist"), tracks.ids.tolist(), strict=True)
    return np.array([artist or f"\0{track_id}" for artist, track_id in named], dtype=np.str_)
