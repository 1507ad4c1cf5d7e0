"""Overlap between several fits of the same tracks: the ceiling of any model's overlap.

A factorisation is not unique: another seed, or another half of the playlists, gives other factors and other
lists. A model that predicts one fit cannot be expected to overlap with it more than another fit does. Overlap of
two fits is symmetric. Similarity lists need item factors alone; lists by dot product need each fit's own playlist
factors, of the same playlists, since each fit has its own rotation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, FloatArray, check_ks
from cs_keras.evaluation.fits.alignment import Fit, check_fits
from cs_keras.evaluation.overlap import KS
from cs_keras.evaluation.search.intersection import count_shared
from cs_keras.evaluation.search.search import Int64Array, squared_lengths
from cs_keras.evaluation.search.topk import Metric, top_k_dot, top_k_similar
from cs_keras.evaluation.statistics.resampling import bootstrap_interval


@dataclass(frozen=True)
class Agreement:
    """Overlap between fits at one list length; None, except for counts, where k exceeds the candidates.

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
        Mean over queries, in the order of `itertools.combinations`.
    queries : numpy.ndarray, shape (n_queries,), int64
        Rows of the query tracks or playlists.
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

    Queries without a defined order under any of the fits are left out: playlists of zeros, and by cosine tracks of
    zeros.

    Parameters
    ----------
    fits : sequence of Fit
        At least two, of the same tracks; number of factors and rotation may differ.
    ks : tuple of int
        List lengths. One that exceeds the candidates is reported as not available, never clipped.
    metric : {"cosine", "euclidean", "dot"}
        With "dot" the queries are playlists, else tracks.
    queries : array_like, shape (n_queries,), int, optional
        Query rows, for example those of the models compared with this ceiling; all by default.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    list of Agreement
        One for each of `ks`.

    Raises
    ------
    ConfigError
        `ks` are not positive whole numbers, or the metric is unknown.
    DataError
        There are fewer than two fits, fits of different tracks or playlists, queries that are not rows of them, or
        no query with a defined order under all.
    """
    ks, fits = check_ks(ks), check_fits(fits, at_least=2, with_playlists=metric == "dot")
    n_tracks = len(fits[0].item_factors)
    n_candidates = n_tracks - (metric != "dot")
    available = [k for k in ks if k <= n_candidates]
    longest, lists = max(available, default=1), []
    has_order = np.ones(len(_query_factors(fits[0], metric)), dtype=bool)
    for fit in fits:
        own = _query_factors(fit, metric)
        if metric == "dot":
            lists.append(top_k_dot(own, fit.item_factors, longest, queries=queries))
        else:
            lists.append(top_k_similar(own, longest, metric=metric, queries=queries))
        if metric != "euclidean":
            has_order &= squared_lengths(own) > 0
    ordered = has_order[lists[0].queries]
    rows = lists[0].queries[ordered]
    if not len(rows):
        raise DataError(
            "no query has an order under every fit: expected at least one playlist or track whose factors are not "
            "all zero in any. Received: none."
        )
    pairs = combinations((each.indices[ordered] for each in lists), 2)
    shared = np.array([count_shared(a, b, tuple(available), n_tracks) for a, b in pairs])
    results = {k: Agreement(k, None, None, None, None, None, rows, n_candidates) for k in ks}
    for i, k in enumerate(available):
        overlaps = shared[:, i] / k  # (n_pairs, n_queries)
        per_query = overlaps.mean(axis=0)
        low, high = bootstrap_interval(per_query, seed=seed)
        mean, per_pair = float(per_query.mean()), overlaps.mean(axis=1)
        results[k] = Agreement(k, mean, low, high, per_query, per_pair, rows, n_candidates)
    return [results[k] for k in ks]


def _query_factors(fit: Fit, metric: Metric) -> FloatArray:
    """Return the factors of the queries: playlists (`check_fits` requires them) or tracks."""
    return cast(FloatArray, fit.playlist_factors) if metric == "dot" else fit.item_factors
