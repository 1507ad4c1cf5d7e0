"""Cross-validated support vector machines on features: how well they separate labelled tracks.

The usual evaluation of features learnt for another task (van den Oord, Dieleman & Schrauwen 2014; Choi et al.
2017). Scaling, the choice of settings and the classifier use the training folds only. Folds have similar shares of
each label, and tracks of one group (an artist) stay in one fold.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from cs_keras.config import check_choice
from cs_keras.errors import DataError
from cs_keras.evaluation.statistics.resampling import bootstrap_interval

Integers = npt.NDArray[np.int64]

HEADS = ("linear", "rbf")
MAJORITY = "majority"
INNER_FOLDS = 3
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)  # of `linear` divided by the number of features, to suit any size
GAMMAS = (0.1, 1.0, 10.0)  # divided by the number of features: 1 is scikit-learn's "scale"
CACHE_MB = 500


@dataclass(frozen=True, eq=False)
class LabelledTracks:
    """Features and labels of tracks.

    Attributes
    ----------
    features : ndarray, shape (n, n_features), float
    labels : ndarray of str, shape (n,)
    groups : ndarray of int64, shape (n,)
        Tracks of one group, such as an artist, share a fold; a distinct number for each unknown one.

    Raises
    ------
    DataError
        Shapes do not match, features are not finite, or there are fewer than two labels.
    """

    features: npt.NDArray[np.floating[Any]]
    labels: npt.NDArray[np.str_]
    groups: Integers

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len({len(self.features), len(self.labels), len(self.groups)}) != 1:
            raise DataError(
                f"expected features of shape ({len(self.labels)}, n_features). Received: {self.features.shape}."
            )
        if not np.isfinite(self.features).all():
            raise DataError("features must be finite numbers; some are not.")
        if len(self.classes) < 2:
            raise DataError(f"expected at least two labels. Received: {', '.join(self.classes)}.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Distinct labels, sorted."""
        return tuple(np.unique(self.labels).tolist())


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Predictions of one classifier for every track, from fits without the track's fold.

    Attributes
    ----------
    predicted : ndarray of str, shape (n_repeats, n)
    fold_accuracy : ndarray, shape (n_repeats, n_folds)
        Share of a held-out fold's tracks that are classified correctly.
    settings : tuple of dict
        Chosen in each fold, one repeat after another; empty where there is nothing to choose.
    """

    predicted: npt.NDArray[np.str_]
    fold_accuracy: npt.NDArray[np.float64]
    settings: tuple[dict[str, float], ...]


def make_folds(examples: LabelledTracks, n_folds: int, n_repeats: int, seed: int) -> Integers:
    """Assign tracks to folds with similar shares of each label, whole groups together; shape (n_repeats, n).

    Raises
    ------
    DataError
        A label has fewer groups than there are folds.
    """
    counts = _count_groups(examples, np.arange(len(examples.labels)))
    rarest = min(counts, key=lambda label: counts[label])
    if counts[rarest] < n_folds:
        raise DataError(
            f"too few examples of {rarest!r} for {n_folds} folds: expected as many tracks (or artists, where "
            f"known) of each label. Received: {counts[rarest]}."
        )
    folds = np.empty((n_repeats, len(examples.labels)), np.int64)
    for repeat, row in enumerate(folds):
        for number, (_, test) in enumerate(
            split_rows(examples.labels, examples.groups, n_folds, seed + repeat)
        ):
            row[test] = number
    return folds


def cross_validate(
    examples: LabelledTracks,
    folds: Integers,
    head: str,
    seed: int = 0,
    on_fold: Callable[[int], None] = lambda n_folds: None,
) -> CrossValidation:
    """Fit a classifier without each fold in turn and predict the labels of that fold's tracks.

    Parameters
    ----------
    examples
        n tracks.
    folds : ndarray of int64, shape (n_repeats, n)
        From `make_folds` or elsewhere; each row holds all numbers from 0 to its largest.
    head : {"linear", "rbf", "majority"}
        A support vector machine (scikit-learn's SVC, one against one) on features of mean 0 and variance 1, whose
        C, and gamma for ``rbf``, have the best accuracy in a cross-validation inside the training folds (of whole
        groups, or of tracks where a label has a single group there); or the
        most frequent label of the training folds.
    seed : int
        Seed of the inner folds.
    on_fold
        Called with 1 after each fold.

    Raises
    ------
    ConfigError
        The head is unknown.
    DataError
        A row has one fold only, or an empty one; or outside some fold a label has fewer than two tracks.
    """
    check_choice("head", head, (*HEADS, MAJORITY))
    _check_folds(examples, folds)
    predicted = np.empty((len(folds), len(examples.labels)), examples.labels.dtype)
    accuracy, settings = np.empty((len(folds), int(folds.max()) + 1)), []
    for repeat, row in enumerate(folds):
        for number in range(accuracy.shape[1]):
            test = row == number
            model, chosen = _fit(examples, np.flatnonzero(~test), head, seed)
            predicted[repeat, test] = model.predict(examples.features[test])
            accuracy[repeat, number] = np.mean(predicted[repeat, test] == examples.labels[test])
            settings.append(chosen)
            on_fold(1)
    return CrossValidation(predicted, accuracy, tuple(settings))


def count_confusions(examples: LabelledTracks, result: CrossValidation) -> Integers:
    """Return the confusion matrix over all repeats, true label (row) by predicted label (column)."""
    counts = np.zeros((len(examples.classes),) * 2, np.int64)
    truth = np.searchsorted(examples.classes, examples.labels)
    for row in result.predicted:
        np.add.at(counts, (truth, np.searchsorted(examples.classes, row)), 1)
    return counts


def bootstrap_accuracy(
    examples: LabelledTracks, result: CrossValidation, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean accuracy over tracks.

    Tracks are resampled individually although those of one artist are similar, and the variation between folds is
    not included.
    """
    is_correct = np.mean(result.predicted == examples.labels, axis=0, dtype=np.float64)
    return bootstrap_interval(is_correct, seed=seed)


def corrected_interval(by_fold: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of a metric over repeated folds, which share most training tracks.

    Student's t with the variance (1 / J + n_test / n_train) s², for J held-out folds whose values have variance
    s²: Nadeau and Bengio 2003, "Inference for the generalization error", section 4.2. `by_fold` has the shape
    (n_repeats, n_folds).
    """
    n_folds = by_fold.shape[1]
    variance = (1 / by_fold.size + 1 / (n_folds - 1)) * by_fold.var(ddof=1)
    margin = stats.t.ppf(0.975, by_fold.size - 1) * np.sqrt(variance)
    mean = by_fold.mean()
    return float(mean - margin), float(mean + margin)


def check_fold_numbers(folds: Integers) -> None:
    """Raise `DataError` where a row of `folds`, shape (n_repeats, n), has one fold only, or an empty one."""
    for row in folds:
        if row.max() < 1:
            raise DataError("expected at least two folds. Received: one.")
        for number in range(row.max() + 1):
            if number not in row:
                raise DataError(f"fold {number + 1} of {row.max() + 1} is empty: there are too few artists.")


def split_rows(
    labels: npt.NDArray[np.str_], groups: Integers, n_folds: int, seed: int
) -> Iterator[tuple[Integers, Integers]]:
    """Yield train and test rows of each fold, whole groups together, with similar shares of each label."""
    if len(np.unique(groups)) < len(labels):
        yield from StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed).split(
            labels, labels, groups
        )
    else:
        yield from StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(labels, labels)


def _check_folds(examples: LabelledTracks, folds: Integers) -> None:
    """Raise `DataError` unless every training part can be split again, to choose settings."""
    check_fold_numbers(folds)
    for row in folds:
        for number in range(row.max() + 1):
            counts = Counter(examples.labels[row != number].tolist())
            for label in examples.classes:
                if counts[label] < 2:
                    raise DataError(
                        f"too few examples of {label!r}: expected two tracks outside "
                        f"fold {number + 1}. Received: {counts[label]}."
                    )


def _count_groups(examples: LabelledTracks, rows: Integers | Sequence[int]) -> Counter[str]:
    """Return the number of groups of each label among `rows`."""
    pairs = set(zip(examples.labels[rows].tolist(), examples.groups[rows].tolist(), strict=True))
    return Counter(label for label, _ in pairs)


def _fit(examples: LabelledTracks, train: Integers, head: str, seed: int) -> tuple[Any, dict[str, float]]:
    """Return a classifier fitted on the rows `train`, and its chosen settings."""
    features, labels = examples.features[train], examples.labels[train]
    if head == MAJORITY:
        return DummyClassifier(strategy="most_frequent").fit(features, labels), {}
    inner = LabelledTracks(features, labels, examples.groups[train])
    if min(_count_groups(inner, np.arange(len(train))).values()) < 2:
        inner = replace(inner, groups=np.arange(len(train)))
    n_folds = min(INNER_FOLDS, *_count_groups(inner, np.arange(len(train))).values())
    splits = list(split_rows(inner.labels, inner.groups, n_folds, seed))
    if any(len(np.unique(labels[rows])) < 2 for rows, _ in splits):
        raise DataError(
            "there are too few artists to choose settings: without the artists of a fold, a single label "
            "remains."
        )
    n_features = features.shape[1]
    grid = {"svm__C": [C / n_features if head == "linear" else C for C in PENALTIES]}
    if head == "rbf":
        grid["svm__gamma"] = [gamma / n_features for gamma in GAMMAS]
    pipeline = Pipeline([("scale", StandardScaler()), ("svm", SVC(kernel=head, cache_size=CACHE_MB))])
    search = GridSearchCV(pipeline, grid, cv=splits, error_score="raise").fit(features, labels)
    return search, {name.removeprefix("svm__"): float(value) for name, value in search.best_params_.items()}
