"""Exact search for the best items of every query, in blocks that bound memory and change nothing else."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.exact import Float64Array, dot_products, split

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

BLOCK_SIZE = 256  # queries scored at a time
ITEM_BLOCK_SIZE = 16_384  # items scored at a time; with 256 queries, about 100 MB


@dataclass(frozen=True)
class Search:
    """Queries and items as float64 rows of length about 1 (see `exact`), made one block at a time.

    Attributes
    ----------
    query_rows, item_rows : callable
        From a slice of queries or items to their vectors, shape (n_rows, n_factors), float64.
    n_queries, n_items : int
    own_rows : numpy.ndarray, shape (n_queries,), int64, optional
        The item each query must not find: itself.
    """

    query_rows: Callable[[slice], Float64Array]
    item_rows: Callable[[slice], Float64Array]
    n_queries: int
    n_items: int
    own_rows: Int64Array | None = None

    def best(self, n_best: int, block_size: int = BLOCK_SIZE) -> tuple[Float64Array, Int32Array]:
        """Return scores and rows of the items of largest dot product, ties in row order.

        Parameters
        ----------
        n_best : int
            At most the number of items a query may find.
        block_size : int
            Queries scored at a time.

        Returns
        -------
        scores : numpy.ndarray, shape (n_queries, n_best), float64
        rows : numpy.ndarray, shape (n_queries, n_best), int32
        """
        scores = np.full((self.n_queries, n_best), -np.inf)
        rows = np.full((self.n_queries, n_best), -1, dtype=np.int32)
        for item_block in blocks(self.n_items, ITEM_BLOCK_SIZE):
            items = split(self.item_rows(item_block))
            for query_block in blocks(self.n_queries, block_size):
                found = dot_products(split(self.query_rows(query_block)), items)
                self._leave_out_own(found, query_block, item_block)
                for i, query in enumerate(range(query_block.start, query_block.stop)):
                    _merge(scores[query], rows[query], found[i], item_block.start)
        return scores, rows

    def _leave_out_own(self, found: Float64Array, query_block: slice, item_block: slice) -> None:
        if self.own_rows is not None:
            columns = self.own_rows[query_block] - item_block.start
            here = np.flatnonzero((columns >= 0) & (columns < found.shape[1]))
            found[here, columns[here]] = -np.inf


def blocks(n_rows: int, block_size: int) -> Iterator[slice]:
    """Yield slices that cover `n_rows` rows, `block_size` at a time."""
    for start in range(0, n_rows, block_size):
        yield slice(start, min(start + block_size, n_rows))


def _merge(scores: Float64Array, rows: Int32Array, found: Float64Array, first_row: int) -> None:
    """Put what a later block of items found into one query's best, all of shape (n_best,), in place."""
    # An equal score further down comes after what is there: only better ones can enter.
    better = np.flatnonzero(found > scores[-1])
    all_scores = np.concatenate([scores, found[better]])
    all_rows = np.concatenate([rows, better + first_row])
    worst = np.partition(all_scores, -len(scores))[-len(scores)]
    kept = np.flatnonzero(all_scores >= worst)  # with all that equal the worst, in row order
    kept = kept[np.argsort(-all_scores[kept], kind="stable")[: len(scores)]]
    scores[:] = all_scores[kept]
    rows[:] = all_rows[kept]
