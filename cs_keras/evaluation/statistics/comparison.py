"""Paired comparison of models over the queries they share and the seeds of each.

The difference is of means over queries and seeds; interval and p-value are by Student's t from one standard error
(see `jackknife`), which covers another catalogue and, with several seeds, another training. Holm's correction makes
the p-values hold for all comparisons at once, whatever their dependence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, check_scores
from cs_keras.evaluation.statistics.jackknife import QuerySums, estimate, sum_models


@dataclass(frozen=True)
class Comparison:
    """One model compared with another.

    Attributes
    ----------
    model, other : str
    difference : float
        Mean of `model` minus mean of `other`.
    low, high : float
        Interval of `difference` over queries and seeds.
    p_value : float
        Two-sided, of no difference.
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


def compare_all(values: Mapping[str, npt.ArrayLike | QuerySums], level: float = 0.95) -> list[Comparison]:
    """Compare every pair of models.

    Parameters
    ----------
    values : mapping of str to QuerySums, or to array_like, shape (n_queries,) or (n_seeds, n_queries), float
        By model; larger is better. In arrays column i is the same query for all, and queries are independent.
    level : float
        Of the intervals.

    Returns
    -------
    list of Comparison
        In the order of `itertools.combinations`, corrected for their number.

    Raises
    ------
    DataError
        There are fewer than two models, or values are not finite or of different queries.
    """
    return _compare(values, list(combinations(values, 2)), level)


def compare_with(
    values: Mapping[str, npt.ArrayLike | QuerySums], baseline: str, level: float = 0.95
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
    return _compare(values, pairs, level)


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
            f"p-values are out of range: expected numbers from 0 to 1. Received: {p.min()} to {p.max()}."
        )
    order = np.argsort(p)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(corrected, 1)


def _compare(
    values: Mapping[str, npt.ArrayLike | QuerySums], pairs: list[tuple[str, str]], level: float
) -> list[Comparison]:
    models = sum_models(values)
    if not pairs:
        raise DataError(
            f"there is nothing to compare: expected at least two models. Received: {len(models)}."
        )
    found = [estimate(models[model], models[other]) for model, other in pairs]
    rows = zip(pairs, found, holm([one.p_value for one in found]), strict=True)
    return [
        Comparison(
            *pair,
            one.mean,
            *one.interval(level),
            p_value=one.p_value,
            p_holm=float(p_holm),
            n_queries=int(models[pair[0]].n_queries.sum()),
        )
        for pair, one, p_holm in rows
    ]
