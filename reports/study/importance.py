"""Hyperparameter importance: permutation importance of a random forest that predicts scores from parameters.

Permutation importance after Breiman (2001, Machine Learning 45, section 10), measured on held-out settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.run_files.study import TrialRecord
from reports.study.reading import HYPERBAND_EPOCHS
from reports.study.records import Parameter, Study, score_of

Float64Array = npt.NDArray[np.float64]

MIN_TRIALS = 10  # different settings
N_RESAMPLES = 100  # random splits into fitted and held-out settings
HELD_OUT = 1 / 3
N_TREES = 30
N_SHUFFLES = 5  # per parameter and split
LEVEL = 0.95
FENCE = 3.0  # interquartile ranges below the first quartile (Tukey's outer fence)


Estimate = tuple[float, float, float]  # mean over random splits, and the interval with 95% of them


@dataclass(frozen=True)
class Importance:
    """Importance of the parameters of a study."""

    explained: Estimate  # R² of the forest on held-out settings; negative if it is worse than the mean score
    by_parameter: dict[str, Estimate]  # decrease of R² when a parameter is permuted, the largest first
    n_settings: int


def study_importance(study: Study) -> Importance | None:
    """Estimate the importance of each parameter that varies; the same for the same trials and seed.

    None if fewer than `MIN_TRIALS` settings completed, or if no parameter or no score varies.
    """
    trials = sorted(study.ranked, key=lambda trial: (len(trial.trial), trial.trial))
    scores = np.array([score_of(trial) for trial in trials], dtype=np.float64)
    n_settings = count_settings(study)
    if n_settings < MIN_TRIALS or not study.varied or np.ptp(scores) == 0:
        return None
    table = np.column_stack([encode(parameter, trials) for parameter in study.varied])
    targets = clip_outliers(study.sign * scores)
    explained, losses = measure_importance(table, targets, _groups(trials), study.settings.seed)
    estimates = {
        parameter.name: _estimate(values) for parameter, values in zip(study.varied, losses.T, strict=True)
    }
    ordered = dict(sorted(estimates.items(), key=lambda item: -item[1][0]))
    return Importance(_estimate(explained), ordered, n_settings)


def count_settings(study: Study) -> int:
    """Return the number of different settings that completed; trials that continue others count once."""
    return len(set(_groups(study.ranked)))


def encode(parameter: Parameter, trials: Sequence[TrialRecord]) -> Float64Array:
    """Return a parameter as numbers for a forest, float64, shape (n_trials,).

    A number is itself or its logarithm, a level its index. Inactive parameters are below all other values.
    """
    values = [trial.parameters.get(parameter.name) for trial in trials]
    if parameter.levels:
        return np.array([-1.0 if value is None else parameter.levels.index(value) for value in values])
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    numbers = np.log10(numbers) if parameter.log else numbers
    known = numbers[np.isfinite(numbers)]
    inactive = known.min() - max(np.ptp(known), 1.0) if known.size else 0.0
    return np.where(np.isnan(numbers), inactive, numbers)


def clip_outliers(scores: Float64Array) -> Float64Array:
    """Return scores (higher is better) with outliers raised to Tukey's outer fence."""
    first, third = np.quantile(scores, [0.25, 0.75])
    return np.maximum(scores, first - FENCE * (third - first)) if third > first else scores


def measure_importance(
    table: Float64Array, scores: Float64Array, groups: Sequence[int], seed: int
) -> tuple[Float64Array, Float64Array]:
    """Fit forests on random splits, and permute each parameter of the held-out trials.

    Takes encoded parameters, shape (n_trials, n_parameters), and scores, shape (n_trials,); trials of one group are
    held out together. Returns R² on held-out trials, relative to the variance of all scores, shape (n_splits,), and
    its decrease when a parameter is permuted, shape (n_splits, n_parameters).
    """
    from sklearn.ensemble import RandomForestRegressor  # takes a second to import
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import GroupShuffleSplit

    variance, errors, losses = np.var(scores), [], []
    splits = GroupShuffleSplit(N_RESAMPLES, test_size=HELD_OUT, random_state=seed)
    for number, (fitted, held_out) in enumerate(splits.split(table, scores, groups)):
        forest = RandomForestRegressor(N_TREES, random_state=seed + number).fit(table[fitted], scores[fitted])
        errors.append(np.mean((forest.predict(table[held_out]) - scores[held_out]) ** 2))
        found = permutation_importance(
            forest,
            table[held_out],
            scores[held_out],
            scoring="neg_mean_squared_error",
            n_repeats=N_SHUFFLES,
            random_state=seed + number,
        )
        losses.append(found.importances_mean)
    return 1.0 - np.array(errors) / variance, np.array(losses) / variance


def _groups(trials: Sequence[TrialRecord]) -> list[int]:
    """Return a number for each trial, the same for the same settings, however long they were trained."""
    settings = [
        frozenset((name, value) for name, value in trial.parameters.items() if name != HYPERBAND_EPOCHS.name)
        for trial in trials
    ]
    numbers = {one: number for number, one in enumerate(dict.fromkeys(settings))}
    return [numbers[one] for one in settings]


def _estimate(values: Float64Array) -> Estimate:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(values.mean()), float(low), float(high)
