"""What lists share or gain, of permuted predictions and without some items: loops compiled by Numba."""

from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.checks import Float64Array
from cs_keras.evaluation.search.compiled import compiled
from cs_keras.evaluation.search.search import Int64Array

NOT_LISTED = 2**31 - 1  # rank of an item that a list does not hold

IntArray = npt.NDArray[np.integer[Any]]
UintArray = npt.NDArray[np.uint32]  # looked up without a test for negative numbers


@compiled()
def count_shared_permuted(
    lists: UintArray,
    others: UintArray,
    queries: Int64Array,
    n_levels: Int64Array,
    artists: tuple[Int64Array, Int64Array, Int64Array],
    assigned: UintArray,
    ks: Int64Array,
    counts: Int64Array,
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


@compiled()
def count_pairs_permuted(
    tracks: IntArray,
    starts: IntArray,
    playlists: IntArray,
    others: UintArray,
    assigned: UintArray,
    counts: Int64Array,
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


@compiled()
def count_without_clusters(
    reference: IntArray,
    predicted: IntArray,
    k: int,
    clusters: Int64Array,
    rows: Int64Array,
    counts: Int64Array,
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


@compiled()
def sum_gains_without_clusters(
    lists: IntArray,
    clusters: Int64Array,
    starts: Int64Array,
    relevant: Int64Array,
    gains: Float64Array,
    ideal: Float64Array,
    rows: Int64Array,
    sums: Float64Array,
    n_lists: Int64Array,
) -> None:
    """Add what lists gain by their relevant items to `sums`, as they are and without each cluster of items.

    Lists, (n_queries, n), go on beyond the first k, which gain `gains`, (k,). The items that are relevant to a
    query begin at its entry of `starts`; what a list with h of them gains is divided by `ideal[h]`. Sums have shape
    (n_rows, 1 + n_clusters), and `rows` are those of the queries: column 0 for lists as they are, column 1 + a for
    what changes if cluster a is deleted and the list is refilled. `n_lists`, (n_clusters,), is reduced by the lists
    to which nothing is relevant then.
    """
    k, n_clusters = len(gains), len(n_lists)
    is_relevant = np.zeros(len(clusters), np.bool_)
    n_relevant, n_before = np.zeros(n_clusters, np.int64), np.empty(n_clusters, np.int64)
    gained = np.empty(n_clusters)  # without each cluster
    for query in range(len(lists)):
        own, row = relevant[starts[query] : starts[query + 1]], sums[rows[query]]
        for item in own:
            is_relevant[item] = True
            n_relevant[clusters[item]] += 1
        value = 0.0
        gained[:] = 0
        n_before[:] = 0
        for rank in range(lists.shape[1]):
            item = lists[query, rank]
            if is_relevant[item]:
                if rank < k:
                    value += gains[rank]
                for cluster in range(n_clusters):
                    moved = rank - n_before[cluster]
                    if moved < k and clusters[item] != cluster:
                        gained[cluster] += gains[moved]
            n_before[clusters[item]] += 1
        value /= ideal[len(own)]
        row[0] += value
        for cluster in range(n_clusters):
            n_left = len(own) - n_relevant[cluster]
            if n_left > 0:
                row[1 + cluster] += gained[cluster] / ideal[n_left] - value
            else:
                row[1 + cluster] -= value
                n_lists[cluster] -= 1
        for item in own:
            is_relevant[item] = False
            n_relevant[clusters[item]] = 0
