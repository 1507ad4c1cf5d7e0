"""How much each parameter of a search matters: a random forest from parameters to score, judged out of bag.

Permutation importance is Breiman's (2001, Machine Learning 45, section 10); here trials are out of bag of a whole
forest and not of a tree, so that resamples of the trials also give intervals.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reports.study.reading import HYPERBAND_EPOCHS
from reports.study.records import Parameter, Study, Trial, score_of

Float64Array = npt.NDArray[np.float64]

MIN_TRIALS = 10  # of different settings; fewer say nothing
N_RESAMPLES = 100
N_TREES = 30
N_SHUFFLES = 5  # of each parameter in each resample
LEVEL = 0.95
FENCE = 3.0  # interquartile ranges below the first quartile, as Tukey's outer fence: worse ones count as this


@dataclass(frozen=True)
class Estimate:
    """A mean over resamples and the interval that holds 95 % of them."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """What a forest learnt of a study.

    Attributes
    ----------
    explained : Estimate
        Share of the variance of the score that it predicts out of bag (R²); below 0 if worse than the mean.
    by_parameter : dict
        How much of `explained` is lost when a parameter is shuffled; the most important first.
    n_settings : int
        Different settings that it learnt from.
    """

    explained: Estimate
    by_parameter: dict[str, Estimate]
    n_settings: int


def count_settings(study: Study) -> int:
    """Return how many different settings completed: trials that go on where others stopped count once."""
    return len(set(_groups(study.ranked)))


def study_importance(study: Study) -> Importance | None:
    """Return how much each varied parameter matters to the score.

    Returns
    -------
    Importance, optional
        The same for the same trials and seed. None when fewer than `MIN_TRIALS` settings completed, or none of
        the parameters, or not the score, varies.
    """
    trials = sorted(study.ranked, key=lambda trial: (len(trial.trial), trial.trial))
    scores = np.array([score_of(trial) for trial in trials], dtype=np.float64)
    if count_settings(study) < MIN_TRIALS or not study.varied or np.ptp(scores) == 0:
        return None
    codes = [encode(parameter, trials) for parameter in study.varied]
    scores = clip_outliers(study.sign * scores)
    losses = measure_losses(codes, scores, _groups(trials), study.settings.seed)
    shares: Float64Array = losses / np.var(scores)
    lost = {
        parameter.name: _estimate(shares[:, i] - shares[:, 0]) for i, parameter in enumerate(study.varied, 1)
    }
    ordered = dict(sorted(lost.items(), key=lambda item: -item[1].mean))
    return Importance(_estimate(1.0 - shares[:, 0]), ordered, count_settings(study))


def encode(parameter: Parameter, trials: Sequence[Trial]) -> Float64Array:
    """Return a parameter as columns for a forest, where it is not active as a level of its own.

    Returns
    -------
    numpy.ndarray, shape (n_trials, n_columns), float64
        A number as itself or its logarithm, ordered levels by their place; unordered ones a column each.
    """
    values = [trial.parameters.get(parameter.name) for trial in trials]
    if parameter.levels and not parameter.ordered:
        return np.array([[float(value == level) for level in parameter.levels] for value in values])
    if parameter.levels:
        places = [-1.0 if value is None else parameter.levels.index(value) for value in values]
        return np.array(places)[:, None]
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    numbers = np.log10(numbers) if parameter.log else numbers
    known = numbers[np.isfinite(numbers)]
    inactive = known.min() - max(np.ptp(known), 1.0) if known.size else 0.0
    return np.where(np.isnan(numbers), inactive, numbers)[:, None]


def clip_outliers(scores: Float64Array) -> Float64Array:
    """Return scores, of which higher ones are better, the worst raised to Tukey's outer fence if there is one."""
    first, third = np.quantile(scores, [0.25, 0.75])
    return np.maximum(scores, first - FENCE * (third - first)) if third > first else scores


def measure_losses(
    codes: Sequence[Float64Array], scores: Float64Array, groups: Sequence[int], seed: int
) -> Float64Array:
    """Return the squared error of forests on trials that they did not see, whole and with each parameter shuffled.

    Parameters
    ----------
    codes
        Columns of each parameter, shape (n_trials, n_columns), float64.
    scores
        Shape (n_trials,), float64.
    groups
        A number for each trial: those that share it are seen or not seen together.
    seed
        Of resamples, forests and shuffles.

    Returns
    -------
    numpy.ndarray, shape (n_resamples, 1 + n_parameters), float64
        Mean squared errors; the first column of the trials as they are.
    """
    from sklearn.ensemble import RandomForestRegressor  # takes a second to import

    random = np.random.default_rng(seed)
    table, losses = np.hstack(codes), []
    for seen, unseen in _resamples(np.asarray(groups), random):
        forest = RandomForestRegressor(N_TREES, random_state=int(random.integers(2**31)))
        forest.fit(table[seen], scores[seen])
        shuffled = list(_shuffle([columns[unseen] for columns in codes], random))
        predicted = forest.predict(np.vstack([table[unseen], *shuffled])).reshape(-1, len(unseen))
        errors = np.mean((predicted - scores[unseen]) ** 2, axis=1)
        losses.append([errors[0], *errors[1:].reshape(len(codes), N_SHUFFLES).mean(axis=1)])
    return np.array(losses)


def _groups(trials: Sequence[Trial]) -> list[int]:
    """Return a number for each trial, the same for the same settings, however long they were trained."""
    settings = [
        frozenset((name, value) for name, value in trial.parameters.items() if name != HYPERBAND_EPOCHS.name)
        for trial in trials
    ]
    numbers = {one: number for number, one in enumerate(dict.fromkeys(settings))}
    return [numbers[one] for one in settings]


def _resamples(
    groups: npt.NDArray[np.int64], random: np.random.Generator
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield the rows of groups drawn with replacement, repeated as drawn, and the rows of those not drawn."""
    n_groups = groups.max() + 1
    for _ in range(N_RESAMPLES):
        times = np.bincount(random.integers(n_groups, size=n_groups), minlength=n_groups)[groups]
        unseen = np.flatnonzero(times == 0)
        if len(unseen) > 1:  # one row cannot be shuffled
            yield np.repeat(np.arange(len(groups)), times), unseen


def _shuffle(codes: Sequence[Float64Array], random: np.random.Generator) -> Iterator[Float64Array]:
    """Yield the table with one parameter's rows shuffled, `N_SHUFFLES` times for each parameter."""
    for i, columns in enumerate(codes):
        for _ in range(N_SHUFFLES):
            yield np.hstack([*codes[:i], random.permutation(columns), *codes[i + 1 :]])


def _estimate(values: Float64Array) -> Estimate:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(values.mean()), float(low), float(high))
