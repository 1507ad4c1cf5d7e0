"""Inner loops of search and permutation tests, compiled by Numba; they run outside the interpreter's lock."""

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

T = TypeVar("T")

NOT_LISTED = 2**31 - 1  # rank of an item that a list does not hold

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
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
