"""Scores of queries and items, and the best items of every query by them, exactly.

The score of a pair is the dot product of its two rows, summed in float64 in an order that depends on their length
alone. faiss, whose sums in float32 depend on block size and threads, finds more candidates than needed. They hold
the best ones for certain if the last of them lies below the k-th by more than rounding can explain; otherwise all
items are scored. So lists and ranks depend on the factors alone.

Rounding: a product of rows of length at most 1, in floating point of unit roundoff u, is off by at most
n_factors * u in any order of the sum (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section
3.1), and by a few u more where the rows themselves are rounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.checks import Float64Array, FloatArray
from cs_keras.evaluation.search.compiled import dot_products, for_each, sort_lists

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LIST_ENTRIES = 2**21  # of candidate lists held at a time: 50 MB
QUERIES_PER_THREAD = 64  # at a time
ROWS_PER_BLOCK = 2**14  # converted to float64 at a time: 26 MB of 200 factors
TOLERANCE = 1e-9  # of a score: ties are flagged within it


@dataclass(frozen=True, eq=False)
class Search:
    """Rows of queries and items whose dot product, scaled and less an offset, ranks the items.

    Attributes
    ----------
    queries : numpy.ndarray, shape (n_queries, n_factors), float32
    items : numpy.ndarray, shape (n_items, n_factors), float32
    query_scale, item_scale : numpy.ndarray, shape (n_queries,) and (n_items,), float64
        What products are divided by: each row's length at least.
    offsets : numpy.ndarray or None, shape (n_items,), float64
        Subtracted from an item's scaled products, at most 0.5.
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

    def score(self, query: int, items: Int64Array) -> Float64Array:
        """Return the scores of one query with some items, shape (n,), float64; -inf with its own."""
        scores = np.empty(len(items))
        dot_products(self.queries[query], self.items, items, scores)
        scores /= self.query_scale[query]
        scores /= self.item_scale[items]
        if self.offsets is not None:
            scores -= self.offsets[items]
        if self.own_rows is not None:
            scores[items == self.own_rows[query]] = -np.inf
        return scores

    def score_all(self) -> Float64Array:
        """Return the scores of all pairs, shape (n_queries, n_items), float64; -inf for a query's own item."""
        scores, items = np.empty((self.n_queries, self.n_items)), np.arange(self.n_items)

        def score(queries: slice) -> None:
            for query in range(queries.start, queries.stop):
                scores[query] = self.score(query, items)

        for_each(score, blocks(self.n_queries, QUERIES_PER_THREAD))
        return scores

    def best(self, k: int) -> tuple[Int32Array, BoolArray]:
        """Return the k best items of every query, and whether each ties with the next best.

        k is at most the number of candidates of a query. Ties are in row order. Both arrays have shape
        (n_queries, k).
        """
        rows, ties = np.empty((self.n_queries, k), np.int32), np.empty((self.n_queries, k), bool)
        width = min(k + 16 + k // 64 + (self.own_rows is not None), self.n_items)
        queries, items = self._rounded()
        everything = np.arange(self.n_items)
        for block in blocks(self.n_queries, max(1, LIST_ENTRIES // width)):
            rough, found = faiss.knn(queries[block], items, width, metric=faiss.METRIC_INNER_PRODUCT)
            is_complete = self._are_complete(block, rough, found, k)

            def settle(
                part: slice, start: int = block.start, found: Int64Array = found, ok: BoolArray = is_complete
            ) -> None:
                for row in range(part.start, part.stop):
                    query = start + row
                    own = found[row] if ok[row] else everything
                    scores = self.score(query, own)
                    if ok[row]:
                        sort_lists(scores[np.newaxis], own[np.newaxis])
                    else:
                        own, scores = _select(scores, k)
                    rows[query], ties[query] = own[:k], are_tied(scores[: k + 1], k)

            for_each(settle, blocks(len(found), QUERIES_PER_THREAD))
        return rows, ties

    def _are_complete(self, block: slice, rough: FloatArray, found: Int64Array, k: int) -> BoolArray:
        """Return whether each list of candidates holds the k best, and all that tie with the last of them."""
        n_found, k_th = np.full(len(found), found.shape[1]), rough[:, k - 1]
        if self.own_rows is not None:
            is_own = found == self.own_rows[block, np.newaxis]
            k_th = np.where(is_own[:, :k].any(axis=1), rough[:, k], k_th)
            rough, n_found = np.where(is_own, -np.inf, rough), n_found - is_own.any(axis=1)
        largest = 1.01 if self.offsets is None else 1.51  # of the sums that are rounded
        error = largest * (self.items.shape[1] + 5) * np.finfo(np.float32).eps / 2
        return np.asarray(np.count_nonzero(rough >= k_th[:, np.newaxis] - 2 * error, axis=1) < n_found)

    def _rounded(self) -> tuple[FloatArray, FloatArray]:
        """Return scaled rows in float32; offsets are one more factor."""
        n_factors = self.items.shape[1]
        shape = n_factors + (self.offsets is not None)
        queries, items = (
            np.ones((self.n_queries, shape), np.float32),
            np.ones((self.n_items, shape), np.float32),
        )
        for rows, source, scale in (
            (queries, self.queries, self.query_scale),
            (items, self.items, self.item_scale),
        ):
            for block in blocks(len(rows), ROWS_PER_BLOCK):
                rows[block, :n_factors] = source[block] / scale[block, np.newaxis]
        if self.offsets is not None:
            items[:, -1] = -self.offsets
        return queries, items


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


def are_tied(scores: Float64Array, k: int) -> BoolArray:
    """Return whether each of the k first scores equals the next within 1e-9 of it: shape (k,).

    Scores, shape (k,) or (k + 1,), descend; -inf is no score.
    """
    ties = np.zeros(k, dtype=bool)
    before, after = scores[:-1], scores[1:]
    if len(after) and after[-1] == -np.inf:
        before, after = before[:-1], after[:-1]
    ties[: len(after)] = before - after <= TOLERANCE * np.maximum(np.abs(before), np.abs(after))
    return ties


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


def _select(scores: Float64Array, k: int) -> tuple[Int64Array, Float64Array]:
    """Return the k best rows of all scores, shape (n_items,), and their scores with the next best."""
    last = np.partition(scores, -k)[-k]
    above, equal = np.flatnonzero(scores > last), np.flatnonzero(scores == last)
    order = np.concatenate((above[np.argsort(-scores[above], kind="stable")], equal[: k - len(above)]))
    following = last if len(above) + len(equal) > k else scores[scores < last].max(initial=-np.inf)
    return order, np.append(scores[order], following)
