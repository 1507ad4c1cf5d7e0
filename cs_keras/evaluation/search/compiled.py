"""Inner loops of search and permutation tests, compiled by Numba; they run outside the interpreter's lock."""

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

T = TypeVar("T")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
IntArray = npt.NDArray[np.integer[Any]]


# Sums may be vectorised, in an order that depends on their length alone: the loop of each is in one place only.
_compiled = functools.partial(
    numba.njit, nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"}
)


def for_each(function: Callable[[T], object], parts: Iterable[T]) -> None:
    """Call a function for every part, on as many threads as there are processors for this process."""
    with ThreadPoolExecutor(numba.get_num_threads()) as threads:
        for _ in threads.map(function, parts):
            pass


@_compiled()
def dot_products(
    query: npt.NDArray[np.float32], items: npt.NDArray[np.float32], rows: Ints, out: Floats
) -> None:
    """Write the dot products of a query, (n_factors,), with rows of items, (n_rows,), summed in float64."""
    for i in range(len(rows)):
        total = np.float64(0)
        row = rows[i]
        for j in range(len(query)):
            total += np.float64(query[j]) * np.float64(items[row, j])
        out[i] = total


@_compiled()
def sort_lists(scores: Floats, rows: Ints) -> None:
    """Sort nearly sorted lists in place: larger scores first, equal ones in row order. Shapes (n_queries, n)."""
    for query in range(len(rows)):
        for i in range(1, rows.shape[1]):
            score, row = scores[query, i], rows[query, i]
            j = i - 1
            while j >= 0 and (
                scores[query, j] < score or (scores[query, j] == score and rows[query, j] > row)
            ):
                scores[query, j + 1], rows[query, j + 1] = scores[query, j], rows[query, j]
                j -= 1
            scores[query, j + 1], rows[query, j + 1] = score, row


@_compiled()
def compare_scores(scores: Floats, columns: Ints, own_scores: Floats, counts: Ints) -> None:
    """Count the scores above and equal to each own one, and equal at an earlier column: adds to (3, n_held_out)."""
    for i in range(len(columns)):
        above = equal = earlier = 0
        for j in range(len(scores)):
            above += scores[j] > own_scores[i]
            equal += scores[j] == own_scores[i]
        if equal:
            for j in range(min(max(columns[i], 0), len(scores))):
                earlier += scores[j] == own_scores[i]
        counts[0, i] += above
        counts[1, i] += equal
        counts[2, i] += earlier
