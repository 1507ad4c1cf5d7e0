"""Scores of queries and items, and the best items of every query by them, exactly.

The score of a pair is the dot product of its two rows, summed in float64 in an order that depends on their length
alone. A matrix product in float32, whose sums depend on block size and threads, finds candidates: all items whose
rough score is not below the k-th largest by more than rounding can explain. The best ones are certainly among
them, so lists and ranks depend on the factors alone.

Rounding: a product of rows of length at most 1, in floating point of unit roundoff u, is off by at most
n_factors * u in any order of the sum (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section
3.1), and by a few u more where the rows themselves, an offset or a bound are rounded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from cs_keras.evaluation.checks import Float64Array, FloatArray
from cs_keras.evaluation.search.compiled import (
    find_thresholds,
    for_each,
    list_flagged,
    scale_scores,
    score_rows,
    sort_lists,
)

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

BLOCK_SCORES = 2**21  # of a thread at a time: 8 MB of rough ones
LEAST_QUERIES = 64  # of a product, whatever their number of scores: one of fewer is slow
SMALLEST_SCALE = 1e-25  # and largest, inversely: beyond, products of the factors as they are might underflow
ROWS_PER_BLOCK = 2**14  # converted to float64 at a time: 26 MB of 200 factors


@dataclass(frozen=True, eq=False)
class Search:
    """Rows of queries and items whose dot product, scaled and less an offset, ranks the items.

    Attributes
    ----------
    queries : numpy.ndarray, shape (n_queries, n_factors), float32
    items : numpy.ndarray, shape (n_items, n_factors), float32
    query_scale, item_scale : numpy.ndarray, shape (n_queries,) and (n_items,), float64
        What products are divided by: each row's length at least.
    offsets : numpy.ndarray, shape (n_items,), float64
        Subtracted from an item's scaled products, at most 0.5.
    own_rows : numpy.ndarray, shape (n_queries,), int64
        Item to exclude for each query: itself, or -1.
    """

    queries: FloatArray
    items: FloatArray
    query_scale: Float64Array
    item_scale: Float64Array
    offsets: Float64Array
    own_rows: Int64Array

    @property
    def error(self) -> float:
        """Largest difference between rough and exact score; of the sums that are rounded, none is above 1.5."""
        return float(1.51 * (self.items.shape[1] + 10) * np.finfo(np.float32).eps / 2)

    def score(self, queries: slice, starts: Int64Array, rows: Int64Array) -> Float64Array:
        """Return the scores of some queries with some items each, one query after another; -inf with its own.

        `rows` are the items, shape (n,), int64, from `starts` of a query to that of the next, (1 + n_queries,).
        """
        scores = np.empty(len(rows))
        score_rows(
            self.queries[queries],
            self.items,
            self.query_scale[queries],
            self.item_scale,
            self.offsets,
            self.own_rows[queries],
            starts,
            rows,
            scores,
        )
        return scores

    def score_flagged(
        self, queries: slice, is_flagged: BoolArray
    ) -> tuple[Int64Array, Int64Array, Float64Array]:
        """Return starts, rows and scores, as for `score`, of flagged items: bool, (n_queries, n_items)."""
        starts = np.concatenate(([0], np.cumsum(np.count_nonzero(is_flagged, axis=1))))
        rows = np.empty(starts[-1], np.int64)
        list_flagged(is_flagged, starts, rows)
        return starts, rows, self.score(queries, starts, rows)

    def score_all(self) -> Float64Array:
        """Return the scores of all pairs, shape (n_queries, n_items), float64; -inf for a query's own item."""
        scores = np.empty((len(self.queries), len(self.items)))

        def score(queries: slice) -> None:
            n_queries, n_items = scores[queries].shape
            starts, rows = np.arange(n_queries + 1) * n_items, np.tile(np.arange(n_items), n_queries)
            scores[queries] = self.score(queries, starts, rows).reshape(n_queries, n_items)

        for_each(score, blocks(len(scores), LEAST_QUERIES))
        return scores

    def best(self, k: int) -> tuple[Int32Array, BoolArray]:
        """Return the k best items of every query, and whether each ties with the next best.

        k is at most the number of candidates of a query. Ties are in row order. Both arrays have shape
        (n_queries, k).
        """
        shape = len(self.queries), k
        best, ties = np.empty(shape, np.int32), np.empty(shape, bool)
        n = min(k + 2, len(self.items))  # with the next best, and the query's own item

        def find(queries: slice, rough: FloatArray) -> None:
            thresholds = np.empty(len(rough), np.float32)
            find_thresholds(rough, n, thresholds)
            is_candidate = rough >= thresholds[:, np.newaxis] - np.float32(2 * self.error)
            sort_lists(*self.score_flagged(queries, is_candidate), best[queries], ties[queries])

        self.for_rough_scores(find)
        return best, ties

    def for_rough_scores(self, function: Callable[[slice, FloatArray], None]) -> None:
        """Call a function for some queries at a time, with their scores within `error`, (n_queries, n_items).

        The scores, float32, are the function's own; a query's own item has one too.
        """
        queries = (self.queries / self.query_scale[:, np.newaxis]).astype(np.float32)
        if SMALLEST_SCALE < self.item_scale.min() <= self.item_scale.max() < 1 / SMALLEST_SCALE:
            items, factors = self.items, (1 / self.item_scale).astype(np.float32)
        else:
            items = (self.items / self.item_scale[:, np.newaxis]).astype(np.float32)
            factors = np.ones(len(items), np.float32)
        offsets = self.offsets.astype(np.float32)

        size = max(1, BLOCK_SCORES // len(items))

        def call(block: slice) -> None:
            rough = queries[block] @ items.T
            scale_scores(rough, factors, offsets)
            for part in blocks(len(rough), size):  # as all items may be candidates of each
                function(slice(block.start + part.start, block.start + part.stop), rough[part])

        with threadpool_limits(1, "blas"):  # of products: they run on all threads already
            for_each(call, blocks(len(queries), max(LEAST_QUERIES, size)))


def cosine_search(factors: FloatArray, queries: Int64Array) -> Search:
    """Return the search of other rows by cosine; rows of zeros stay zero."""
    lengths = np.sqrt(squared_lengths(factors))
    lengths[lengths == 0] = 1
    return Search(factors[queries], factors, lengths[queries], lengths, np.zeros(len(factors)), queries)


def euclidean_search(factors: FloatArray, queries: Int64Array) -> Search:
    """Return the search of the nearest other rows: the largest q.i - |i|^2 / 2."""
    squares = squared_lengths(factors)
    unit = power_of_two(np.sqrt(squares.max()))
    scale = np.full(len(factors), unit)
    return Search(factors[queries], factors, scale[queries], scale, squares / unit**2 / 2, queries)


def dot_search(playlists: FloatArray, items: FloatArray, queries: Int64Array) -> Search:
    """Return the search of items by dot product with some of the playlists."""
    units = power_of_two(np.sqrt(squared_lengths(playlists[queries])))
    scale = np.full(len(items), power_of_two(np.sqrt(squared_lengths(items).max())))
    nothing = np.zeros(len(items)), np.full(len(queries), -1)
    return Search(playlists[queries], items, units, scale, *nothing)


def squared_lengths(factors: FloatArray) -> Float64Array:
    """Return the squared length of every row, shape (n_rows,), float64, exact for small whole numbers."""
    squares = np.empty(len(factors))
    for block in blocks(len(factors), ROWS_PER_BLOCK):
        squares[block] = np.square(factors[block], dtype=np.float64).sum(axis=1)
    return squares


def power_of_two(lengths: npt.ArrayLike) -> Float64Array:
    """Return the power of two above each length, to scale by without rounding; 1 for a length of 0."""
    return np.asarray(np.ldexp(1.0, np.frexp(lengths)[1]))


def blocks(n_rows: int, block_size: int) -> Iterator[slice]:
    """Yield slices that cover `n_rows` rows, `block_size` at a time."""
    for start in range(0, n_rows, block_size):
        yield slice(start, min(start + block_size, n_rows))
