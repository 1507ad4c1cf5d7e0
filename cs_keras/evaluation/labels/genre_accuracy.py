"""How well probabilities of genres tell the genres of tracks, and what is taken for what.

What is told of a track is its most probable genre, the first of equals; it is right if it is one of the track's
own. A track of several genres counts as one of the genre that was told, if that is among them, and else as one of
its first. So rows of the confusion add up to the tracks, and its diagonal to those that are told right. Genres that
differ in case alone are the same, so that two collections can be held together.
"""

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.statistics.resampling import Resampling, resample_means

Genres = Sequence[Sequence[str]]  # of each track
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GenreAccuracy:
    """What was told right.

    Attributes
    ----------
    genres : tuple of str
        That can be told.
    confusion : ndarray of int64, shape (n_genres, n_genres)
        How many tracks of a genre (row) were told to be of each (column).
    accuracy, low, high : float
        Share of the tracks that are told right, and its 95 % bootstrap interval over tracks drawn one by one.
    majority : str
        Genre that most train tracks have.
    majority_accuracy : float
        Share that is right if that one is told of all.
    best_single, best_single_accuracy : str, float
        The genre that would be right most often if one were told of all: an oracle, as it knows the tracks' own.
    n_without : int
        Tracks of no genre; they are not judged.
    unmatched : mapping of str to int
        Genres that cannot be told, and how many tracks have each.
    n_unmatched : int
        Tracks that have only such genres; they are not judged.
    """

    genres: tuple[str, ...]
    confusion: Integers
    accuracy: float
    low: float
    high: float
    majority: str
    majority_accuracy: float
    best_single: str
    best_single_accuracy: float
    n_without: int
    unmatched: Mapping[str, int]
    n_unmatched: int

    @property
    def n_tracks(self) -> int:
        """Tracks that are judged."""
        return int(self.confusion.sum())


@dataclass(frozen=True, eq=False)
class Composition:
    """What a track is made of: the probability of each genre, shape (n_genres,), and its own genres."""

    track_id: str
    probabilities: npt.NDArray[np.float32]
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class GenreFindings:
    """What ``cs-keras genres`` shows.

    Attributes
    ----------
    accuracy
        Over the tracks that are judged.
    compositions
        Of the tracks that were asked for.
    judged
        Which tracks those are, in words.
    n_train_tracks
        How many train tracks the classifier has learnt from.
    """

    accuracy: GenreAccuracy
    compositions: tuple[Composition, ...]
    judged: str
    n_train_tracks: int


def evaluate_genres(
    probabilities: npt.ArrayLike,
    genres: Sequence[str],
    labels: Genres,
    majority: str,
    resampling: Resampling | None = None,
) -> GenreAccuracy:
    """Hold what is told of tracks against their own genres.

    Parameters
    ----------
    probabilities : array_like, shape (n_tracks, n_genres), float
        Of tracks.
    genres
        Of the columns.
    labels
        Genres of each track, as many as there are.
    majority
        The one of `genres` that most train tracks have.
    resampling
        Of the interval.

    Raises
    ------
    DataError
        When shapes do not fit, or no track has any of the genres.
    """
    told, resampling = np.asarray(probabilities), resampling or Resampling()
    if told.shape != (len(labels), len(genres)) or not np.isfinite(told).all():
        raise DataError(
            "these are no probabilities of genres: expected finite numbers of shape "
            f"({len(labels)}, {len(genres)}). Received: shape {told.shape}."
        )
    own = match_genres(labels, genres)
    judged = [row for row, columns in enumerate(own) if columns]
    if not judged:
        raise DataError(
            f"None of {len(labels)} tracks has a genre that can be told: expected some of {', '.join(genres)}. "
            f"Received: {', '.join(list(_unmatched(labels, genres))[:5]) or 'none'}."
        )
    best = told.argmax(axis=1).tolist()
    confusion = np.zeros((len(genres), len(genres)), np.int64)
    for row in judged:
        confusion[best[row] if best[row] in own[row] else own[row][0], best[row]] += 1
    is_right = np.array([[best[row] in own[row] for row in judged]], np.float64)
    means = resample_means(is_right, resampling.n_bootstrap, resampling.seed)[0]
    of_single = [float(np.mean([place in own[row] for row in judged])) for place in range(len(genres))]
    single = int(np.argmax(of_single))
    n_without = sum(not names for names in labels)
    return GenreAccuracy(
        tuple(genres),
        confusion,
        float(is_right.mean()),
        *resampling.interval(means),
        majority,
        of_single[list(genres).index(majority)],
        genres[single],
        of_single[single],
        n_without,
        _unmatched(labels, genres),
        len(labels) - len(judged) - n_without,
    )


def match_genres(labels: Genres, genres: Sequence[str]) -> list[list[int]]:
    """Return for each track the columns of `genres` that are its own, in its order.

    A name that is not there as it is written stands for one that differs in case alone.
    """
    column_of = _columns(genres)
    return [
        list(dict.fromkeys(column for name in names if (column := _find(name, column_of)) is not None))
        for names in labels
    ]


def _columns(genres: Sequence[str]) -> dict[str, int]:
    """Return the column of each genre, by its name as it is written and without regard to case."""
    numbered = list(enumerate(genres))
    folded = {name.casefold(): column for column, name in reversed(numbered)}
    return {**folded, **{name: column for column, name in numbered}}


def _find(name: str, column_of: Mapping[str, int]) -> int | None:
    return column_of.get(name, column_of.get(name.casefold()))


def _unmatched(labels: Genres, genres: Sequence[str]) -> dict[str, int]:
    """Return how many tracks have each genre that cannot be told, the commonest first."""
    column_of = _columns(genres)
    counts = collections.Counter(name for own in labels for name in own if _find(name, column_of) is None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
