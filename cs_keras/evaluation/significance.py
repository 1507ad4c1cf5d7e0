"""How much overlap means: what chance gives, how far a sample of queries can be off, and a permutation test."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.checks import check_count, check_ks, check_scores
from cs_keras.evaluation.intersection import QUERY_BLOCK_SIZE, count_shared, look_up, places_table
from cs_keras.evaluation.search import Int64Array, blocks
from cs_keras.evaluation.topk import TopK

Float64Array = npt.NDArray[np.float64]

BATCH_ENTRIES = 2**23  # random numbers held at a time: 64 MB


@dataclass(frozen=True)
class Chance:
    """Mean overlap of lists drawn at random, and its standard deviation over such draws: shares from 0 to 1."""

    mean: float
    sd: float


@dataclass(frozen=True)
class PermutationTest:
    """Observed mean overlap against its null distribution.

    Attributes
    ----------
    p_value : float
        (1 + number of permutations that reach the observed overlap) / (1 + number of permutations).
    null_mean, null_sd : float
        Of the mean overlap under the permutations.
    """

    p_value: float
    null_mean: float
    null_sd: float


def chance(k: int, n_candidates: int, n_queries: int = 1) -> Chance:
    """Return the mean overlap that lists drawn at random reach.

    The number of common items of two lists is hypergeometric: k draws without replacement from `n_candidates`, of
    which k count. The standard deviation takes the lists of different queries as independent; real ones share
    popular tracks, so their spread is wider: `permutation_test` keeps that.

    Parameters
    ----------
    k : int
        Length of the lists, at most `n_candidates`.
    n_candidates : int
    n_queries : int
        Lists averaged over.

    Returns
    -------
    Chance

    Raises
    ------
    ConfigError
        Not positive whole numbers, or k above `n_candidates`.
    """
    k, n_candidates = check_count("k", k), check_count("n_candidates", n_candidates)
    if k > n_candidates:
        raise ConfigError(f"k is out of range: expected at most {n_candidates} candidates. Received: {k}.")
    share = k / n_candidates
    variance = share * (1 - share) * (n_candidates - k) / (k * max(n_candidates - 1, 1))
    return Chance(share, float(np.sqrt(variance / check_count("n_queries", n_queries))))


def bootstrap_interval(
    per_query: npt.ArrayLike, n_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over queries.

    Parameters
    ----------
    per_query : array_like, shape (n_queries,), float
    n_resamples : int
        Samples of n_queries, drawn with replacement.
    level : float
        Share of the resampled means inside, between 0 and 1.
    seed : int

    Returns
    -------
    low, high : float

    Raises
    ------
    DataError
        Values that are not finite numbers of shape (n_queries,).
    ConfigError
        `n_resamples` no positive whole number, or `level` not between 0 and 1.
    """
    values = check_scores(per_query)
    if not 0 < level < 1:
        raise ConfigError(f"level is out of range: expected a share between 0 and 1. Received: {level!r}.")
    random = np.random.default_rng(seed)
    means = np.empty(check_count("n_resamples", n_resamples))
    for block in blocks(len(means), max(1, BATCH_ENTRIES // len(values))):
        drawn = random.integers(0, len(values), size=(block.stop - block.start, len(values)))
        means[block] = values[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def permutation_test(
    reference_lists: TopK,
    predicted_lists: TopK,
    ks: tuple[int, ...],
    *,
    n_permutations: int = 999,
    seed: int = 0,
) -> list[PermutationTest]:
    """Test the overlap against predictions dealt to random tracks.

    The null hypothesis: which predicted row belongs to which track does not matter. With row pi(t) given to track
    t, lists need no new search. By dot product the list of a playlist becomes pi^-1 of what it was; by similarity
    the list of track q becomes pi^-1 of the list of track pi(q). So t is shared when pi(t) is in the predicted
    list of the playlist, or of pi(q). If only some tracks ask, pi deals their rows among themselves and the other
    rows among the others: of all permutations, a group that needs only the lists at hand, so the p-value holds.

    Parameters
    ----------
    reference_lists, predicted_lists : TopK
        Of the same queries, items and metric.
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
        Lists of different queries, items or metric, or shorter than a k.
    ConfigError
        `ks` or `n_permutations` not positive whole numbers.
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
    deals = _deals(reference, np.random.default_rng(seed))
    for batch in blocks(n_permutations, max(1, BATCH_ENTRIES // reference.n_items)):
        drawn = [next(deals) for _ in range(batch.start, batch.stop)]
        for block in blocks(len(predicted.queries), QUERY_BLOCK_SIZE):
            table = places_table(predicted.indices[block], predicted.n_items)  # serves the whole batch
            for count, (items, askers) in zip(counts[batch], drawn, strict=True):
                places = look_up(table, items.take(reference.indices[askers[block]]))
                count += [np.count_nonzero(places[:, :k] < k) for k in ks]
    return counts


def _deals(lists: TopK, random: np.random.Generator) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Yield random permutations, each as two arrays.

    `items`, shape (n_items,): the row pi(t) that track t is given. `askers`, shape (n_queries,): the place among
    the queries of the track that is given the row of query i (for playlists, that query itself).
    """
    n_queries = len(lists.queries)
    if lists.metric == "dot":
        while True:
            yield random.permutation(lists.n_items), np.arange(n_queries)
    others = np.setdiff1d(np.arange(lists.n_items), lists.queries)
    while True:
        given = random.permutation(n_queries)
        items = np.empty(lists.n_items, dtype=np.int64)
        items[lists.queries] = lists.queries[given]
        items[others] = random.permutation(others)
        yield items, np.argsort(given)
