"""Reference factors of the test tracks, and the predictors that every model is compared with."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.data.genres import track_genres
from cs_keras.data.schema import Tracks
from cs_keras.errors import DataError
from cs_keras.evaluation.groups import assign_popularity_groups
from cs_keras.evaluation.labels.cohesion import genre_matrix
from cs_keras.evaluation.rank_fusion import dot_scores
from cs_keras.evaluation.reference_predictors import (
    predict_artist_means,
    predict_from_features,
    random_predictor,
    score_by_mean_playlist,
)
from cs_keras.factors.interactions import Interactions
from cs_keras.factors.store import Factors
from cs_keras.run_files.evaluation import (
    ARTIST_MEAN,
    BEST_FROM_SOUND,
    POPULARITY_ORACLE,
    RANDOM,
    REFIT_CEILING,
    Kind,
)
from cs_keras.runs import read_npz
from cs_keras.storage.location import Location, is_file

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Scores = Callable[[Kind, Rows], npt.NDArray[np.float64]]  # of all test tracks for some query rows

# Artists without train tracks, with train tracks, and not known.
NEW, KNOWN, UNKNOWN = "new", "known", "unknown"


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """Factors of the test tracks, or one score each, and of the query playlists.

    Attributes
    ----------
    items
        Shape (n_test, n_factors), float32; or (n_test,), float64: scores that rank the same for every playlist.
    playlists
        Shape (n_playlists, n_factors). Those of the reference, except for another fit, which has its own space.
    positions
        Shape (n_test, n): in a space of the predictor's own, in which similarity is Euclidean distance; None for
        similarity by `items`.
    scores
        Function of a kind of list and query rows to scores of all test tracks, see
        `cs_keras.evaluation.rank_fusion.Score`. It ranks instead of `items` and `positions`.
    """

    items: npt.NDArray[Any]
    playlists: Matrix
    positions: Matrix | None = None
    scores: Scores | None = None

    @property
    def is_ranking(self) -> bool:
        """Whether it has one score per track, and so no similarity."""
        return self.items.ndim == 1

    def score_all(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the scores of all test tracks for some playlists, by dot product where it has no `scores`."""
        if self.scores is not None:
            return self.scores("dot", rows)
        if self.is_ranking:
            return np.tile(self.items, (len(rows), 1))
        return dot_scores(self.playlists, self.items)(rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """Reference factors and metadata of the test tracks that have factors.

    Artists are numbers, -1 where the artist is unknown.
    """

    rows: dict[str, Rows]  # of the track table, with factors, by split
    own: Predictor  # which a perfect model would equal
    refit: Predictor | None  # a fit with another seed
    interactions: Any  # test tracks in each playlist: csr_matrix, shape (n_playlists, n_test), or None
    artists: Rows
    train_artists: Rows
    train_factors: Matrix
    genres: tuple[tuple[str, ...], ...] | None = None  # of each test track; None where none has any
    halves: tuple[Predictor, Predictor] | None = None  # fits of two halves of the playlists
    best_from_sound: Callable[[], Matrix] | None = None  # None where the true style is not known
    known: Callable[[], tuple[Matrix, Rows]] | None = (
        None  # factors and artists of train and validation tracks
    )
    dislikes: Any = None  # test tracks that each playlist's listener dislikes, as `interactions`

    @functools.cached_property
    def popularity(self) -> Rows | None:
        """Number of playlists with each test track, shape (n_test,); None without interactions."""
        return None if self.interactions is None else self.interactions.getnnz(axis=0).astype(np.int64)

    @functools.cached_property
    def has_known_artists(self) -> bool:
        """Whether the artist of any test track is known, so that lists can be filtered by artist."""
        return bool((self.artists >= 0).any())

    @functools.cached_property
    def artist_trained(self) -> npt.NDArray[np.bool_]:
        """Whether the artist of each test track has train tracks, shape (n_test,)."""
        return np.isin(self.artists, self.train_artists) & (self.artists >= 0)

    @functools.cached_property
    def genre_matrix(self) -> Any:
        """Genres of the test tracks: csr_matrix, shape (n_test, n_genres); without columns if none are known."""
        return genre_matrix(self.genres or [()] * len(self.artists))

    @functools.cached_property
    def groups(self) -> dict[str, npt.NDArray[Any]]:
        """Labels of the test tracks: quarter of ``popularity``, from 0; whether the ``artist`` has train tracks."""
        popularity = self.popularity
        by_popularity = {} if popularity is None else {"popularity": assign_popularity_groups(popularity)}
        artist = np.select([self.artists < 0, self.artist_trained], [UNKNOWN, KNOWN], NEW)
        return {**by_popularity, "artist": artist}


def open_true_style(dataset: Location, track_ids: npt.NDArray[np.str_]) -> Matrix | None:
    """Read the style that the audio of each track was generated from, shape (n_tracks, n_dims).

    None where no ``truth.npz`` with all tracks is in the dataset or its folder ``source``, as `cs-keras demo-data`
    leaves it. StorageError is raised when the file is damaged.
    """
    for path in (dataset / "truth.npz", dataset / "source" / "truth.npz"):
        if is_file(path):
            truth = read_npz(path, "track_ids", "style")
            row_of = {track_id: row for row, track_id in enumerate(truth["track_ids"].tolist())}
            rows = [row_of.get(track_id, -1) for track_id in track_ids.tolist()]
            return None if -1 in rows else np.asarray(truth["style"][rows], dtype=np.float32)
    return None


def make_reference(
    tracks: Tracks,
    factors: Factors,
    interactions: Interactions | None = None,
    true_style: Matrix | None = None,
) -> Reference:
    """Return the reference to evaluate predictions of `factors` with; raise DataError if no test track has any.

    For `interactions` see `pipelines.factors.open.open_interactions`, for `true_style` `open_true_style`.
    """
    rows = {
        split: np.flatnonzero(tracks.in_split(split) & factors.has_factors)
        for split in ("train", "validation", "test")
    }
    train, test = rows["train"], rows["test"]
    if not len(test):
        raise DataError(
            "No test track has interactions, so there is no reference to evaluate predictions with."
        )
    refit = None
    if factors.second_item_factors is not None and factors.second_playlist_factors is not None:
        refit = Predictor(factors.second_item_factors[test], factors.second_playlist_factors)
    halves = None
    if factors.half_item_factors is not None and factors.half_playlist_factors is not None:
        one, other = zip(factors.half_item_factors[:, test], factors.half_playlist_factors, strict=True)
        halves = Predictor(*one), Predictor(*other)
    best = None
    if true_style is not None and len(train) and len(rows["validation"]):
        best = functools.partial(predict_from_features, true_style, factors.item_factors, rows)
    artists, genres = tracks.artist_numbers, track_genres(tracks)
    of_test = tuple(genres[row] for row in test.tolist())
    return Reference(
        rows,
        Predictor(factors.item_factors[test], factors.playlist_factors),
        refit,
        None if interactions is None else interactions.user_items[:, test],
        artists[test],
        artists[train],
        factors.item_factors[train],
        of_test if any(of_test) else None,
        halves,
        best,
        functools.partial(_select_known, factors.item_factors, artists, rows),
        None if interactions is None or interactions.dislikes is None else interactions.dislikes[:, test],
    )


def _select_known(factors: Matrix, artists: Rows, rows: dict[str, Rows]) -> tuple[Matrix, Rows]:
    chosen = np.sort(np.concatenate([rows["train"], rows["validation"]]))
    return factors[chosen], artists[chosen]


def make_reference_predictors(reference: Reference, seed: int) -> Iterator[tuple[str, Predictor]]:
    """Yield names and predictors, in the order of `cs_keras.run_files.evaluation.INFORMATION`.

    Each is made when it is needed, so only one is in memory at a time. The artist mean is yielded if any test
    track's artist made a train track, unless there are no factors of train tracks, as in a cross-validation.
    """
    own = reference.own
    # Rotations of a cross-validation draw different factors, whose p-values are independent.
    drawn = random_predictor(own.items, (seed, int(reference.rows["test"][0])))
    yield RANDOM, Predictor(drawn, own.playlists)
    if len(own.playlists):
        yield POPULARITY_ORACLE, Predictor(score_by_mean_playlist(own.items, own.playlists), own.playlists)
    if reference.artist_trained.any() and len(reference.train_factors):
        means = predict_artist_means(reference.train_factors, reference.train_artists, reference.artists)
        yield ARTIST_MEAN, Predictor(means, own.playlists)
        del means
    if reference.best_from_sound is not None:
        yield BEST_FROM_SOUND, Predictor(reference.best_from_sound(), own.playlists)
    if reference.refit is not None:
        yield REFIT_CEILING, reference.refit
