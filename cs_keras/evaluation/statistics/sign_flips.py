"""Paired permutation test: if two models were alike, each query's difference could as well have the other sign."""

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.checks import check_scores
from cs_keras.evaluation.search.exact import Float64Array
from cs_keras.evaluation.search.search import blocks
from cs_keras.evaluation.statistics.resampling import Resampling

BATCH_ENTRIES = 2**23  # signs held at a time: 67 MB as float64
MAX_EXACT_QUERIES = 16  # 65,536 sign flips: up to here all of them are taken
ROUNDING = (
    1e-12  # sums this close, as a share of the sum of lengths, are equal: differences of overlaps often tie
)


def sign_flip_test(differences: npt.ArrayLike, resampling: Resampling | None = None) -> float:
    """Return the p-value of a mean difference, under the null hypothesis that each could have the other sign.

    Parameters
    ----------
    differences : array_like, shape (n_queries,), float
        Of two models, query by query.
    resampling : Resampling, optional

    Returns
    -------
    float
        Two-sided: the share of sign patterns whose mean is as far from 0. Of all patterns for up to 16 queries;
        else of `n_permutations` random ones and the observed.

    Raises
    ------
    DataError
        Differences that are not finite numbers of shape (n_queries,).
    """
    return float(sign_flip_p_values(check_scores(differences)[np.newaxis], resampling or Resampling())[0])


def sign_flip_p_values(differences: Float64Array, resampling: Resampling) -> Float64Array:
    """Return the p-value of `sign_flip_test` for each row, all under the same sign flips.

    Parameters
    ----------
    differences : numpy.ndarray, shape (n_comparisons, n_queries), float64
        Finite.
    resampling : Resampling

    Returns
    -------
    numpy.ndarray, shape (n_comparisons,), float64
    """
    least = np.abs(differences.sum(axis=1)) - ROUNDING * np.abs(differences).sum(axis=1)
    if differences.shape[1] <= MAX_EXACT_QUERIES:
        return np.asarray((np.abs(_all_flipped_sums(differences)) >= least[:, np.newaxis]).mean(axis=1))
    n_reached = np.zeros(len(differences), dtype=np.int64)
    random = np.random.default_rng(resampling.seed)
    n_queries, n_permutations = differences.shape[1], resampling.n_permutations
    for block in blocks(n_permutations, max(1, BATCH_ENTRIES // n_queries)):
        # Bits from whole words a row, so that what is drawn does not depend on the block.
        words = random.integers(
            0, 2**32, size=(block.stop - block.start, -(-n_queries // 32)), dtype=np.uint32
        )
        flipped = np.unpackbits(words.view(np.uint8), axis=1, count=n_queries)
        sums = differences.sum(axis=1) - 2 * (flipped @ differences.T)
        n_reached += np.count_nonzero(np.abs(sums) >= least, axis=0)
    return (1 + n_reached) / (1 + n_permutations)


def _all_flipped_sums(differences: Float64Array) -> Float64Array:
    """Return the sum under every pattern of signs: shape (n_comparisons, 2**n_queries), float64."""
    sums = np.zeros((len(differences), 1))
    for column in differences.T:
        sums = np.hstack((sums + column[:, np.newaxis], sums - column[:, np.newaxis]))
    return sums
