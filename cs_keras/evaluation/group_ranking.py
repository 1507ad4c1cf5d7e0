"""nDCG of each group of tracks by itself: whether playlists find their rare tracks as well as the popular ones."""

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation.search.exact import Float64Array
from cs_keras.evaluation.search.search import Int64Array
from cs_keras.evaluation.search.topk import TopK


def measure_group_ndcg(
    lists: TopK, held_out: scipy.sparse.csr_matrix, groups: npt.ArrayLike
) -> dict[object, Float64Array]:
    """Return the nDCG of playlists' lists with the held-out tracks of one group alone as relevant, group by group.

    All tracks stay candidates, as they are for a listener: tracks of other groups take places but earn nothing.

    Parameters
    ----------
    lists : TopK
        Of playlists, by dot product; k is their length.
    held_out : csr_matrix, shape (n_queries, n_items)
        Above 0 where the playlist of that list should find the track.
    groups : array_like, shape (n_items,), int, str or bool
        A label for each track.

    Returns
    -------
    dict of label to numpy.ndarray, shape (n_queries,), float64
        As `ranking.ndcg_at_k` of that group's columns: from 0 to 1, NaN where nothing of the group is held out.
        Labels are in order.

    Raises
    ------
    DataError
        Listening or labels that do not match the lists.
    """
    labels = np.asarray(groups)
    expected = (len(lists.queries), lists.n_items)
    if held_out.shape != expected or labels.shape != expected[1:]:
        raise DataError(
            f"listening and groups do not match the lists: expected shapes {expected} and {expected[1:]}. "
            f"Received: {held_out.shape} and {labels.shape}."
        )
    relevant = scipy.sparse.csr_matrix(held_out > 0, dtype=np.float64)
    gains = 1 / np.log2(np.arange(2, lists.k + 2))
    gained = _found(lists, relevant) * gains
    return {
        label.item(): _ndcg(
            np.where(labels[lists.indices] == label, gained, 0).sum(axis=1),
            np.asarray(relevant @ (labels == label), dtype=np.int64),
            gains,
        )
        for label in np.unique(labels)
    }


def _found(lists: TopK, relevant: scipy.sparse.csr_matrix) -> Float64Array:
    """Return 1 for each entry of the lists that is relevant, else 0: shape (n_queries, k)."""
    rows = np.repeat(np.arange(len(lists.queries)), lists.k)
    found = relevant[rows, lists.indices.reshape(-1)]
    return np.asarray(found, dtype=np.float64).reshape(lists.indices.shape)


def _ndcg(gained: Float64Array, n_held_out: Int64Array, gains: Float64Array) -> Float64Array:
    ideal = np.concatenate(([np.nan], np.cumsum(gains)))[np.minimum(n_held_out, len(gains))]
    return np.asarray(gained / ideal)
