"""Bootstrap intervals of means over queries, and over the seeds of models that share their queries.

A model trained with several seeds has values of shape (n_seeds, n_queries). A resample draws queries, the same for
all models, and each model's seeds, so the spread covers another sample of queries and another training. Like every
bootstrap, it covers only (n_seeds - 1) / n_seeds of the variance between seeds: intervals from two or three seeds
are too narrow, and one seed carries no information about training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.checks import Float64Array, check_count, check_scores
from cs_keras.evaluation.search.search import blocks

BATCH_ENTRIES = 2**17  # random numbers held at a time: 1 MB, which stays in the processor's cache


@dataclass(frozen=True)
class Resampling:
    """Settings of intervals and tests.

    Parameters
    ----------
    n_bootstrap : int
        Resamples per interval.
    n_permutations : int
        Random sign patterns per p-value, where there are too many patterns to enumerate.
    level : float
        Share of the resampled values inside an interval, between 0 and 1.
    seed : int

    Raises
    ------
    ConfigError
        A number is out of range.
    """

    n_bootstrap: int = 1000
    n_permutations: int = 9999
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("n_bootstrap", self.n_bootstrap)
        check_count("n_permutations", self.n_permutations)
        if not 0 < self.level < 1:
            raise ConfigError(
                f"level is out of range: expected a share between 0 and 1. Received: {self.level!r}."
            )

    def interval(self, resampled: Float64Array) -> tuple[float, float]:
        """Return the central interval of resampled values, shape (n_bootstrap,)."""
        low, high = np.quantile(resampled, [(1 - self.level) / 2, (1 + self.level) / 2])
        return float(low), float(high)


def bootstrap_interval(
    per_query: npt.ArrayLike, n_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over queries.

    Parameters
    ----------
    per_query : array_like, shape (n_queries,), float
    n_resamples, level, seed
        See `Resampling`.

    Returns
    -------
    low, high : float

    Raises
    ------
    DataError
        Values are not finite numbers of shape (n_queries,).
    ConfigError
        `n_resamples` is not a positive whole number, or `level` not between 0 and 1.
    """
    values = check_scores(per_query)
    settings = Resampling(n_resamples, level=level, seed=seed)
    return settings.interval(resample_means(values[np.newaxis], n_resamples, seed)[0])


def check_models(values: Mapping[str, npt.ArrayLike]) -> dict[str, Float64Array]:
    """Return the values of each model as float64 of shape (n_seeds, n_queries); numbers of seeds may differ.

    Raises
    ------
    DataError
        There are no models, values are not finite numbers of shape (n_queries,) or (n_seeds, n_queries), or models
        have different queries.
    """
    models = {name: _check_values(name, array) for name, array in values.items()}
    if len({array.shape[1] for array in models.values()}) != 1:
        counts = {name: array.shape[1] for name, array in models.items()}
        raise DataError(
            "models need the same queries: expected as many values of each, one model at least. "
            f"Received: {counts}."
        )
    return models


def resample_means(values: Float64Array, n_resamples: int, seed: int) -> Float64Array:
    """Return means over queries drawn with replacement, the same queries for every row.

    Parameters
    ----------
    values : numpy.ndarray, shape (n_rows, n_queries), float64
    n_resamples, seed : int

    Returns
    -------
    numpy.ndarray, shape (n_rows, n_resamples), float64
    """
    random = np.random.default_rng(seed)
    n_queries = values.shape[1]
    means = np.empty((len(values), n_resamples))
    for block in blocks(n_resamples, max(1, BATCH_ENTRIES // n_queries)):
        drawn = random.integers(0, n_queries, size=(block.stop - block.start, n_queries))
        for row, row_means in zip(values, means, strict=True):
            row_means[block] = row.take(drawn).mean(axis=1)
    return means


def resample_models(models: Sequence[Float64Array], n_resamples: int, seed: int) -> Float64Array:
    """Return means of models over queries and seeds drawn with replacement.

    Parameters
    ----------
    models : sequence of numpy.ndarray, each of shape (n_seeds, n_queries), float64
        Queries are shared; seeds of different models are independent.
    n_resamples, seed : int

    Returns
    -------
    numpy.ndarray, shape (n_models, n_resamples), float64
    """
    by_seed = resample_means(np.vstack(models), n_resamples, seed)
    random = np.random.default_rng(
        [seed, 1]
    )  # a separate stream: the drawn queries do not depend on the seeds
    means = np.empty((len(models), n_resamples))
    ends = np.cumsum([len(model) for model in models])
    for row, seeds in zip(means, np.split(by_seed, ends[:-1]), strict=True):
        n_seeds = len(seeds)
        times_drawn = random.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_resamples)
        row[:] = (times_drawn.T * seeds).sum(axis=0) / n_seeds
    return means


def _check_values(name: str, values: npt.ArrayLike) -> Float64Array:
    array = np.asarray(values)
    is_numeric = array.dtype.kind in "iufb" and array.ndim in (1, 2) and array.size > 0
    if not is_numeric or not np.isfinite(array).all():
        raise DataError(
            f"the values of {name} cannot be compared: expected one finite number a query, shape (n_queries,) "
            f"or (n_seeds, n_queries). Received: shape {array.shape}, dtype {array.dtype}."
        )
    return np.asarray(np.atleast_2d(array), dtype=np.float64)
