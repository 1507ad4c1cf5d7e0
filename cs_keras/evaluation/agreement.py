"""The ceiling: how far several fits of the same tracks agree among themselves.

A factorisation is not unique: another seed, or another half of the playlists, gives other factors and other
lists. A model that predicts one fit cannot be asked to overlap with it more than a second fit does. Overlap of
two fits is the same in both directions. Similarity lists need item factors alone; lists by dot product need each
fit's own playlist factors, of the same playlists, since a fit's rotation is as arbitrary as its seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import cast

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import FloatArray, check_ks
from cs_keras.evaluation.fits import Fit, check_fits
from cs_keras.evaluation.overlap import KS
from cs_keras.evaluation.search.exact import Float64Array
from cs_keras.evaluation.search.intersection import count_shared
from cs_keras.evaluation.search.metric_rows import squared_lengths
from cs_keras.evaluation.search.search import Int64Array
from cs_keras.evaluation.search.topk import Metric, TopK, top_k_dot, top_k_similar
from cs_keras.evaluation.statistics.resampling import bootstrap_interval


@dataclass(frozen=True)
class Agreement:
    """Overlap between fits at one list length; all but the counts is None where k exceeds the candidates.

    Attributes
    ----------
    k : int
    overlap : float or None
        Mean share of common tracks over queries and pairs of fits.
    low, high : float or None
        95 % bootstrap interval of `overlap` over queries.
    per_query : numpy.ndarray or None, shape (n_queries,), float64
        Mean over pairs: the ceiling of each query.
    per_pair : numpy.ndarray or None, shape (n_pairs,), float64
        Mean over queries, in the order of `itertools.combinations`: how far one pair speaks for all.
    queries : numpy.ndarray, shape (n_queries,), int64
        Rows of the tracks or playlists that asked.
    n_candidates : int
    """

    k: int
    overlap: float | None
    low: float | None
    high: float | None
    per_query: Float64Array | None
    per_pair: Float64Array | None
    queries: Int64Array
    n_candidates: int

    @property
    def available(self) -> bool:
        """Whether there are k candidates."""
        return self.overlap is not None


def measure_agreement(
    fits: Sequence[Fit],
    ks: tuple[int, ...] = KS,
    metric: Metric = "cosine",
    queries: npt.ArrayLike | None = None,
    seed: int = 0,
) -> list[Agreement]:
    """Return the overlap between the lists of every pair of fits.

    Queries whose order is undefined under any of the fits are left out: playlists of zeros, and by cosine tracks of
    zeros.

    Parameters
    ----------
    fits : sequence of Fit
        At least two, of the same tracks; number of factors and rotation may differ.
    ks : tuple of int
        List lengths. One that exceeds the candidates is reported as not available, never clipped.
    metric : {"cosine", "euclidean", "dot"}
        "dot" asks for playlists, the others for tracks.
    queries : array_like, shape (n_queries,), int, optional
        Rows that ask, such as those of the models to be held against this ceiling; all by default.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of Agreement
        One for each of `ks`.

    Raises
    ------
    ConfigError
        `ks` not positive whole numbers, or an unknown metric.
    DataError
        Fewer than two fits, fits of different tracks or playlists, queries that are no rows of them, or none that
        is defined under all.
    """
    ks, fits = check_ks(ks), check_fits(fits, at_least=2, with_playlists=metric == "dot")
    n_tracks = len(fits[0].item_factors)
    n_candidates = n_tracks - (metric != "dot")
    available = [k for k in ks if k <= n_candidates]
    lists = [_lists(fit, max(available, default=1), metric, queries) for fit in fits]
    ordered = _have_order(fits, metric)[lists[0].queries]
    rows = lists[0].queries[ordered]
    if not len(rows):
        raise DataError(
            "no query has an order under every fit: expected at least one playlist or track whose factors are not "
            "all zero in any. Received: none."
        )
    pairs = combinations((each.indices[ordered] for each in lists), 2)
    shared = np.array([count_shared(a, b, tuple(available), n_tracks) for a, b in pairs])
    by_k = {k: _summarise(k, shared[:, i] / k, rows, n_candidates, seed) for i, k in enumerate(available)}
    nothing = Agreement(0, None, None, None, None, None, rows, n_candidates)
    return [by_k.get(k, replace(nothing, k=k)) for k in ks]


def _summarise(
    k: int, overlaps: Float64Array, queries: Int64Array, n_candidates: int, seed: int
) -> Agreement:
    """Summarise the overlaps of pairs of fits, shape (n_pairs, n_queries)."""
    per_query = overlaps.mean(axis=0)
    low, high = bootstrap_interval(per_query, seed=seed)
    return Agreement(
        k, float(per_query.mean()), low, high, per_query, overlaps.mean(axis=1), queries, n_candidates
    )


def _lists(fit: Fit, k: int, metric: Metric, queries: npt.ArrayLike | None) -> TopK:
    if metric == "dot":
        return top_k_dot(_asking(fit, metric), fit.item_factors, k, queries=queries)
    return top_k_similar(fit.item_factors, k, metric=metric, queries=queries)


def _have_order(fits: Sequence[Fit], metric: Metric) -> npt.NDArray[np.bool_]:
    """Return which rows, of playlists or tracks, every fit gives lists of a defined order."""
    asking = [_asking(fit, metric) for fit in fits]
    if metric == "euclidean":
        return np.ones(len(asking[0]), dtype=bool)
    return np.asarray(np.all([squared_lengths(factors) > 0 for factors in asking], axis=0))


def _asking(fit: Fit, metric: Metric) -> FloatArray:
    """Return the factors of what asks: of playlists (which `check_fits` made sure of) or tracks."""
    return cast(FloatArray, fit.playlist_factors) if metric == "dot" else fit.item_factors
