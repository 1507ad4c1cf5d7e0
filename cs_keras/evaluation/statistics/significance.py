"""How much overlap means: what chance gives, and how far a sample of queries can be off."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError
from cs_keras.evaluation.checks import check_count, check_scores
from cs_keras.evaluation.statistics.resampling import Resampling, resample_means


@dataclass(frozen=True)
class Chance:
    """Mean overlap of lists drawn at random, and its standard deviation over such draws: shares from 0 to 1."""

    mean: float
    sd: float


def chance(k: int, n_candidates: int, n_queries: int = 1) -> Chance:
    """Return the mean overlap that lists drawn at random reach.

    The number of common items of two lists is hypergeometric: k draws without replacement from `n_candidates`, of
    which k count. The standard deviation takes the lists of different queries as independent; real ones share
    popular tracks, so their spread is wider: `permutation_test` keeps that.

    Parameters
    ----------
    k : int
        Length of the lists, at most `n_candidates`.
    n_candidates : int
    n_queries : int
        Lists averaged over.

    Returns
    -------
    Chance

    Raises
    ------
    ConfigError
        Not positive whole numbers, or k above `n_candidates`.
    """
    k, n_candidates = check_count("k", k), check_count("n_candidates", n_candidates)
    if k > n_candidates:
        raise ConfigError(f"k is out of range: expected at most {n_candidates} candidates. Received: {k}.")
    share = k / n_candidates
    variance = share * (1 - share) * (n_candidates - k) / (k * max(n_candidates - 1, 1))
    return Chance(share, float(np.sqrt(variance / check_count("n_queries", n_queries))))


def bootstrap_interval(
    per_query: npt.ArrayLike, n_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over queries.

    Parameters
    ----------
    per_query : array_like, shape (n_queries,), float
    n_resamples : int
        Samples of n_queries, drawn with replacement.
    level : float
        Share of the resampled means inside, between 0 and 1.
    seed : int

    Returns
    -------
    low, high : float

    Raises
    ------
    DataError
        Values that are not finite numbers of shape (n_queries,).
    ConfigError
        `n_resamples` no positive whole number, or `level` not between 0 and 1.
    """
    values = check_scores(per_query)
    settings = Resampling(check_count("n_resamples", n_resamples), level=level, seed=seed)
    return settings.interval(resample_means(values[np.newaxis], settings.n_bootstrap, seed)[0])
