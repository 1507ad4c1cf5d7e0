"""Exact search for the best items of every query, in blocks that bound memory and change nothing else."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.search.exact import (
    Float64Array,
    SplitRows,
    dot_products,
    paired_products,
    rough_error,
    rough_products,
    split,
)

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

BLOCK_SIZE = 256  # queries scored at a time
ITEM_BLOCK_SIZE = 16_384  # items scored at a time; with 256 queries, about 100 MB
PAIRS_PER_BLOCK = 2**13  # of query and item, scored one by one: about 50 MB
FEW = 1 / 32  # pairs up to this share of all are scored faster one by one


@dataclass(frozen=True)
class Search:
    """Queries and items as float64 rows of length about 1 (see `exact`), made one block at a time.

    `query_rows` and `item_rows` take a slice or row numbers and return these vectors, (n_rows, n_factors), float64.
    `own_rows`, shape (n_queries,), holds the item to exclude for each query: itself.
    """

    query_rows: Callable[[slice | Int32Array | Int64Array], Float64Array]
    item_rows: Callable[[slice | Int32Array | Int64Array], Float64Array]
    n_queries: int
    n_items: int
    own_rows: Int64Array | None = None

    def best(self, n_best: int, block_size: int = BLOCK_SIZE) -> tuple[Float64Array, Int32Array]:
        """Return scores and rows of the `n_best` items of largest dot product, ties in row order.

        `n_best` is at most the number of candidates of a query. Both arrays have shape (n_queries, n_best),
        float64 and int32.
        """
        scores = np.full((self.n_queries, n_best), -np.inf)
        rows = np.full((self.n_queries, n_best), -1, dtype=np.int32)
        for block in self.score_blocks(block_size):
            # An equal score in a later block ranks after those found before: only better ones can enter.
            for query, columns, found in block.above(scores[block.queries, -1], n_best):
                _merge(scores[query], rows[query], found, columns + block.items.start)
        return scores, rows

    def score_blocks(self, block_size: int = BLOCK_SIZE) -> Iterator["ScoreBlock"]:
        """Yield some queries and items at a time, `block_size` queries, all of them for the first items first."""
        for items in blocks(self.n_items, ITEM_BLOCK_SIZE):
            item_rows = split(self.item_rows(items))
            for queries in blocks(self.n_queries, block_size):
                own = None if self.own_rows is None else self.own_rows[queries] - items.start
                yield ScoreBlock(queries, items, split(self.query_rows(queries)), item_rows, own)


@dataclass(frozen=True)
class ScoreBlock:
    """Some queries and some items, as slices of their rows and as vectors.

    `own_columns`, shape (n_queries,), holds the column of each query's own item in this block, or outside it.
    """

    queries: slice
    items: slice
    query_rows: SplitRows
    item_rows: SplitRows
    own_columns: Int64Array | None = None

    @property
    def error(self) -> float:
        """Largest error of a rough score."""
        return rough_error(self.item_rows.high.shape[1])

    def scores(self) -> Float64Array:
        """Return all scores, shape (n_queries, n_items), float64; -inf for a query's own item."""
        return self._without_own(dot_products(self.query_rows, self.item_rows))

    def rough_scores(self) -> Float64Array:
        """Return the same, each within `error`, at a third of the work."""
        return self._without_own(rough_products(self.query_rows, self.item_rows))

    def scores_of(self, queries: Int64Array, columns: Int64Array) -> Float64Array:
        """Return the scores of some pairs, shape (n_pairs,), float64: as `scores` has them."""
        found = np.empty(len(queries))
        for pairs in blocks(len(found), PAIRS_PER_BLOCK):
            found[pairs] = paired_products(self.query_rows[queries[pairs]], self.item_rows[columns[pairs]])
        return found

    def above(self, least: Float64Array, n_best: int) -> Iterator[tuple[int, Int64Array, Float64Array]]:
        """Yield queries with the items that score above `least`, in row order, the `n_best` among them.

        Items below these may be left out, except ties with the last. `least` has shape (n_queries,). Each query
        comes with the columns of its items, counted from the first of the block, int64, and their scores, float64,
        both of shape (n_found,).
        """
        if np.isfinite(least).all():
            rough = self.rough_scores()
            pairs = np.flatnonzero(rough > (least - self.error)[:, np.newaxis])
            if len(pairs) <= FEW * rough.size:
                yield from self._above(least, *np.divmod(pairs, rough.shape[1]))
                return
        for query, scores in enumerate(self.scores()):
            columns = np.flatnonzero(scores >= _nth_best(scores, n_best))
            columns = columns[scores[columns] > least[query]]
            yield self.queries.start + query, columns, scores[columns]

    def _above(
        self, least: Float64Array, queries: Int64Array, columns: Int64Array
    ) -> Iterator[tuple[int, Int64Array, Float64Array]]:
        """Yield the same from the only pairs that can score so high, one query after another."""
        found = self.scores_of(queries, columns)
        better = found > least[queries]
        queries, columns, found = queries[better], columns[better], found[better]
        starts = np.flatnonzero(np.diff(queries, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(queries)], strict=True):
            yield self.queries.start + int(queries[start]), columns[start:stop], found[start:stop]

    def _without_own(self, found: Float64Array) -> Float64Array:
        if self.own_columns is not None:
            inside = np.flatnonzero((self.own_columns >= 0) & (self.own_columns < found.shape[1]))
            found[inside, self.own_columns[inside]] = -np.inf
        return found


def blocks(n_rows: int, block_size: int) -> Iterator[slice]:
    """Yield slices that cover `n_rows` rows, `block_size` at a time."""
    for start in range(0, n_rows, block_size):
        yield slice(start, min(start + block_size, n_rows))


def _merge(scores: Float64Array, rows: Int32Array, found: Float64Array, found_rows: Int64Array) -> None:
    """Merge scores of a later block into one query's best, both of shape (n_best,), in place."""
    all_scores = np.concatenate([scores, found])
    all_rows = np.concatenate([rows, found_rows])
    # Ties with the worst included, in row order.
    best = np.flatnonzero(all_scores >= _nth_best(all_scores, len(scores)))
    best = best[np.argsort(-all_scores[best], kind="stable")[: len(scores)]]
    scores[:] = all_scores[best]
    rows[:] = all_rows[best]


def _nth_best(scores: Float64Array, n_best: int) -> float:
    """Return the `n_best`-th largest score, or the least if there are fewer."""
    n_best = min(n_best, len(scores))
    return float(np.partition(scores, -n_best)[-n_best])
