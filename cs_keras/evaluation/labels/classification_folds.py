"""Examples to tell apart, and the folds that hold them out: like shares of each label, artists never parted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from cs_keras.errors import DataError

Features = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.str_]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Examples:
    """Tracks to tell apart.

    Attributes
    ----------
    features : ndarray, shape (n, n_features), float
    labels : ndarray of str, shape (n,)
    groups : ndarray of int64, shape (n,)
        Tracks of one group, such as an artist, are never parted by a fold that is made here; each its own where
        nothing is known.

    Raises
    ------
    DataError
        Shapes that do not fit, features that are not finite, or fewer than two labels.
    """

    features: Features
    labels: Labels
    groups: Integers

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len({len(self.features), len(self.labels), len(self.groups)}) != 1:
            raise DataError(
                f"expected features of shape ({len(self.labels)}, n_features). Received: {self.features.shape}."
            )
        if not np.isfinite(self.features).all():
            raise DataError("features must be finite numbers; some are not.")
        if len(self.classes) < 2:
            raise DataError(
                f"expected two labels or more to tell apart. Received: {', '.join(self.classes)}."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels there are, sorted."""
        return tuple(np.unique(self.labels).tolist())


def make_folds(examples: Examples, n_folds: int, n_repeats: int, seed: int) -> Integers:
    """Deal tracks to folds of like shares of each label, whole groups together; shape (n_repeats, n).

    Raises
    ------
    DataError
        A label has fewer groups than there are folds.
    """
    counts = group_counts(examples, np.arange(len(examples.labels)))
    rarest = min(counts, key=lambda label: counts[label])
    if counts[rarest] < n_folds:
        raise DataError(
            f"too few examples of {rarest!r} for {n_folds} folds: expected as many tracks (or artists, where "
            f"known) of each label. Received: {counts[rarest]}."
        )
    folds = np.empty((n_repeats, len(examples.labels)), np.int64)
    for repeat, row in enumerate(folds):
        for number, (_, test) in enumerate(split(examples, n_folds, seed + repeat)):
            row[test] = number
    return folds


def check_folds(examples: Examples, folds: Integers) -> None:
    """Check that every training part can be parted once more, to choose settings.

    Parameters
    ----------
    examples
        Of n tracks.
    folds : ndarray of int64, shape (n_repeats, n)
        Numbers from 0.

    Raises
    ------
    DataError
        There is one fold only, or an empty one; or without some fold a label has fewer than two tracks, or artists.
    """
    for row in folds:
        if row.max() < 1:
            raise DataError("expected two folds or more. Received: one.")
        for number in range(row.max() + 1):
            if number not in row:
                raise DataError(
                    f"fold {number + 1} of {row.max() + 1} is empty: artists are too few for so many."
                )
            counts = group_counts(examples, np.flatnonzero(row != number))
            for label in examples.classes:
                if counts.get(label, 0) < 2:
                    raise DataError(
                        f"too few examples of {label!r}: expected two tracks (or artists, where known) outside "
                        f"fold {number + 1}. Received: {counts.get(label, 0)}."
                    )


def split(examples: Examples, n_folds: int, seed: int) -> Iterator[tuple[Integers, Integers]]:
    """Yield train and test rows, whole groups together, with like shares of each label."""
    rows, labels = examples.features, examples.labels
    if len(np.unique(examples.groups)) < len(labels):
        grouped = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
        yield from grouped.split(rows, labels, examples.groups)
    else:
        yield from StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(rows, labels)


def group_counts(examples: Examples, rows: Integers | Sequence[int]) -> dict[str, int]:
    """Return how many groups of each label there are among `rows`."""
    pairs = set(zip(examples.labels[rows].tolist(), examples.groups[rows].tolist(), strict=True))
    counts: dict[str, int] = {}
    for label, _ in pairs:
        counts[label] = counts.get(label, 0) + 1
    return counts
