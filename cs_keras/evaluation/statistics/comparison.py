"""Whether models differ: paired over the queries they share, over the seeds of each, and over many pairs.

The difference is of means over queries and seeds. Its interval resamples both (see `resampling`). The p-value is
that of sign flips over queries (see `sign_flips`), of values averaged over seeds, and so speaks of these fits;
whether other seeds would agree is what the interval is for. Holm's correction makes the p-values hold for all
comparisons at once, whatever their dependence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import check_scores
from cs_keras.evaluation.search.exact import Float64Array
from cs_keras.evaluation.statistics.resampling import Resampling, check_models, resample_models
from cs_keras.evaluation.statistics.sign_flips import sign_flip_p_values


@dataclass(frozen=True)
class Comparison:
    """One model against another.

    Attributes
    ----------
    model, other : str
    difference : float
        Mean of `model` less that of `other`.
    low, high : float
        Bootstrap interval of `difference` over queries and seeds.
    p_value : float
        Of the two-sided sign-flip test over queries.
    p_holm : float
        The same, corrected for all the comparisons it was made with.
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
        Fewer than two models, values that are not finite, or of different queries.
    """
    return _compare(values, list(combinations(values, 2)), resampling or Resampling())


def compare_with(
    values: Mapping[str, npt.ArrayLike], baseline: str, resampling: Resampling | None = None
) -> list[Comparison]:
    """Compare every other model with one that was chosen beforehand.

    Parameters
    ----------
    values : mapping of str to array_like, shape (n_queries,) or (n_seeds, n_queries), float
    baseline : str
        One of them. For the best by these very values, `compare_best_with_others`.
    resampling : Resampling, optional

    Returns
    -------
    list of Comparison
        Each model less the baseline, corrected for their number.

    Raises
    ------
    DataError
        An unknown baseline, no other model, values that are not finite, or of different queries.
    """
    if baseline not in values:
        raise DataError(
            f"the baseline is none of the models: expected one of {', '.join(values)}. Received: {baseline!r}."
        )
    pairs = [(name, baseline) for name in values if name != baseline]
    return _compare(values, pairs, resampling or Resampling())


def compare_best_with_others(
    values: Mapping[str, npt.ArrayLike], resampling: Resampling | None = None
) -> list[Comparison]:
    """Compare the model of the largest mean with every other.

    Which one that is, these values have decided: any pair could have come to be tested. So the correction is that
    of all pairs.

    Parameters
    ----------
    values : mapping of str to array_like, shape (n_queries,) or (n_seeds, n_queries), float
    resampling : Resampling, optional

    Returns
    -------
    list of Comparison
        The best less each of the others, in their order.

    Raises
    ------
    DataError
        Fewer than two models, values that are not finite, or of different queries.
    """
    comparisons = compare_all(values, resampling)
    means = {name: model.mean() for name, model in check_models(values).items()}
    best = max(means, key=means.__getitem__)
    turned = [
        row if row.model == best else _turn(row) for row in comparisons if best in (row.model, row.other)
    ]
    return turned


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
        At most 1. Rejecting those up to alpha rejects any true hypothesis with probability alpha at most.

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


def _compare(
    values: Mapping[str, npt.ArrayLike], pairs: list[tuple[str, str]], resampling: Resampling
) -> list[Comparison]:
    """Compare pairs of models, all on the same resamples and sign flips."""
    models = check_models(values)
    if not pairs:
        raise DataError(
            f"there is nothing to compare: expected at least two models. Received: {len(models)}."
        )
    resampled = dict(
        zip(
            models,
            resample_models(list(models.values()), resampling.n_bootstrap, resampling.seed),
            strict=True,
        )
    )
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


def _turn(row: Comparison) -> Comparison:
    return replace(
        row, model=row.other, other=row.model, difference=-row.difference, low=-row.high, high=-row.low
    )
