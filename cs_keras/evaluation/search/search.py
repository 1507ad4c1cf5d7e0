"""Scores of queries and items, and the best items of every query by them, exactly.

The score of a pair is the float64 dot product of its two rows, summed by `numpy.einsum` in an order that depends on
their length alone. Matrix products are much faster, but the order of their additions depends on shape, threads and
processor: they find candidates here, and wherever two scores lie closer together than their rounding errors, the
score of the pair decides, then row order. So lists and ranks depend on the factors alone.

Rounding: a product of rows of length at most 1, in floating point of unit roundoff u, is off by at most
n_factors * u in any order of the sum (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section
3.1), and by a few u more where the rows themselves are rounded.
"""

import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.checks import Float64Array, FloatArray

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LIST_ENTRIES = 2**21  # of candidate lists held at a time: 25 MB
BLOCK_SCORES = 2**25  # of queries times items held at a time: 270 MB
ITEM_BLOCK_SIZE = 2**14  # items scored at a time where all scores are needed
ROWS_PER_BLOCK = 2**14  # converted to float64 at a time: 26 MB of 200 factors
N_THREADS = len(os.sched_getaffinity(0))  # that score pairs; NumPy releases the interpreter's lock
TOLERANCE = 1e-9  # of a score: ties are flagged within it


@dataclass(frozen=True, eq=False)
class Search:
    """Rows of queries and items whose dot product, less an offset, ranks the items.

    Attributes
    ----------
    queries : numpy.ndarray, shape (n_queries, n_factors), float32
    items : numpy.ndarray, shape (n_items, n_factors), float32
    query_scale, item_scale : numpy.ndarray, shape (n_queries,) and (n_items,), float64
        What each row is divided by: its length at least.
    offsets : numpy.ndarray or None, shape (n_items,), float64
        Subtracted from the products with an item, at most 0.5.
    own_rows : numpy.ndarray or None, shape (n_queries,), int64
        Item to exclude for each query: itself.
    """

    queries: FloatArray
    items: FloatArray
    query_scale: Float64Array
    item_scale: Float64Array
    offsets: Float64Array | None = None
    own_rows: Int64Array | None = None

    @property
    def n_queries(self) -> int:
        """Number of queries."""
        return len(self.queries)

    @property
    def n_items(self) -> int:
        """Number of items, a query's own one included."""
        return len(self.items)

    def bound(self, dtype: type[np.float32] | type[np.float64]) -> float:
        """Return how far a matrix product in that precision lies from the score at most."""
        largest = 1.01 if self.offsets is None else 1.51  # of the sums that are rounded
        return float(largest * (self.items.shape[1] + 5) * np.finfo(dtype).eps / 2)

    def score(self, query: int, items: Int64Array | Int32Array) -> Float64Array:
        """Return the scores of one query with some items, shape (n,), float64."""
        row = self.queries[query].astype(np.float64) / self.query_scale[query]
        found = np.empty(len(items))
        for block in blocks(len(items), ROWS_PER_BLOCK):
            some = items[block]
            np.einsum("j,kj->k", row, self.items[some].astype(np.float64), out=found[block])
        found /= self.item_scale[items]
        return found if self.offsets is None else found - self.offsets[items]

    def score_many(self, query: int, items: Int64Array) -> Float64Array:
        """Return the same, once for all items whose rows are equal: fast where a predictor has many ties."""
        first, group = self._groups
        if len(first) == self.n_items:
            return self.score(query, items)
        found = np.empty(len(first))
        is_needed = np.zeros(len(first), dtype=bool)
        is_needed[group[items]] = True
        needed = np.flatnonzero(is_needed)
        found[needed] = self.score(query, first[needed])
        return np.asarray(found[group[items]])

    def products(self, queries: slice | Int64Array, items: slice | None = None) -> Float64Array:
        """Return scores within `bound` of float64, shape (n_queries, n_items); -inf for a query's own item."""
        rows = self.queries[queries] / self.query_scale[queries, np.newaxis]
        items = items or slice(0, self.n_items)
        found = np.empty((len(rows), items.stop - items.start))
        for block in blocks(found.shape[1], ITEM_BLOCK_SIZE):
            some = slice(items.start + block.start, items.start + block.stop)
            np.matmul(rows, (self.items[some] / self.item_scale[some, np.newaxis]).T, out=found[:, block])
        if self.offsets is not None:
            found -= self.offsets[items]
        if self.own_rows is not None:
            own = self.own_rows[queries] - items.start
            inside = np.flatnonzero((own >= 0) & (own < found.shape[1]))
            found[inside, own[inside]] = -np.inf
        return found

    def ordered_scores(self) -> Float64Array:
        """Return the scores of all items in their exact order, ties included: shape (n_queries, n_items).

        Those that products cannot order are those of `score`; the others are within `bound` of it.
        """
        found = self.products(slice(None))
        for query, scores in enumerate(found):
            order = np.argsort(scores)
            near = np.diff(scores[order]) <= 2 * self.bound(np.float64)
            unclear = order[np.append(near, False) | np.append(False, near)]
            scores[unclear] = self.score_many(query, unclear)
        return found

    def best(self, k: int) -> tuple[Int32Array, BoolArray]:
        """Return the k best items of every query, and whether each ties with the next best.

        k is at most the number of candidates of a query. Ties are in row order. Both arrays have shape
        (n_queries, k).
        """
        rows, ties = np.empty((self.n_queries, k), np.int32), np.zeros((self.n_queries, k), bool)
        error = self.bound(np.float32)
        width = min(k + 16 + k // 32 + (self.own_rows is not None), self.n_items)
        queries, items = self._rounded
        for block in blocks(self.n_queries, max(1, LIST_ENTRIES // width)):
            scores, found = faiss.knn(queries[block], items, width, metric=faiss.METRIC_INNER_PRODUCT)
            if self.own_rows is not None:
                scores, found = _remove(self.own_rows[block], scores, found)
            least = scores[:, k - 1] - 2 * error  # of what can be among the k best
            is_complete = (scores[:, -1] < least) | (width == self.n_items)
            near = (scores[:, :-1] - scores[:, 1:] <= 2 * error) & (scores[:, 1:] >= least[:, np.newaxis])
            near[~is_complete] = False
            tied = self._sort_near(block.start, found, near)
            rows[block], ties[block] = found[:, :k], tied[:, :k]
            unclear = block.start + np.flatnonzero(~is_complete)
            for some in blocks(len(unclear), max(1, BLOCK_SCORES // self.n_items)):
                for query, products in zip(unclear[some], self.products(unclear[some]), strict=True):
                    rows[query], ties[query] = self._select(int(query), products, k)
        return rows, ties

    def _sort_near(self, first_query: int, items: Int64Array, near: BoolArray) -> BoolArray:
        """Sort runs of items whose order is not clear, in place, and return whether each ties with the next.

        Lists have shape (n_queries, width); `near`, shape (n_queries, width - 1), marks items too near the next.
        """
        unclear, is_start = np.zeros(items.shape, dtype=bool), np.ones(items.shape, dtype=bool)
        unclear[:, :-1] = near
        unclear[:, 1:] |= near
        is_start[:, 1:] = ~near
        runs = np.cumsum(is_start)[unclear.reshape(-1)]
        listed, exact = items[unclear], np.empty(len(runs))
        ends = np.cumsum(np.count_nonzero(unclear, axis=1)).tolist()

        def score(queries: Int64Array) -> None:
            for query in queries.tolist():
                own = slice(ends[query - 1] if query else 0, ends[query])
                exact[own] = self.score(first_query + query, listed[own])

        with ThreadPoolExecutor(N_THREADS) as threads:
            list(threads.map(score, np.array_split(np.arange(len(items)), N_THREADS)))
        order = np.lexsort((listed, -exact, runs))
        items[unclear], exact = listed[order], exact[order]
        ties = np.zeros(items.shape, dtype=bool)
        ties[unclear] = np.append((np.diff(runs) == 0) & are_tied(exact), False)[: len(runs)]
        return ties

    def _select(self, query: int, products: Float64Array, k: int) -> tuple[Int64Array, BoolArray]:
        """Return the k best items by the products with all, shape (n_items,), and whether each ties."""
        least = np.partition(products, -k)[-k]
        is_candidate = products >= least - 2 * self.bound(np.float64)
        candidates = np.flatnonzero(is_candidate)
        exact = self.score_many(query, candidates)
        last = np.partition(exact, -k)[-k]
        above, equal = np.flatnonzero(exact > last), np.flatnonzero(exact == last)
        listed = np.concatenate((above, equal[: k - len(above)]))
        order = listed[np.lexsort((listed, -exact[listed]))]
        others = np.append(np.delete(exact, listed), products[~is_candidate])
        return candidates[order], are_tied(np.append(exact[order], others.max(initial=-np.inf)))

    @functools.cached_property
    def _rounded(self) -> tuple[FloatArray, FloatArray]:
        """Rows in float32; offsets are one more factor."""
        wider = self.offsets is not None
        shape = self.items.shape[1] + wider
        queries = np.ones((self.n_queries, shape), np.float32)
        items = np.empty((self.n_items, shape), np.float32)
        for rows, source, scale in (
            (queries, self.queries, self.query_scale),
            (items, self.items, self.item_scale),
        ):
            for block in blocks(len(rows), ROWS_PER_BLOCK):
                rows[block, : source.shape[1]] = source[block] / scale[block, np.newaxis]
        if self.offsets is not None:
            items[:, -1] = -self.offsets
        return queries, items

    @functools.cached_property
    def _groups(self) -> tuple[Int64Array, Int64Array]:
        """First item of each group of equal rows, and the group of each item."""
        rows = np.ascontiguousarray(self.items)
        whole = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]
        _, first, group = np.unique(whole, return_index=True, return_inverse=True)
        return first, group


def cosine_search(factors: FloatArray, queries: Int64Array) -> Search:
    """Return the search of other rows by cosine; rows of zeros stay zero."""
    lengths = np.sqrt(squared_lengths(factors))
    lengths[lengths == 0] = 1
    return Search(factors[queries], factors, lengths[queries], lengths, own_rows=queries)


def euclidean_search(factors: FloatArray, queries: Int64Array) -> Search:
    """Return the search of the nearest other rows: the largest q.i - |i|^2 / 2."""
    squares = squared_lengths(factors)
    unit = power_of_two(np.sqrt(squares.max()))
    scale = np.full(len(factors), unit)
    return Search(factors[queries], factors, scale[queries], scale, squares / unit**2 / 2, own_rows=queries)


def dot_search(playlists: FloatArray, items: FloatArray, queries: Int64Array) -> Search:
    """Return the search of items by dot product with some of the playlists."""
    units = power_of_two(np.sqrt(squared_lengths(playlists[queries])))
    scale = np.full(len(items), power_of_two(np.sqrt(squared_lengths(items).max())))
    return Search(playlists[queries], items, units, scale)


def are_tied(scores: Float64Array) -> BoolArray:
    """Return whether each score but the last equals the next within 1e-9 of it; scores descend, (..., n)."""
    before, after = scores[..., :-1], scores[..., 1:]
    with np.errstate(invalid="ignore"):  # -inf: no next score
        tied = before - after <= TOLERANCE * np.maximum(np.abs(before), np.abs(after))
    return np.asarray(tied & np.isfinite(after))


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


def _remove(own_rows: Int64Array, scores: FloatArray, items: Int64Array) -> tuple[FloatArray, Int64Array]:
    """Remove each query's own item from its list, or the last one if it is not there."""
    is_own = items == own_rows[:, np.newaxis]
    is_own[~is_own.any(axis=1), -1] = True
    shape = (len(items), items.shape[1] - 1)
    return scores[~is_own].reshape(shape), items[~is_own].reshape(shape)
