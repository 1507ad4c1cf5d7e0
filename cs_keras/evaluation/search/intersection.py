"""Items that two sets of lists share, for every prefix length at once, and how many random lists share.

An item at rank i of one list and rank j of the other (from 0) is shared by the first k of both as soon as
k > max(i, j). A table of the ranks in one list therefore answers for every k with a single look-up per item.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.checks import Float64Array, check_count
from cs_keras.evaluation.search.search import Int64Array, blocks

IntArray = npt.NDArray[np.integer[Any]]

TABLE_ENTRIES = 2**22  # ranks held at a time: 8 MB for lists of up to 65,535


def chance_overlap(k: int, n_candidates: int, n_queries: int = 1) -> tuple[float, float]:
    """Return the mean overlap of random lists of length k and its standard deviation, shares from 0 to 1.

    The number of common items of two lists is hypergeometric: k draws without replacement from `n_candidates`, k
    of them hits. The standard deviation, of the mean over `n_queries` lists, takes these as independent; real
    ones share popular tracks, so their spread is wider, as `permutation_test` measures it. Raise `ConfigError`
    unless all are positive whole numbers, k at most `n_candidates`.
    """
    k, n_candidates = check_count("k", k), check_count("n_candidates", n_candidates)
    if k > n_candidates:
        raise ConfigError(f"k is out of range: expected at most {n_candidates} candidates. Received: {k}.")
    share = k / n_candidates
    variance = share * (1 - share) * (n_candidates - k) / (k * max(n_candidates - 1, 1))
    return share, float(np.sqrt(variance / check_count("n_queries", n_queries)))


def count_shared(lists: IntArray, others: IntArray, ks: tuple[int, ...], n_items: int) -> Int64Array:
    """Count the items shared by the first k of two lists, query by query.

    Parameters
    ----------
    lists, others : numpy.ndarray, shape (n_queries, k_max), int
        Distinct rows of items, best first.
    ks : tuple of int
        Prefix lengths, each at most k_max.
    n_items : int

    Returns
    -------
    numpy.ndarray, shape (len(ks), n_queries), int64
    """
    n_queries, longest = others.shape
    block_size = min(n_queries, max(1, TABLE_ENTRIES // n_items))
    table = np.full((block_size, n_items), longest, dtype=np.min_scalar_type(longest))
    shared = np.empty((len(ks), n_queries), dtype=np.int64)
    for block in blocks(n_queries, block_size):
        rows = np.arange(block.stop - block.start)[:, np.newaxis]
        table[rows, others[block]] = np.arange(longest)
        ranks = table.reshape(-1).take(lists[block] + rows * n_items)
        for counts, k in zip(shared, ks, strict=True):
            counts[block] = np.count_nonzero(ranks[:, :k] < k, axis=1)
        table[rows, others[block]] = longest  # reset these entries only: refilling the table is far slower
    return shared


def list_overlap(reference_lists: npt.ArrayLike, predicted_lists: npt.ArrayLike) -> Float64Array:
    """Return the share of each reference list that the predicted list also holds, in any order, from 0 to 1.

    Lists are distinct item rows, int, both of shape (n_queries, k), else `DataError`; shares are float64,
    (n_queries,).
    """
    reference, predicted = np.asarray(reference_lists), np.asarray(predicted_lists)
    for lists in (reference, predicted):
        if lists.ndim != 2 or not lists.size or lists.dtype.kind not in "iu" or lists.min() < 0:
            raise DataError(
                "lists are not valid: expected item rows, whole numbers from 0, of shape (n_queries, k). "
                f"Received: shape {lists.shape}, dtype {lists.dtype}."
            )
    if reference.shape != predicted.shape:
        raise DataError(
            "the lists cannot be compared: expected one shape (n_queries, k). "
            f"Received: {reference.shape} and {predicted.shape}."
        )
    k = reference.shape[1]
    n_items = int(max(reference.max(), predicted.max())) + 1
    return np.asarray(count_shared(reference, predicted, (k,), n_items)[0] / k)
