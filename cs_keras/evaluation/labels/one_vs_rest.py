"""Cross-validated classifiers of tracks with several labels each, one against the rest for each label.

Each label has a support vector machine of its own, whose settings have the best ROC AUC in a cross-validation
inside the training folds. Scores of different fits have different scales: tracks are ranked within their fold, and
metrics averaged over folds (Forman & Scholz 2010, "Apples-to-apples in cross-validation studies").
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from cs_keras.config import check_choice
from cs_keras.errors import DataError
from cs_keras.evaluation.labels.classification import (
    CACHE_MB,
    GAMMAS,
    HEADS,
    INNER_FOLDS,
    PENALTIES,
    Integers,
    check_fold_numbers,
    split_rows,
)

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TaggedTracks:
    """Features and labels of tracks that have any number of labels each.

    Attributes
    ----------
    features : ndarray, shape (n, n_features), float
    names : ndarray of str, shape (n_labels,)
    has : ndarray of bool, shape (n, n_labels)
        Which track has which label.
    groups : ndarray of int64, shape (n,)
        As of `LabelledTracks`.
    """

    features: npt.NDArray[np.floating[Any]]
    names: npt.NDArray[np.str_]
    has: Flags
    groups: Integers

    def __post_init__(self) -> None:
        if self.has.shape != (len(self.features), len(self.names)) or len(self.groups) != len(self.features):
            raise DataError(
                f"expected labels of shape ({len(self.features)}, {len(self.names)}). Received: {self.has.shape}."
            )


def make_tag_folds(examples: TaggedTracks, n_folds: int, n_repeats: int, seed: int) -> Integers:
    """Assign tracks to folds, whole groups together; shape (n_repeats, n).

    Folds have similar shares of tracks by the rarest label of each.

    Raises
    ------
    DataError
        There are fewer groups than folds, or a fold gets none.
    """
    n_groups = len(np.unique(examples.groups))
    if n_groups < n_folds:
        raise DataError(
            f"too few examples for {n_folds} folds: expected as many tracks (or artists, where known). Received: "
            f"{n_groups}."
        )
    n_with = examples.has.sum(axis=0)
    rarest = np.where(examples.has, n_with, n_with.max() + 1).argmin(axis=1)
    strata = _merge_rare(np.where(examples.has.any(axis=1), rarest, -1), n_folds)
    folds = np.empty((n_repeats, len(strata)), np.int64)
    for repeat, row in enumerate(folds):
        with warnings.catch_warnings():  # of the merged stratum, where it is small
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            for number, (_, test) in enumerate(split_rows(strata, examples.groups, n_folds, seed + repeat)):
                row[test] = number
    check_fold_numbers(folds)
    return folds


def is_classifiable(examples: TaggedTracks, folds: Integers) -> Flags:
    """Return which labels can be fitted without each fold and evaluated in at least one, shape (n_labels,).

    Outside every fold two tracks must have the label and two lack it. `folds` as for `score_tags`.
    """
    usable = np.ones(len(examples.names), np.bool_)
    for row in folds:
        varies = np.zeros(len(usable), np.bool_)
        for number in range(row.max() + 1):
            outside, inside = examples.has[row != number], examples.has[row == number]
            n_with = outside.sum(axis=0)
            usable &= np.minimum(n_with, len(outside) - n_with) >= 2
            varies |= inside.any(axis=0) & ~inside.all(axis=0)
        usable &= varies
    return usable


def score_tags(
    examples: TaggedTracks,
    folds: Integers,
    head: str,
    seed: int = 0,
    on_fit: Callable[[int], None] = lambda n_fits: None,
) -> npt.NDArray[np.float64]:
    """Fit a classifier of each label without each fold in turn, and score that fold's tracks.

    Parameters
    ----------
    examples
        n tracks, whose labels are all classifiable (`is_classifiable`).
    folds : ndarray of int64, shape (n_repeats, n)
        From `make_tag_folds` or elsewhere; each row holds all numbers from 0 to its largest.
    head : {"linear", "rbf"}
        Scikit-learn's LinearSVC, or SVC with that kernel, on features of mean 0 and variance 1. Settings are chosen
        among those of `cs_keras.evaluation.labels.classification.cross_validate`.
    seed : int
        Seed of the inner folds.
    on_fit
        Called with 1 after each fold of each label.

    Returns
    -------
    ndarray of float64, shape (n_repeats, n, n_labels)
        Signed distances from the separating plane; comparable within a fold and a label.

    Raises
    ------
    ConfigError
        The head is unknown.
    """
    check_choice("head", head, HEADS)
    check_fold_numbers(folds)
    scores = np.empty((len(folds), *examples.has.shape))
    for repeat, row in enumerate(folds):
        for number in range(row.max() + 1):
            train, test = np.flatnonzero(row != number), np.flatnonzero(row == number)
            for label in range(len(examples.names)):
                model = _fit(examples, label, train, head, seed)
                scores[repeat, test, label] = model.decision_function(examples.features[test])
                on_fit(1)
    return scores


def _fit(examples: TaggedTracks, label: int, train: Integers, head: str, seed: int) -> GridSearchCV:
    """Return a classifier of the rows `train` with the settings of the best ROC AUC in an inner cross-validation.

    Its folds are of whole groups, or of tracks where one of these would lack tracks with or without the label.
    """
    features, has, groups = examples.features[train], examples.has[train, label], examples.groups[train]
    n_folds = min(INNER_FOLDS, int(has.sum()), int((~has).sum()))
    splits = list(split_rows(has, groups, n_folds, seed)) if len(np.unique(groups)) >= n_folds else []
    if not splits or any(len(np.unique(has[rows])) < 2 for split in splits for rows in split):
        splits = list(split_rows(has, np.arange(len(train)), n_folds, seed))
    n_features = features.shape[1]
    # LinearSVC solves the primal problem: SVC needs minutes for a label that no plane separates.
    machine = LinearSVC(dual=False) if head == "linear" else SVC(kernel=head, cache_size=CACHE_MB)
    grid = {"svm__C": [C / n_features if head == "linear" else C for C in PENALTIES]}
    if head == "rbf":
        grid["svm__gamma"] = [gamma / n_features for gamma in GAMMAS]
    pipeline = Pipeline([("scale", StandardScaler()), ("svm", machine)])
    return GridSearchCV(pipeline, grid, cv=splits, scoring="roc_auc", error_score="raise").fit(features, has)


def _merge_rare(strata: Integers, n_folds: int) -> npt.NDArray[np.str_]:
    """Return strata as text, those of fewer tracks than folds as one."""
    values, number, counts = np.unique(strata, return_inverse=True, return_counts=True)
    return np.where(counts < n_folds, "rare", values.astype(np.str_))[number]
