"""Accuracy and confusion of predicted genre probabilities.

The predicted genre of a track is its most probable one, the first of ties; it is correct if it is one of the
track's own. In the confusion matrix a track of several genres counts as the predicted one if that is among them,
else as its first, so rows add up to the tracks and the diagonal to the correct ones. Genres that differ in case
alone are the same, so that two collections can be compared.
"""

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.statistics.resampling import bootstrap_interval

Genres = Sequence[Sequence[str]]  # of each track
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GenreAccuracy:
    """Genre accuracy over tracks.

    Attributes
    ----------
    genres : tuple of str
        Known to the classifier.
    confusion : ndarray of int64, shape (n_genres, n_genres)
        Tracks of a genre (row) that were predicted as each (column).
    accuracy, low, high : float
        Share of correct tracks, and its 95 % bootstrap interval over tracks drawn one by one.
    majority : str
        Most frequent genre of the train tracks.
    majority_accuracy : float
        Accuracy of predicting that genre for all tracks.
    best_single, best_single_accuracy : str, float
        Most frequent genre of the evaluated tracks (an oracle), and its accuracy.
    n_without : int
        Tracks without a genre; they are not evaluated.
    unmatched : mapping of str to int
        Genres unknown to the classifier, with their number of tracks.
    n_unmatched : int
        Tracks with unknown genres only; they are not evaluated.
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
        """Number of evaluated tracks."""
        return int(self.confusion.sum())


@dataclass(frozen=True, eq=False)
class Composition:
    """Genre probabilities of a track, shape (n_genres,), and its own genres."""

    track_id: str
    probabilities: npt.NDArray[np.float32]
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class GenreFindings:
    """Results of ``cs-keras genres``.

    Attributes
    ----------
    accuracy
        Over the evaluated tracks.
    compositions
        Genre probabilities of the requested tracks.
    mix, nearest, distances
        A composition in words, the tracks whose genre probabilities are nearest to it, and Euclidean distances.
    subset
        Evaluated tracks, in words.
    n_train_tracks
        Train tracks of the classifier.
    """

    accuracy: GenreAccuracy
    compositions: tuple[Composition, ...]
    subset: str
    n_train_tracks: int
    mix: str = ""
    nearest: tuple[Composition, ...] = ()
    distances: tuple[float, ...] = ()


def evaluate_genres(
    probabilities: npt.ArrayLike,
    genres: Sequence[str],
    labels: Genres,
    majority: str,
) -> GenreAccuracy:
    """Evaluate predicted genre probabilities against the tracks' own genres.

    Parameters
    ----------
    probabilities : array_like, shape (n_tracks, n_genres), float
        Predicted probabilities.
    genres
        Names of the columns.
    labels
        Genres of each track, any number.
    majority
        Most frequent genre of the train tracks.

    Raises
    ------
    DataError
        Shapes do not match, or no track has any of the genres.
    """
    predicted = np.asarray(probabilities)
    if predicted.shape != (len(labels), len(genres)) or not np.isfinite(predicted).all():
        raise DataError(
            "genre probabilities are not valid: expected finite numbers of shape "
            f"({len(labels)}, {len(genres)}). Received: shape {predicted.shape}."
        )
    own = match_genres(labels, genres)
    evaluated = [row for row, columns in enumerate(own) if columns]
    if not evaluated:
        raise DataError(
            f"None of {len(labels)} tracks has a genre of the classifier: expected some of {', '.join(genres)}. "
            f"Received: {', '.join(list(_unmatched(labels, genres))[:5]) or 'none'}."
        )
    best = predicted.argmax(axis=1).tolist()
    confusion = np.zeros((len(genres), len(genres)), np.int64)
    for row in evaluated:
        confusion[best[row] if best[row] in own[row] else own[row][0], best[row]] += 1
    is_correct = np.array([best[row] in own[row] for row in evaluated], np.float64)
    of_single = [float(np.mean([column in own[row] for row in evaluated])) for column in range(len(genres))]
    single = int(np.argmax(of_single))
    n_without = sum(not names for names in labels)
    return GenreAccuracy(
        tuple(genres),
        confusion,
        float(is_correct.mean()),
        *bootstrap_interval(is_correct),
        majority,
        of_single[list(genres).index(majority)],
        genres[single],
        of_single[single],
        n_without,
        _unmatched(labels, genres),
        len(labels) - len(evaluated) - n_without,
    )


def match_genres(labels: Genres, genres: Sequence[str]) -> list[list[int]]:
    """Return for each track the columns of its genres, in its order; names match exactly or by casefolding."""
    column_of = _columns(genres)
    return [
        list(dict.fromkeys(column for name in names if (column := _find(name, column_of)) is not None))
        for names in labels
    ]


def _columns(genres: Sequence[str]) -> dict[str, int]:
    """Return the column of each genre, by its exact name and by its casefolded one."""
    numbered = list(enumerate(genres))
    folded = {name.casefold(): column for column, name in reversed(numbered)}
    return {**folded, **{name: column for column, name in numbered}}


def _find(name: str, column_of: Mapping[str, int]) -> int | None:
    return column_of.get(name, column_of.get(name.casefold()))


def _unmatched(labels: Genres, genres: Sequence[str]) -> dict[str, int]:
    """Return the number of tracks with each unknown genre, most frequent first."""
    column_of = _columns(genres)
    counts = collections.Counter(name for own in labels for name in own if _find(name, column_of) is None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
