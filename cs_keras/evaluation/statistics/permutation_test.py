"""Permutation tests of an overlap: the overlap if predictions were assigned to other tracks."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.checks import check_count, check_ks
from cs_keras.evaluation.search.compiled import for_each
from cs_keras.evaluation.search.search import Int64Array, blocks
from cs_keras.evaluation.search.topk import TopK, check_artists, filtered_length, remove_own_artists
from cs_keras.evaluation.statistics.counts import count_pairs_permuted, count_shared_permuted

PERMUTED_ENTRIES = 2**24  # assigned tracks held at a time: 134 MB
DENSE_SHARE = 0.2  # of the tracks in a list: from here on a matrix product counts pairs faster
DENSE_TRACKS = 1_500  # and up to here
MAX_LOOKUPS = 2**19  # of a permutation, in lists of tracks: longer lists are tested on fewer, random queries
MAX_PAIRS = 2**30  # of listed and predicted tracks, in lists of playlists: the same
MAX_TESTED_TRACKS = 100_000  # with more, only the shortest lists are tested
TRACKS_PER_THREAD = 64  # at a time
PERMUTATIONS_PER_THREAD = 16
MAX_ARRANGEMENTS = 1e300  # reported: their number may be larger than a float can be

Groups = list[Int64Array]
Within = Literal["tracks", "artists"]
Items = npt.NDArray[np.uint32]  # (n_permutations, n_items): the track whose row is assigned to each track


@dataclass(frozen=True)
class PermutationTest:
    """Observed mean overlap compared with its null distribution.

    Attributes
    ----------
    p_value : float
        (1 + number of permutations that reach the observed overlap) / (1 + number of permutations).
    null_mean, null_sd : float
        Mean and standard deviation of the mean overlap under the permutations.
    n_arrangements : float
        Number of different permutations that could be drawn, 1e300 at most. No p-value can be expected to be below
        its reciprocal.
    """

    p_value: float
    null_mean: float
    null_sd: float
    n_arrangements: float


def permutation_test(
    reference_lists: TopK,
    predicted_lists: TopK,
    ks: tuple[int, ...],
    *,
    n_permutations: int = 999,
    seed: int = 0,
    artists: npt.ArrayLike | None = None,
    filtered: bool = False,
    within: tuple[Within, ...] = ("tracks",),
) -> dict[Within, list[PermutationTest]]:
    """Test the overlap against predictions assigned to other tracks.

    The null hypothesis: which predicted row belongs to which track does not matter. With row pi(t) assigned to
    track t, lists need no new search. By dot product the list of a playlist becomes pi^-1 of what it was; by
    similarity the list of track q becomes pi^-1 of the list of track pi(q), from which, in artist-filtered lists,
    the tracks of q's artist are removed. If only some tracks are queries, pi permutes their rows among themselves
    and the other rows among the others: a subgroup of all permutations that needs only the lists at hand, so the
    p-value holds.

    Within "tracks", pi is any such permutation: the test of any information. Within "artists", the null hypothesis
    is weaker: which artist a group of rows belongs to does not matter, nor which row of the group belongs to which
    track of the artist. pi then exchanges artists that have as many tracks (as queries, and besides), and shuffles
    the tracks of each: the test of information beyond recognising the artist. Artists whose number of tracks no
    other has are only shuffled. Tracks of unknown artist keep their rows, since any two of them may be by one
    artist. Both make the test conservative.

    Parameters
    ----------
    reference_lists, predicted_lists : TopK
        Lists of the same queries, items and metric, not filtered; of `filtered_length` if they are to be.
    ks : tuple of int
        Lengths to test, each at most that of the lists; the same permutations serve all. Where more than 2**19
        entries (of playlists, 2**30 pairs of entries) would be compared under each permutation, both the observed
        and the permuted overlaps are of a random part of the queries.
    n_permutations : int
        The smallest p-value is 1 / (1 + n_permutations).
    seed : int
    artists : array_like, shape (n_items,), int, optional
        Artist of each track; -1 is unknown.
    filtered : bool
        Whether to test the overlap of artist-filtered lists, as `filter_artists` makes them.
    within : tuple of {"tracks", "artists"}
        Tests to do.

    Returns
    -------
    dict of list of PermutationTest
        For each of `within` one for each of `ks`.

    Raises
    ------
    DataError
        Lists have different queries, items or metric, or are shorter than a k; artists are needed and not given, or
        not one whole number from -1 a track; or no query is left for a k.
    ConfigError
        `ks` or `n_permutations` are not positive whole numbers, or `within` is unknown.
    """
    check_comparable(reference_lists, predicted_lists)
    n_permutations = check_count("n_permutations", n_permutations)
    if not within or not set(within) <= {"tracks", "artists"}:
        raise ConfigError(f"unknown test: expected within 'tracks' or 'artists'. Received: {within!r}.")
    for lists in (reference_lists, predicted_lists):
        lists.prefix(max(check_ks(ks)))
    own = None
    if artists is not None:
        own = check_artists(artists, reference_lists)
    elif filtered or "artists" in within:
        raise DataError("the test needs artists: expected one for each track. Received: none.")
    if (
        own is not None
        and filtered
        and min(reference_lists.k, predicted_lists.k) < (least := filtered_length(max(ks), own))
    ):
        raise DataError(
            f"the lists are too short to be filtered: expected {least} entries. "
            f"Received: {reference_lists.k} and {predicted_lists.k}."
        )
    n_candidates = _count_candidates(reference_lists, own if filtered else None)
    levels = np.unique(ks)
    n_candidates = _limit(n_candidates, reference_lists, levels, seed)
    totals = levels * [np.count_nonzero(n_candidates >= k) for k in levels]
    if not totals.all():
        raise DataError(
            f"no query has enough candidates: expected {levels[totals == 0][0]} for one at least. "
            f"Received: at most {n_candidates.max(initial=0)}."
        )
    strata, numbers = zip(
        *(_exchangeable(reference_lists, own if each == "artists" else None) for each in within), strict=True
    )
    n_items = reference_lists.n_items
    permutations = chain.from_iterable(_draw(each, n_items, n_permutations, seed) for each in strata)
    if reference_lists.metric == "dot":
        counts = _count_for_playlists(reference_lists, predicted_lists, levels, permutations, n_candidates)
    else:
        counts = _count_for_tracks(
            reference_lists, predicted_lists, levels, permutations, own if filtered else None, n_candidates
        )
    results: dict[Within, list[PermutationTest]] = {}
    for each, number, own_counts in zip(within, numbers, np.split(counts, len(within)), strict=True):
        tests = {
            k: PermutationTest(
                float((1 + np.count_nonzero(column[1:] >= column[0])) / (1 + n_permutations)),
                float(np.mean(column[1:] / total)),
                float(np.std(column[1:] / total)),
                number,
            )
            for k, column, total in zip(levels.tolist(), own_counts.T, totals, strict=True)
        }
        results[each] = [tests[k] for k in ks]
    return results


def tested_lengths(ks: tuple[int, ...], n_items: int) -> tuple[int, ...]:
    """Return the list lengths worth a permutation test: all, but above 100,000 tracks only the least."""
    return ks if n_items <= MAX_TESTED_TRACKS else (min(ks),)


def check_comparable(reference_lists: TopK, predicted_lists: TopK) -> None:
    """Raise `DataError` unless both hold lists of the same queries, items and metric."""
    for name in ("metric", "n_items"):
        if getattr(reference_lists, name) != getattr(predicted_lists, name):
            raise DataError(
                f"the lists cannot be compared: expected the same {name}. "
                f"Received: {getattr(reference_lists, name)} and {getattr(predicted_lists, name)}."
            )
    if not np.array_equal(reference_lists.queries, predicted_lists.queries):
        raise DataError(
            "the lists cannot be compared: expected the same queries. "
            f"Received: {len(reference_lists.queries)} and {len(predicted_lists.queries)} that are not the same."
        )


def _exchangeable(lists: TopK, artists: Int64Array | None) -> tuple[list[Groups], float]:
    """Return strata of arrays of tracks, and the number of permutations that they allow.

    An array, shape (n_groups, n_tracks), holds tracks of one stratum, a group a row; the arrays of a stratum belong
    together row by row. A permutation exchanges the groups of a stratum, and shuffles the tracks in each row.
    Without artists, all queries are one group, and all other tracks another.
    """
    is_query = np.ones(lists.n_items, dtype=bool)
    if lists.metric != "dot":
        is_query[:] = False
        is_query[lists.queries] = True
    if artists is None:
        strata = [[np.flatnonzero(kind)[np.newaxis]] for kind in (is_query, ~is_query)]
    else:
        by_size: dict[tuple[int, int], list[tuple[Int64Array, Int64Array]]] = {}
        order = np.argsort(artists, kind="stable")
        order = order[artists[order] >= 0]
        for tracks in np.split(order, np.flatnonzero(np.diff(artists[order])) + 1):
            kinds = tracks[is_query[tracks]], tracks[~is_query[tracks]]
            by_size.setdefault((len(kinds[0]), len(kinds[1])), []).append(kinds)
        strata = [[np.array(kind) for kind in zip(*groups, strict=True)] for groups in by_size.values()]
    log_number = sum(
        math.lgamma(len(arrays[0]) + 1)
        + sum(len(array) * math.lgamma(array.shape[1] + 1) for array in arrays)
        for arrays in strata
    )
    number = math.exp(min(log_number, math.log(MAX_ARRANGEMENTS)))
    return strata, float(round(number)) if number < 2**40 else number


def _draw(strata: list[Groups], n_items: int, n_permutations: int, seed: int) -> Iterator[Items]:
    """Yield the identity and then random permutations, some at a time: uint32, shape (n, n_items).

    Entry t of a row is the track whose predicted row is assigned to track t.
    """
    random = np.random.default_rng(seed)
    for batch in blocks(1 + n_permutations, max(1, PERMUTED_ENTRIES // n_items)):
        drawn = np.tile(np.arange(n_items, dtype=np.uint32), (batch.stop - batch.start, 1))
        for items in drawn[int(batch.start == 0) :]:
            for arrays in strata:
                exchanged = random.permutation(len(arrays[0])) if len(arrays[0]) > 1 else slice(None)
                for tracks in arrays:
                    items[tracks] = random.permuted(tracks[exchanged], axis=1)
        yield drawn


def _count_candidates(lists: TopK, artists: Int64Array | None) -> Int64Array:
    """Return the number of candidates of each query, 0 for a filtered one of unknown artist."""
    if artists is None:
        return lists.candidate_counts
    of_queries = artists[lists.queries]
    own = np.bincount(artists[artists >= 0], minlength=of_queries.max(initial=0) + 1)[of_queries]
    return np.where(of_queries >= 0, lists.n_items - own, 0)


def _limit(n_candidates: Int64Array, lists: TopK, ks: Int64Array, seed: int) -> Int64Array:
    """Reduce the candidates of queries below each k for which the test is to leave them out: see `MAX_LOOKUPS`."""
    allowed, random = n_candidates.copy(), np.random.default_rng(seed)
    for k in ks.tolist():
        queries = np.flatnonzero(allowed >= k)
        most = MAX_PAIRS // k**2 if lists.metric == "dot" else MAX_LOOKUPS // k
        if len(queries) > most and not (lists.metric == "dot" and _is_dense(lists, k)):
            left_out = random.permutation(queries)[max(most, 1) :]
            allowed[left_out] = k - 1
    return allowed


def _is_dense(lists: TopK, k: int) -> bool:
    return k > DENSE_SHARE * lists.n_items and lists.n_items <= DENSE_TRACKS


def _count_for_playlists(
    reference: TopK, predicted: TopK, ks: Int64Array, permutations: Iterator[Items], n_candidates: Int64Array
) -> Int64Array:
    """Count the items shared under each permutation: shape (n_permutations, len(ks)), int64."""
    counters = []
    for k in ks.tolist():
        rows = np.flatnonzero(n_candidates >= k)
        lists, others = (each.indices[rows, :k].astype(np.uint32) for each in (reference, predicted))
        counters.append(
            (_dense_counter if _is_dense(reference, k) else _sparse_counter)(lists, others, reference.n_items)
        )
    return np.concatenate([np.stack([count(items) for count in counters], axis=1) for items in permutations])


def _sparse_counter(lists: Items, others: Items, n_items: int) -> Callable[[Items], Int64Array]:
    """Return a function from permutations to the number of items that the lists share, all of length k."""
    n_lists, k = lists.shape
    ones = np.ones(lists.size, np.int8)
    by_track = scipy.sparse.csr_matrix(
        (ones, lists.ravel(), np.arange(n_lists + 1) * k), (n_lists, n_items)
    ).tocsc()
    tracks = np.flatnonzero(np.diff(by_track.indptr))
    parts = [tracks[part] for part in blocks(len(tracks), TRACKS_PER_THREAD)]

    def count(assigned: Items) -> Int64Array:
        of_parts, columns = np.zeros((len(parts), len(assigned)), np.int64), np.ascontiguousarray(assigned.T)
        for_each(
            lambda i: count_pairs_permuted(
                parts[i], by_track.indptr, by_track.indices, others, columns, of_parts[i]
            ),
            range(len(parts)),
        )
        return np.asarray(of_parts.sum(axis=0))

    return count


def _dense_counter(lists: Items, others: Items, n_items: int) -> Callable[[Items], Int64Array]:
    """Return the same function, from the matrix of playlists with one track in their list, another in the other."""
    pairs = np.zeros((n_items, n_items))
    for block in blocks(len(lists), max(1, PERMUTED_ENTRIES // 8 // n_items)):
        held = np.zeros((2, block.stop - block.start, n_items), np.float32)
        for rows, listed in zip(held, (lists, others), strict=True):
            np.put_along_axis(rows, listed[block].astype(np.int64), 1, axis=1)
        pairs += held[0].T @ held[1]  # whole numbers below 2**24, exact in float32
    return lambda assigned: np.array(
        [pairs[np.arange(n_items), items].sum() for items in assigned], dtype=np.int64
    )


def _count_for_tracks(
    reference: TopK,
    predicted: TopK,
    ks: Int64Array,
    permutations: Iterator[Items],
    artists: Int64Array | None,
    n_candidates: Int64Array,
) -> Int64Array:
    """Do the same for lists of tracks, which are compared with the predicted lists of other tracks."""
    listed, found, own = reference.indices, predicted.indices, np.full(reference.n_items, -1)
    if artists is None:
        found = found[:, : ks.max()]
    else:
        listed, own = remove_own_artists(listed, artists, reference.queries), artists
    lists, others = listed[:, : ks.max()].astype(np.uint32), found.astype(np.uint32)
    starts = np.concatenate(([0], np.cumsum(np.bincount(own[own >= 0], minlength=1))))
    by_artist = own, starts, np.argsort(own, kind="stable")[np.count_nonzero(own < 0) :]
    n_levels = np.searchsorted(ks, n_candidates, side="right")
    counts = []
    for drawn in permutations:
        shared = np.zeros((len(drawn), len(ks)), np.int64)

        def count(part: slice, drawn: Items = drawn, shared: Int64Array = shared) -> None:
            assigned, own_shared = drawn[part], shared[part]
            count_shared_permuted(
                lists, others, reference.queries, n_levels, by_artist, assigned, ks, own_shared
            )

        for_each(count, blocks(len(drawn), PERMUTATIONS_PER_THREAD))
        counts.append(shared)
    return np.concatenate(counts)
