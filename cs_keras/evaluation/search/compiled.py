"""Inner loops of search and permutation tests, compiled by Numba; they run outside the interpreter's lock."""

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

T = TypeVar("T")

N_BINS = 2048  # of a histogram of scores
SMALLEST_WIDTH = np.float32(1e-30)  # of a bin: to divide by
TOLERANCE = 1e-9  # of a score: ties are flagged within it
NOT_LISTED = 2**31 - 1  # rank of an item that a list does not hold

Floats = npt.NDArray[np.float64]
Factors = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Listed = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.integer[Any]]
UintArray = npt.NDArray[np.uint32]  # looked up without a test for negative numbers


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
def mark_ties(scores: Floats, ties: Flags) -> None:
    """Write whether each score equals the next within 1e-9 of it. Scores descend; -inf or none ties with none."""
    for i in range(len(ties)):
        ties[i] = False
        if i + 1 < len(scores) and scores[i + 1] > -np.inf:
            largest = max(abs(scores[i]), abs(scores[i + 1]))
            ties[i] = scores[i] - scores[i + 1] <= TOLERANCE * largest


@_compiled()
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


@_compiled()
def scale_scores(scores: Factors, factors: Factors, offsets: Factors) -> None:
    """Scale scores, (n_queries, n_items), and subtract offsets, in place."""
    for query in range(len(scores)):
        for j in range(scores.shape[1]):
            scores[query, j] = scores[query, j] * factors[j] - offsets[j]


@_compiled()
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


@_compiled()
def list_flagged(is_flagged: Flags, starts: Ints, rows: Ints) -> None:
    """Write the columns of the flags of each row, from its start on."""
    for query in range(len(is_flagged)):
        at = starts[query]
        for j in range(is_flagged.shape[1]):
            if is_flagged[query, j]:
                rows[at] = j
                at += 1


@_compiled()
def sort_lists(starts: Ints, rows: Ints, scores: Floats, best: Listed, ties: Flags) -> None:
    """Write the best items of each query, (n_queries, k), and their ties: equal scores in the order of `rows`."""
    k = best.shape[1]
    for query in range(len(best)):
        own = scores[starts[query] : starts[query + 1]]
        order = np.argsort(-own, kind="mergesort")[: k + 1]
        for i in range(k):
            best[query, i] = rows[starts[query] + order[i]]
        mark_ties(own[order], ties[query])


@_compiled()
def mark_near(rough: Factors, starts: Ints, own_scores: Floats, error: float, is_near: Flags) -> None:
    """Flag the items whose rough scores are too close to any held-out one's to compare, (n_queries, n_items)."""
    for query in range(len(rough)):
        is_near[query] = False
        for own in own_scores[starts[query] : starts[query + 1]]:
            low, high = np.float32(own - error), np.float32(own + error)
            for j in range(rough.shape[1]):
                is_near[query, j] |= (rough[query, j] >= low) & (rough[query, j] <= high)


@_compiled()
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


@_compiled()
def count_shared_permuted(
    lists: UintArray,
    others: UintArray,
    queries: Ints,
    n_levels: Ints,
    artists: tuple[Ints, Ints, Ints],
    assigned: UintArray,
    ks: Ints,
    counts: Ints,
) -> None:
    """Add the items that lists share with those of permuted predictions to `counts`, (n_permutations, n_ks).

    `lists` and the predicted `others`, (n_queries, n), are of the tracks `queries`; `n_levels`, (n_queries,), are
    the numbers of `ks`, which ascend, that each has enough candidates for. `assigned`, (n_permutations, n_items),
    is the track whose prediction a track gets. `artists` are each track's artist, from -1, and the start of each
    artist in the tracks by artist: those of a query's artist are no candidates, and not in `lists`.
    """
    artist_of, starts, by_artist = artists
    n_permutations, n_items = assigned.shape
    row_of = np.empty(n_items, np.uint32)
    for i in range(len(queries)):
        row_of[queries[i]] = i
    query_of = np.empty(
        (n_permutations, len(queries)), np.uint32
    )  # that gets each row of the predicted lists
    for permutation in range(n_permutations):
        for i in range(len(queries)):
            query_of[permutation, row_of[assigned[permutation, queries[i]]]] = i
    ranks = np.full(n_items, NOT_LISTED, np.int32)
    listed_ranks = np.empty(lists.shape[1], np.int32)
    own_ranks = np.empty(others.shape[1], np.int32)
    for row in range(len(others)):
        for rank in range(others.shape[1]):
            ranks[others[row, rank]] = rank
        for permutation in range(n_permutations):
            query, items = query_of[permutation, row], assigned[permutation]
            if n_levels[query] == 0:
                continue
            # A predicted list of k candidates ends later by the number of tracks of the query's own artist in it.
            n_own, artist = 0, artist_of[queries[query]]
            if artist >= 0:
                for track in by_artist[starts[artist] : starts[artist + 1]]:
                    rank = ranks[items[track]]
                    if rank != NOT_LISTED:
                        before = n_own
                        while before > 0 and own_ranks[before - 1] > rank:
                            own_ranks[before] = own_ranks[before - 1]
                            before -= 1
                        own_ranks[before] = rank
                        n_own += 1
            listed = lists[query]
            for at in range(ks[n_levels[query] - 1]):
                listed_ranks[at] = ranks[items[listed[at]]]
            for level in range(n_levels[query]):
                cut = np.int32(ks[level])
                for at in range(n_own):
                    cut += np.int32(own_ranks[at] < cut)
                n_shared = np.int32(0)
                for at in range(ks[level]):
                    n_shared += np.int32(listed_ranks[at] < cut)
                counts[permutation, level] += n_shared
        for item in others[row]:
            ranks[item] = NOT_LISTED


@_compiled()
def count_pairs_permuted(
    tracks: IntArray,
    starts: IntArray,
    playlists: IntArray,
    others: UintArray,
    assigned: UintArray,
    counts: Ints,
) -> None:
    """Add the items that lists of playlists share with those of permuted predictions to (n_permutations,) counts.

    For each of some tracks it counts the playlists that list it and another track in their predicted list,
    `others`, (n_queries, k), then looks up the track it gets under each permutation. The playlists that list a
    track begin at its entry of `starts`. `assigned`, (n_items, n_permutations), are the tracks whose predictions a
    track gets.
    """
    row = np.zeros(len(assigned), np.int64)
    for track in tracks:
        own = playlists[starts[track] : starts[track + 1]]
        for playlist in own:
            for other in others[playlist]:
                row[other] += 1
        for permutation in range(assigned.shape[1]):
            counts[permutation] += row[assigned[track, permutation]]
        for playlist in own:
            for other in others[playlist]:
                row[other] = 0


@_compiled()
def count_without_clusters(
    reference: IntArray, predicted: IntArray, k: int, clusters: Ints, rows: Ints, counts: Ints
) -> None:
    """Add the items that lists of length k share to `counts`, as they are and without each cluster of items.

    Lists, (n_queries, n), go on beyond k. Items from `len(clusters)` on are padding, which is never shared. Counts
    have shape (n_rows, 1 + n_clusters), and `rows` are those of the queries: column 0 for the shared items, column
    1 + a for what changes if cluster a is deleted and both lists are refilled.
    """
    n_queries, length = reference.shape
    n_items, n_clusters = len(clusters), counts.shape[1] - 1
    lists = (reference, predicted)
    ranks = np.full((2, n_items), NOT_LISTED, np.int64)
    ends = np.empty((2, n_clusters), np.int64)  # where the first k of others than a cluster end
    n_before = np.empty(n_clusters, np.int64)
    for query in range(n_queries):
        row = counts[rows[query]]
        ends[:] = k
        for side in range(2):
            n_before[:] = 0
            for rank in range(length):
                item = lists[side][query, rank]
                if item < n_items:
                    ranks[side, item] = rank
                    cluster = clusters[item]
                    ends[side, cluster] += rank - n_before[cluster] < k
                    n_before[cluster] += 1
        for rank in range(k):
            item = reference[query, rank]
            if item < n_items and ranks[1, item] < k:
                row[0] += 1
                row[1 + clusters[item]] -= 1
        for cluster in range(n_clusters):
            # Items that move up into one list, or into both: these count with the first.
            for side in range(2):
                least = ends[1, cluster] if side == 0 else k
                for rank in range(k, min(ends[side, cluster], length)):
                    item = lists[side][query, rank]
                    if item < n_items and clusters[item] != cluster:
                        row[1 + cluster] += ranks[1 - side, item] < least
        for side in range(2):
            for item in lists[side][query]:
                if item < n_items:
                    ranks[side, item] = NOT_LISTED
