"""Permutation test of an overlap: the overlap if predictions were assigned to random tracks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import check_count, check_ks
from cs_keras.evaluation.search.intersection import count_shared
from cs_keras.evaluation.search.search import Int32Array, Int64Array, blocks
from cs_keras.evaluation.search.topk import TopK

BATCH_PERMUTATIONS = 64  # at a time at most: the entries of one list then stay in the processor's cache
PERMUTED_ENTRIES = 2**24  # permuted rows held at a time: 67 MB
LISTED_ENTRIES = 2**19  # entries of the lookup table of predicted lists, one byte each
LEAST_QUERIES = 16  # queries in that table, however many items there are

Permutation = tuple[Int32Array, Int64Array]


@dataclass(frozen=True)
class PermutationTest:
    """Observed mean overlap compared with its null distribution.

    Attributes
    ----------
    p_value : float
        (1 + number of permutations that reach the observed overlap) / (1 + number of permutations).
    null_mean, null_sd : float
        Mean and standard deviation of the mean overlap under the permutations.
    """

    p_value: float
    null_mean: float
    null_sd: float


def permutation_test(
    reference_lists: TopK,
    predicted_lists: TopK,
    ks: tuple[int, ...],
    *,
    n_permutations: int = 999,
    seed: int = 0,
) -> list[PermutationTest]:
    """Test the overlap against predictions assigned to random tracks.

    The null hypothesis: which predicted row belongs to which track does not matter. With row pi(t) assigned to
    track t, lists need no new search. By dot product the list of a playlist becomes pi^-1 of what it was; by
    similarity the list of track q becomes pi^-1 of the list of track pi(q). So t is shared when pi(t) is in the
    predicted list of the playlist, or of pi(q). If only some tracks are queries, pi permutes their rows among
    themselves and the other rows among the others: a subgroup of all permutations that needs only the lists at
    hand, so the p-value holds.

    Parameters
    ----------
    reference_lists, predicted_lists : TopK
        Lists of the same queries, items and metric.
    ks : tuple of int
        Lengths to test, each at most that of the lists; the same permutations serve all.
    n_permutations : int
        The smallest p-value is 1 / (1 + n_permutations).
    seed : int

    Returns
    -------
    list of PermutationTest
        One for each of `ks`.

    Raises
    ------
    DataError
        Lists have different queries, items or metric, or are shorter than a k.
    ConfigError
        `ks` or `n_permutations` are not positive whole numbers.
    """
    check_comparable(reference_lists, predicted_lists)
    longest = max(check_ks(ks))
    reference, predicted = reference_lists.prefix(longest), predicted_lists.prefix(longest)
    observed = count_shared(reference.indices, predicted.indices, ks, reference.n_items).sum(axis=1)
    null = _null_counts(reference, predicted, ks, check_count("n_permutations", n_permutations), seed)
    totals = np.array(ks) * len(reference.queries)
    return [
        PermutationTest(
            (1 + np.count_nonzero(null[:, i] >= observed[i])) / (1 + n_permutations),
            float(np.mean(null[:, i] / total)),
            float(np.std(null[:, i] / total)),
        )
        for i, total in enumerate(totals)
    ]


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


def _null_counts(
    reference: TopK, predicted: TopK, ks: tuple[int, ...], n_permutations: int, seed: int
) -> Int64Array:
    """Count the items shared under each permutation: shape (n_permutations, len(ks)), int64."""
    counts = np.zeros((n_permutations, len(ks)), dtype=np.int64)
    permutations = _draw_permutations(reference, np.random.default_rng(seed))
    count = _count_for_playlists if reference.metric == "dot" else _count_for_tracks
    # A prefix is not contiguous, and `take` would copy it whole each time.
    lists = np.ascontiguousarray(reference.indices)
    batch_size = max(1, min(BATCH_PERMUTATIONS, PERMUTED_ENTRIES // reference.n_items))
    for batch in blocks(n_permutations, batch_size):
        drawn = [next(permutations) for _ in range(batch.start, batch.stop)]
        count(lists, predicted, ks, drawn, counts[batch])
    return counts


def _count_for_playlists(
    lists: Int32Array,
    predicted: TopK,
    ks: tuple[int, ...],
    permutations: Sequence[Permutation],
    counts: Int64Array,
) -> None:
    """Add to `counts`, shape (n_permutations, len(ks)), the items that reference and permuted lists share.

    All permutations of a reference list are looked up at once, in a table of the items in the predicted one.
    """
    permuted = np.stack([items for items, _ in permutations], axis=1)
    is_listed = np.zeros(predicted.n_items, dtype=bool)
    ranks = np.empty(predicted.n_items, dtype=np.int64)
    for own, others in zip(lists, predicted.indices, strict=True):
        is_listed[others], ranks[others] = True, np.arange(len(others))
        rows = permuted.take(own, axis=0)
        shared = np.flatnonzero(is_listed.take(rows))  # few; their ranks decide from which k they are shared
        own_ranks, permutation = np.divmod(shared, len(permutations))
        lower = np.maximum(own_ranks, ranks.take(rows.reshape(-1).take(shared)))
        for count, k in zip(counts.T, ks, strict=True):
            count += np.bincount(permutation[lower < k], minlength=len(permutations))
        is_listed[others] = False


def _count_for_tracks(
    lists: Int32Array,
    predicted: TopK,
    ks: tuple[int, ...],
    permutations: Sequence[Permutation],
    counts: Int64Array,
) -> None:
    """Do the same for lists of tracks, which are compared with the predicted lists of other tracks.

    Some queries are looked up at once, one permutation after another, so that the table stays in the cache.
    """
    (n_queries, longest_k), n_items = lists.shape, predicted.n_items
    block_size = min(n_queries, max(LEAST_QUERIES, LISTED_ENTRIES // n_items))
    is_listed = np.zeros((block_size, n_items), dtype=bool)
    ranks = np.empty(is_listed.shape, dtype=np.int32)
    for block in blocks(n_queries, block_size):
        others = predicted.indices[block]
        rows = np.arange(len(others))[:, np.newaxis]
        is_listed[rows, others], ranks[rows, others] = True, np.arange(longest_k)
        for count, (items, queries) in zip(counts, permutations, strict=True):
            entries = items.take(lists.take(queries[block], axis=0)) + rows * n_items
            shared = np.flatnonzero(is_listed.take(entries))
            lower = np.maximum(shared % longest_k, ranks.take(entries.reshape(-1).take(shared)))
            count += [np.count_nonzero(lower < k) for k in ks]
        is_listed[rows, others] = False


def _draw_permutations(lists: TopK, random: np.random.Generator) -> Iterator[Permutation]:
    """Yield random permutations, each as two arrays.

    `items`, shape (n_items,), int32: the row pi(t) assigned to track t. `queries`, shape (n_queries,): index among
    the queries of the track that gets the row of query i (for playlists, that query itself).
    """
    n_queries = len(lists.queries)
    if lists.metric == "dot":
        while True:
            yield random.permutation(lists.n_items).astype(np.int32), np.arange(n_queries)
    others = np.setdiff1d(np.arange(lists.n_items), lists.queries)
    while True:
        assigned = random.permutation(n_queries)
        items = np.empty(lists.n_items, dtype=np.int32)
        items[lists.queries] = lists.queries[assigned]
        items[others] = random.permutation(others)
        yield items, np.argsort(assigned)
