"""Inner loops of search, compiled by Numba; they run outside the interpreter's lock."""

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numba
import numpy as np
import numpy.typing as npt

T = TypeVar("T")

N_BINS = 2048  # of a histogram of scores
SMALLEST_WIDTH = np.float32(1e-30)  # of a bin: to divide by
TOLERANCE = 1e-9  # of a score: ties are flagged within it

Floats = npt.NDArray[np.float64]
Factors = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Listed = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


# Sums may be vectorised, in an order that depends on their length alone: the loop of each is in one place only.
compiled = functools.partial(
    numba.njit, nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"}
)


def for_each(function: Callable[[T], object], parts: Iterable[T]) -> None:
    """Call a function for every part, on as many threads as there are processors for this process."""
    with ThreadPoolExecutor(numba.get_num_threads()) as threads:
        for _ in threads.map(function, parts):
            pass


@compiled()
def mark_ties(scores: Floats, ties: Flags) -> None:
    """Write whether each score equals the next within 1e-9 of it. Scores descend; -inf or none ties with none."""
    for i in range(len(ties)):
        ties[i] = False
        if i + 1 < len(scores) and scores[i + 1] > -np.inf:
            largest = max(abs(scores[i]), abs(scores[i + 1]))
            ties[i] = scores[i] - scores[i + 1] <= TOLERANCE * largest


@compiled()
def score_rows(
    queries: Factors,
    items: Factors,
    query_scale: Floats,
    item_scale: Floats,
    offsets: Floats,
    own_rows: Ints,
    starts: Ints,
    rows: Ints,
    out: Floats,
) -> None:
    """Write the scores of queries with some items each, as `Search.score` returns them."""
    for query in range(len(queries)):
        own = queries[query]
        for i in range(starts[query], starts[query + 1]):
            row, total = np.uint64(rows[i]), np.float64(0)
            for j in range(len(own)):
                total += np.float64(own[j]) * np.float64(items[row, j])
            out[i] = total / query_scale[query] / item_scale[row] - offsets[row]
            if rows[i] == own_rows[query]:
                out[i] = -np.inf


@compiled()
def measure_rows(
    rows: Factors,
    scale: Floats,
    n_rows: int,
    centre: Floats,
    products: Floats,
    means: Floats,
    squares: Floats,
) -> None:
    """Write the mean and the mean square deviation of cosines of some rows with all others of `n_rows`.

    `centre` is the mean of all rows divided by their scale, `products` the sum of the outer products of deviations
    from it, symmetric. Equal rows have equal results.
    """
    n_factors = rows.shape[1]
    unit = np.empty(n_factors)
    for row in range(len(rows)):
        length, mean, total = np.float64(0), np.float64(0), np.float64(0)
        for j in range(n_factors):
            unit[j] = rows[row, j] / scale[row]
            length += unit[j] * unit[j]
            mean += unit[j] * centre[j]
        for i in range(n_factors):
            product = np.float64(0)
            for j in range(n_factors):
                product += products[i, j] * unit[j]
            total += product * unit[i]
        own = length - mean  # deviation of the cosine with itself, to leave out
        n_others = n_rows - 1
        means[row] = mean - own / n_others
        squares[row] = (total - own * own) / n_others - (own / n_others) ** 2


@compiled()
def scale_scores(scores: Factors, factors: Factors, offsets: Factors) -> None:
    """Scale scores, (n_queries, n_items), and subtract offsets, in place."""
    for query in range(len(scores)):
        for j in range(scores.shape[1]):
            scores[query, j] = scores[query, j] * factors[j] - offsets[j]


@compiled()
def find_thresholds(scores: Factors, n: int, thresholds: Factors) -> None:
    """Write a number that at least n scores of each row reach, and few more: their n-th largest, rounded down."""
    counts = np.empty(N_BINS + 1, np.int32)
    for query in range(len(scores)):
        own = scores[query]
        least = most = own[0]
        for j in range(len(own)):
            least, most = min(least, own[j]), max(most, own[j])
        thresholds[query] = least
        width = (most - least) / np.float32(N_BINS)
        if width < SMALLEST_WIDTH:
            continue
        counts[:] = 0
        scale = 1 / width
        for j in range(len(own)):
            counts[np.uint32((own[j] - least) * scale)] += 1
        at, n_above = N_BINS, counts[N_BINS]
        while n_above < n:
            at -= 1
            n_above += counts[at]
        thresholds[query] += np.float32(at - 1) * width  # a bin lower, for rounding


@compiled()
def list_flagged(is_flagged: Flags, starts: Ints, rows: Ints) -> None:
    """Write the columns of the flags of each row, from its start on."""
    for query in range(len(is_flagged)):
        at = starts[query]
        for j in range(is_flagged.shape[1]):
            if is_flagged[query, j]:
                rows[at] = j
                at += 1


@compiled()
def sort_lists(starts: Ints, rows: Ints, scores: Floats, best: Listed, ties: Flags) -> None:
    """Write the best items of each query, (n_queries, k), and their ties: equal scores in the order of `rows`."""
    k = best.shape[1]
    for query in range(len(best)):
        own = scores[starts[query] : starts[query + 1]]
        order = np.argsort(-own, kind="mergesort")[: k + 1]
        for i in range(k):
            best[query, i] = rows[starts[query] + order[i]]
        mark_ties(own[order], ties[query])


@compiled()
def mark_near(rough: Factors, starts: Ints, own_scores: Floats, error: float, is_near: Flags) -> None:
    """Flag the items whose rough scores are too close to any held-out one's to compare, (n_queries, n_items)."""
    for query in range(len(rough)):
        is_near[query] = False
        for own in own_scores[starts[query] : starts[query + 1]]:
            low, high = np.float32(own - error), np.float32(own + error)
            for j in range(rough.shape[1]):
                is_near[query, j] |= (rough[query, j] >= low) & (rough[query, j] <= high)


@compiled()
def compare_scores(
    rough: Factors,
    near: tuple[Ints, Ints, Floats],
    starts: Ints,
    columns: Ints,
    own_scores: Floats,
    counts: Ints,
) -> None:
    """Count the scores above and equal to each held-out one, and equal at an earlier item: (3, n_held_out).

    `near` are the start of each query's items that must be compared by score, their rows and scores; all others are
    compared by rough scores, which are -inf for those.
    """
    near_starts, rows, scores = near
    for query in range(len(rough)):
        for i in range(starts[query], starts[query + 1]):
            own, n_above = np.float32(own_scores[i]), np.int32(0)
            for j in range(rough.shape[1]):
                n_above += np.int32(rough[query, j] > own)
            above, equal, earlier = np.int64(n_above), 0, 0
            for j in range(near_starts[query], near_starts[query + 1]):
                above += scores[j] > own_scores[i]
                equal += scores[j] == own_scores[i]
                earlier += scores[j] == own_scores[i] and rows[j] < columns[i]
            counts[0, i], counts[1, i], counts[2, i] = above, equal, earlier
