"""Bootstrap intervals of means over queries that are independent."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError
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
        Random permutations per p-value.
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
