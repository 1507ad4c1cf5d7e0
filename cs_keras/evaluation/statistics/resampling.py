"""Bootstrap intervals of means over queries that are independent."""

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError
from cs_keras.evaluation.checks import check_count, check_scores
from cs_keras.evaluation.search.search import blocks

BATCH_ENTRIES = 2**17  # random numbers held at a time: 1 MB, which stays in the processor's cache


def bootstrap_interval(
    per_query: npt.ArrayLike, n_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over queries.

    Parameters
    ----------
    per_query : array_like, shape (n_queries,), float
    n_resamples : int
    level : float
        Share of the resampled means inside the interval, between 0 and 1.
    seed : int

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
    check_count("n_resamples", n_resamples)
    if not 0 < level < 1:
        raise ConfigError(f"level is out of range: expected a share between 0 and 1. Received: {level!r}.")
    random = np.random.default_rng(seed)
    means = np.empty(n_resamples)
    for block in blocks(n_resamples, max(1, BATCH_ENTRIES // len(values))):
        drawn = random.integers(0, len(values), size=(block.stop - block.start, len(values)))
        means[block] = values.take(drawn).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
