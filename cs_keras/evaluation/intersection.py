"""How many items two sets of lists share, for every prefix length at once.

An item at place i of one list and place j of the other (from 0) is shared by the first k of both as soon as
k > max(i, j). A table of the places in one list therefore answers for every k with a single look-up per item.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.search import Int64Array, blocks

IntArray = npt.NDArray[np.integer[Any]]

QUERY_BLOCK_SIZE = 256  # bounds a table of places to 256 * n_items entries


def places_table(lists: IntArray, n_items: int) -> IntArray:
    """Return the place of every item in every list.

    Parameters
    ----------
    lists : numpy.ndarray, shape (n_queries, k), int
        Distinct rows of items, each below `n_items`, best first.
    n_items : int

    Returns
    -------
    numpy.ndarray, shape (n_queries, n_items), the smallest unsigned type that holds k
        From 0; k for items that are not in the list.
    """
    k = lists.shape[1]
    table = np.full((len(lists), n_items), k, dtype=np.min_scalar_type(k))
    np.put_along_axis(table, lists.astype(np.int64), np.arange(k, dtype=table.dtype)[np.newaxis], axis=1)
    return table


def look_up(table: IntArray, lists: IntArray) -> IntArray:
    """Return the place, by row i of `table`, of each item of row i of `lists`: shape of `lists`."""
    starts = np.arange(len(table))[:, np.newaxis] * table.shape[1]
    return np.asarray(table.reshape(-1).take(lists + starts))


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
    shared = np.empty((len(ks), len(lists)), dtype=np.int64)
    for block in blocks(len(lists), QUERY_BLOCK_SIZE):
        places = look_up(places_table(others[block], n_items), lists[block])
        for row, k in zip(shared, ks, strict=True):
            row[block] = np.count_nonzero(places[:, :k] < k, axis=1)
    return shared


def list_overlap(reference_lists: npt.ArrayLike, predicted_lists: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the share of each reference list that the predicted list holds too, in any order.

    Parameters
    ----------
    reference_lists, predicted_lists : array_like, shape (n_queries, k), int
        Distinct item rows.

    Returns
    -------
    numpy.ndarray, shape (n_queries,), float64
        From 0 to 1.

    Raises
    ------
    DataError
        Not two integer arrays of one shape (n_queries, k), or negative rows.
    """
    reference, predicted = np.asarray(reference_lists), np.asarray(predicted_lists)
    for lists in (reference, predicted):
        if lists.ndim != 2 or not lists.size or lists.dtype.kind not in "iu" or lists.min() < 0:
            raise DataError(
                "these are no lists: expected item rows, whole numbers from 0, of shape (n_queries, k). "
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
