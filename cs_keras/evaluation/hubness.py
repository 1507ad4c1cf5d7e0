"""Scores that reduce hubness: cross-domain similarity local scaling, and mutual proximity.

With many factors a few tracks, the hubs, are in the lists of very many others (`measure_exposure`). Both scores
compare a cosine with the other cosines of the two tracks, so that a track that is near everything has no advantage.

CSLS (Conneau, Lample, Ranzato, Denoyer & Jégou, "Word translation without parallel data", ICLR 2018, equation 3):
2 cos(q, i) - r(q) - r(i), r being the mean cosine of a track with its 10 nearest others.

Mutual proximity (Schnitzer, Flexer, Schedl & Widmer, "Local and global scaling reduce hubs in space", JMLR 13,
2012, section 3.2): the probability that another track is farther from q than i is, times the probability that
another is farther from i than q is. Cosines of a track with the others are taken as normal, those of two tracks as
independent: the variant whose cost does not grow with the cube of the catalogue.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtri_exp
from threadpoolctl import threadpool_limits

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, FloatArray, check_count, check_factors
from cs_keras.evaluation.search.compiled import for_each, measure_rows, sort_lists
from cs_keras.evaluation.search.search import (
    ROWS_PER_BLOCK,
    BoolArray,
    Int32Array,
    Int64Array,
    Search,
    blocks,
    cosine_search,
    squared_lengths,
)
from cs_keras.evaluation.search.topk import TopK, check_k

Score = Literal["csls", "mutual-proximity"]
SCORES: tuple[Score, ...] = get_args(Score)
N_NEIGHBOURS = 10  # of the source, for CSLS
SMALLEST_SD = 1e-12  # to divide by: cosines that differ by rounding are equal
LARGEST_Z = 37.0  # above it, the normal distribution's logarithm is 0 in float64


def measure_neighbourhoods(factors: npt.ArrayLike, n_neighbours: int = N_NEIGHBOURS) -> Float64Array:
    """Return the mean cosine of each track with its nearest others, shape (n_tracks,), float64: r of CSLS.

    Parameters
    ----------
    factors : array_like, shape (n_tracks, n_factors), float32
    n_neighbours : int
        Number of nearest others; all others where there are fewer.

    Raises
    ------
    DataError
        Not a finite factor matrix, or one of a single track.
    ConfigError
        `n_neighbours` is not a positive whole number.
    """
    rows = check_factors("factors", factors)
    k = min(check_count("n_neighbours", n_neighbours), _count_others(rows))
    search = cosine_search(rows, np.arange(len(rows)))
    nearest = search.best(k)[0].astype(np.int64)
    means = np.empty(len(rows))
    for block in blocks(len(rows), ROWS_PER_BLOCK):
        own = nearest[block]
        scores = search.score(block, np.arange(len(own) + 1) * k, own.ravel())
        # Sorted, so that copies of a track, whose neighbours are in another order, have the same sum.
        means[block] = np.sort(scores.reshape(len(own), k), axis=1).mean(axis=1)
    return means


def top_k_reduced(factors: npt.ArrayLike, k: int, score: Score, *, queries: Int64Array) -> TopK:
    """Return, for some rows, the k best other rows by a score that reduces hubness, of `SCORES`.

    Parameters
    ----------
    factors : array_like, shape (n_tracks, n_factors), float32
    k : int
        At most n_tracks - 1.
    score : {"csls", "mutual-proximity"}
    queries : numpy.ndarray, shape (n_queries,), int64
        Rows.

    Raises
    ------
    ConfigError
        k is not a positive whole number.
    DataError
        Not a finite factor matrix, or k is above n_tracks - 1.
    """
    search = cosine_search(check_factors("factors", factors), queries)
    check_k(k, _count_others(search.items))
    best, ties = _RANK[score](search, k)
    return TopK(best, ties, queries, len(search.items), "cosine")


def measure_cosines(factors: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    """Return mean and standard deviation of each track's cosines with all others, shape (n_tracks,), float64.

    In time linear in the number of tracks, from the sum of unit rows and of their products.

    Parameters
    ----------
    factors : array_like, shape (n_tracks, n_factors), float32
        A row of zeros has cosine 0 with any other.

    Raises
    ------
    DataError
        Not a finite factor matrix, or one of a single track.
    """
    rows = check_factors("factors", factors)
    _count_others(rows)
    scale = np.sqrt(squared_lengths(rows))
    scale[scale == 0] = 1
    centre, products = np.zeros(rows.shape[1]), np.zeros((rows.shape[1], rows.shape[1]))
    means, squares = np.empty(len(rows)), np.empty(len(rows))
    with threadpool_limits(1, "blas"):  # so that sums do not depend on the number of threads
        for block in blocks(len(rows), ROWS_PER_BLOCK):
            centre += (rows[block] / scale[block, np.newaxis]).sum(axis=0) / len(rows)
        for block in blocks(len(rows), ROWS_PER_BLOCK):
            deviations = rows[block] / scale[block, np.newaxis] - centre
            products += deviations.T @ deviations
    for_each(
        lambda block: measure_rows(
            rows[block], scale[block], len(rows), centre, products, means[block], squares[block]
        ),
        blocks(len(rows), ROWS_PER_BLOCK // 16),
    )
    return means, np.sqrt(np.maximum(squares, 0))


def score_mutual_proximity(
    cosines: npt.ArrayLike,
    of_query: tuple[npt.ArrayLike, npt.ArrayLike],
    of_items: tuple[npt.ArrayLike, npt.ArrayLike],
) -> Float64Array:
    """Return the logarithm of the mutual proximity of queries and items, which keeps apart what is close to 1.

    Parameters
    ----------
    cosines : array_like, shape (..., n_items)
    of_query, of_items : pairs of array_like
        Mean and standard deviation of their cosines with the others, of shapes that broadcast with `cosines`.
    """
    total = np.zeros(np.shape(cosines))
    for mean, sd in (of_query, of_items):
        total += log_ndtr((cosines - np.asarray(mean)) / np.maximum(sd, SMALLEST_SD))
    return total


def _rank_by_csls(search: Search, k: int) -> tuple[Int32Array, BoolArray]:
    # r(q) and the factor 2 do not change the order of a query's items.
    return replace(search, offsets=measure_neighbourhoods(search.items) / 2).best(k)


def _rank_by_mutual_proximity(search: Search, k: int) -> tuple[Int32Array, BoolArray]:
    """Do as `Search.best` does.

    With z(q) and z(i) a cosine in standard deviations from the mean of the query and of the item, and w the smaller
    of them, the score log P(z(q)) + log P(z(i)) is from 2 log P(w) to log P(w). So most items are known to be
    outside of a list by rough cosines alone, and only the others are scored.
    """
    queries, (means, sds) = search.own_rows, measure_cosines(search.items)
    sds = np.maximum(sds, SMALLEST_SD)
    best, ties = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), bool)
    n = min(k + 2, len(means))  # with the next best, and the query's own item

    def find(block: slice, rough: FloatArray) -> None:
        mean, sd = means[queries[block]], sds[queries[block]]
        smaller = (rough - mean[:, np.newaxis]) / sd[:, np.newaxis]
        np.minimum(smaller, (rough - means) / sds, out=smaller)
        error = (2 * search.error / np.minimum(sd, sds.min()))[:, np.newaxis]
        least = np.partition(smaller, -n, axis=1)[:, [-n]] - error
        threshold = np.minimum(ndtri_exp(2 * log_ndtr(least)), LARGEST_Z)
        starts, items, cosines = search.score_flagged(block, smaller >= threshold - 2 * error)
        own = np.repeat(np.arange(len(mean)), np.diff(starts))
        scores = score_mutual_proximity(cosines, (mean[own], sd[own]), (means[items], sds[items]))
        sort_lists(starts, items, scores, best[block], ties[block])

    search.for_rough_scores(find)
    return best, ties


_RANK: dict[Score, Callable[[Search, int], tuple[Int32Array, BoolArray]]] = {
    "csls": _rank_by_csls,
    "mutual-proximity": _rank_by_mutual_proximity,
}


def _count_others(rows: FloatArray) -> int:
    if len(rows) < 2:
        raise DataError(
            "a single track has no neighbours: expected factors of 2 tracks or more. Received: 1."
        )
    return len(rows) - 1
