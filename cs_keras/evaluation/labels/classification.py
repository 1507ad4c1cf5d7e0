"""Heads on features: how well a support vector machine tells labelled tracks apart that it was not fitted on.

The way to judge features that were learnt for something else (van den Oord, Dieleman & Schrauwen 2014; Choi et al.
2017). Scaling, the choice of settings and the machine itself see the training folds alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from cs_keras.config import check_choice
from cs_keras.errors import DataError
from cs_keras.evaluation.labels.classification_folds import (
    Examples,
    Integers,
    check_folds,
    group_counts,
    split,
)
from cs_keras.evaluation.statistics.resampling import Resampling, resample_means

HEADS = ("linear", "rbf")
MAJORITY = "majority"
INNER_FOLDS = 3
PENALTIES = (
    0.1,
    1.0,
    10.0,
    100.0,
    1000.0,
)  # of `linear` divided by the number of features, so that all sizes fit
GAMMAS = (0.1, 1.0, 10.0)  # divided by the number of features: 1 is scikit-learn's "scale"
CACHE_MB = 500


@dataclass(frozen=True, eq=False)
class Classified:
    """What one head said of every track while its fold was held out.

    Attributes
    ----------
    predicted : ndarray of str, shape (n_repeats, n)
    fold_accuracy : ndarray, shape (n_repeats, n_folds)
        Share of a held-out fold's tracks that are told right.
    settings : tuple of dict
        Chosen in each fold, repeat after repeat; empty ones where there is nothing to choose.
    """

    predicted: npt.NDArray[np.str_]
    fold_accuracy: npt.NDArray[np.float64]
    settings: tuple[dict[str, float], ...]


def classify(
    examples: Examples,
    folds: Integers,
    head: str,
    seed: int = 0,
    on_fold: Callable[[int], None] = lambda n_folds: None,
) -> Classified:
    """Fit a head without each fold in turn, and let it say the labels of that fold's tracks.

    Parameters
    ----------
    examples
        Of n tracks.
    folds : ndarray of int64, shape (n_repeats, n)
        Of `make_folds`, or given; each row holds numbers from 0, all of them.
    head : {"linear", "rbf", "majority"}
        A support vector machine (scikit-learn's SVC, one against one) on features of mean 0 and variance 1. Its C,
        and the gamma of ``rbf``, are those of the best accuracy in a cross-validation inside the training folds. Or
        whichever label is commonest in the training folds.
    seed : int
        Of the folds inside.
    on_fold
        Called with 1 after each fold.

    Raises
    ------
    ConfigError
        There is no such head.
    DataError
        See `check_folds`.
    """
    check_choice("head", head, (*HEADS, MAJORITY))
    check_folds(examples, folds)
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
    return Classified(predicted, accuracy, tuple(settings))


def confusion(examples: Examples, classified: Classified) -> Integers:
    """Return how often a label (row) was taken for each (column), over all repeats; shape (n, n) for n labels."""
    place = {label: number for number, label in enumerate(examples.classes)}
    counts = np.zeros((len(place), len(place)), np.int64)
    truth = [place[label] for label in examples.labels.tolist()]
    for row in classified.predicted:
        np.add.at(counts, (truth, [place[label] for label in row.tolist()]), 1)
    return counts


def bootstrap_interval(examples: Examples, classified: Classified, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean accuracy, for tracks drawn anew: percentiles of a bootstrap.

    Tracks of one artist are alike, and drawn one by one all the same; what other folds would give it cannot tell.
    """
    resampling = Resampling(seed=seed)
    is_right = np.mean(classified.predicted == examples.labels, axis=0, keepdims=True, dtype=np.float64)
    return resampling.interval(resample_means(is_right, resampling.n_bootstrap, resampling.seed)[0])


def corrected_interval(classified: Classified) -> tuple[float, float]:
    """Return the 95 % interval of the mean accuracy over repeated folds, whose training tracks are mostly the same.

    Student's t with the variance (1 / J + n_test / n_train) s², for J held-out folds whose accuracies have variance
    s²: Nadeau and Bengio 2003, "Inference for the generalization error", section 4.2.
    """
    accuracy = classified.fold_accuracy
    n_folds = accuracy.shape[1]
    variance = (1 / accuracy.size + 1 / (n_folds - 1)) * accuracy.var(ddof=1)
    margin = stats.t.ppf(0.975, accuracy.size - 1) * np.sqrt(variance)
    mean = accuracy.mean()
    return float(mean - margin), float(mean + margin)


def _fit(examples: Examples, train: Integers, head: str, seed: int) -> tuple[Any, dict[str, float]]:
    """Return a fitted head, and the settings that were chosen for it; `train` holds rows."""
    features, labels = examples.features[train], examples.labels[train]
    if head == MAJORITY:
        return DummyClassifier(strategy="most_frequent").fit(features, labels), {}
    inside = Examples(features, labels, examples.groups[train])
    n_folds = min(INNER_FOLDS, *group_counts(inside, np.arange(len(train))).values())
    splits = list(split(inside, n_folds, seed))
    if any(len(np.unique(labels[rows])) < 2 for rows, _ in splits):
        raise DataError("too few artists to choose settings: without some of them a single label is left.")
    n_features = features.shape[1]
    grid = {"svm__C": [C / n_features if head == "linear" else C for C in PENALTIES]}
    if head == "rbf":
        grid["svm__gamma"] = [gamma / n_features for gamma in GAMMAS]
    machine = Pipeline([("scale", StandardScaler()), ("svm", SVC(kernel=head, cache_size=CACHE_MB))])
    search = GridSearchCV(machine, grid, cv=splits, error_score="raise").fit(features, labels)
    return search, {name.removeprefix("svm__"): float(value) for name, value in search.best_params_.items()}
