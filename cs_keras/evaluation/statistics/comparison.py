"""Paired comparison of models over the queries they share and the seeds of each.

The difference is of means over queries and seeds. Its interval resamples both (see `resampling`). The p-value is
from random sign flips over queries, of values averaged over seeds, so it concerns these fits only; the interval
covers other seeds as well. Holm's correction makes the p-values hold for all comparisons at once, whatever their
dependence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, check_scores
from cs_keras.evaluation.search.search import blocks
from cs_keras.evaluation.statistics.resampling import Resampling, check_models, resample_models

BATCH_ENTRIES = 2**23  # signs held at a time: 67 MB as float64
MAX_EXACT_QUERIES = 16  # up to here all sign patterns are enumerated, at most 65,536
ROUNDING = 1e-12  # sums this close, relative to the sum of absolute values, are equal: overlaps often tie


@dataclass(frozen=True)
class Comparison:
    """One model compared with another.

    Attributes
    ----------
    model, other : str
    difference : float
        Mean of `model` minus mean of `other`.
    low, high : float
        Bootstrap interval of `difference` over queries and seeds.
    p_value : float
        Two-sided sign-flip test over queries.
    p_holm : float
        The same, corrected for all comparisons of the same call.
    n_queries : int
    """

    model: str
    other: str
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float
    n_queries: int


def compare_all(
    values: Mapping[str, npt.ArrayLike], resampling: Resampling | None = None
) -> list[Comparison]:
    """Compare every pair of models.

    Parameters
    ----------
    values : mapping of str to array_like, shape (n_queries,) or (n_seeds, n_queries), float
        By model; larger is better. Column i is the same query for all.
    resampling : Resampling, optional

    Returns
    -------
    list of Comparison
        In the order of `itertools.combinations`, corrected for their number.

    Raises
    ------
    DataError
        There are fewer than two models, or values are not finite or of different queries.
    """
    return _compare(values, list(combinations(values, 2)), resampling or Resampling())


def compare_with(
    values: Mapping[str, npt.ArrayLike], baseline: str, resampling: Resampling | None = None
) -> list[Comparison]:
    """Compare every other model with a baseline chosen in advance; arguments and errors as in `compare_all`.

    Returns
    -------
    list of Comparison
        Each model minus the baseline, corrected for their number.
    """
    if baseline not in values:
        raise DataError(
            f"the baseline is none of the models: expected one of {', '.join(values)}. Received: {baseline!r}."
        )
    pairs = [(name, baseline) for name in values if name != baseline]
    return _compare(values, pairs, resampling or Resampling())


def holm(p_values: npt.ArrayLike) -> Float64Array:
    """Return p-values corrected for their number by Holm's step-down method.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    The i-th smallest of m is multiplied by m - i + 1, and made no smaller than those before it.

    Parameters
    ----------
    p_values : array_like, shape (n_comparisons,), float

    Returns
    -------
    numpy.ndarray, shape (n_comparisons,), float64
        At most 1. Rejecting those up to alpha rejects any true hypothesis with probability at most alpha.

    Raises
    ------
    DataError
        Not numbers from 0 to 1.
    """
    p = check_scores(p_values)
    if p.min() < 0 or p.max() > 1:
        raise DataError(
            f"these are no p-values: expected numbers from 0 to 1. Received: {p.min()} to {p.max()}."
        )
    order = np.argsort(p)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(corrected, 1)


def sign_flip_p_values(differences: Float64Array, resampling: Resampling) -> Float64Array:
    """Return two-sided p-values of mean differences, under the null hypothesis that each sign is random.

    Parameters
    ----------
    differences : numpy.ndarray, shape (n_comparisons, n_queries), float64
        Finite differences of two models, query by query.
    resampling : Resampling

    Returns
    -------
    numpy.ndarray, shape (n_comparisons,), float64
        Share of sign patterns whose mean is as far from 0, the same patterns for every row: all of them for up to
        16 queries, else `n_permutations` random ones and the observed one.
    """
    least = np.abs(differences.sum(axis=1)) - ROUNDING * np.abs(differences).sum(axis=1)
    if differences.shape[1] <= MAX_EXACT_QUERIES:
        return np.asarray((np.abs(_all_flipped_sums(differences)) >= least[:, np.newaxis]).mean(axis=1))
    n_reached = np.zeros(len(differences), dtype=np.int64)
    random = np.random.default_rng(resampling.seed)
    n_queries, n_permutations = differences.shape[1], resampling.n_permutations
    for block in blocks(n_permutations, max(1, BATCH_ENTRIES // n_queries)):
        # Bits from whole words a row, so that the drawn signs do not depend on the block size.
        shape = (block.stop - block.start, -(-n_queries // 32))
        words = random.integers(0, 2**32, size=shape, dtype=np.uint32)
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


def _compare(
    values: Mapping[str, npt.ArrayLike], pairs: list[tuple[str, str]], resampling: Resampling
) -> list[Comparison]:
    """Compare pairs of models, all on the same resamples and sign flips."""
    models = check_models(values)
    if not pairs:
        raise DataError(
            f"there is nothing to compare: expected at least two models. Received: {len(models)}."
        )
    drawn = resample_models(list(models.values()), resampling.n_bootstrap, resampling.seed)
    resampled = dict(zip(models, drawn, strict=True))
    means = {name: model.mean(axis=0) for name, model in models.items()}
    differences = np.array([means[model] - means[other] for model, other in pairs])
    p_values = sign_flip_p_values(differences, resampling)
    rows = zip(pairs, differences, p_values, holm(p_values), strict=True)
    return [
        Comparison(
            model,
            other,
            float(difference.mean()),
            *resampling.interval(resampled[model] - resampled[other]),
            p_value=float(p_value),
            p_holm=float(p_holm),
            n_queries=len(difference),
        )
        for (model, other), difference, p_value, p_holm in rows
    ]
