"""Held-out interactions, to evaluate factors on interactions that they were not fitted on."""

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError


def hold_out(
    user_items: scipy.sparse.csr_matrix, share: float, seed: int
) -> tuple[scipy.sparse.csr_matrix, scipy.sparse.csr_matrix]:
    """Split the tracks of each playlist at random.

    Parameters
    ----------
    user_items : csr_matrix, shape (n_playlists, n_tracks)
        Counts above 0, no pair stored twice.
    share : float
        Of each playlist's tracks, rounded down: below 1, a playlist always keeps some.
    seed : int

    Returns
    -------
    kept, held_out : csr_matrix, shape (n_playlists, n_tracks)
        Their sum is `user_items`; no pair is in both.

    Raises
    ------
    DataError
        No playlist is long enough for one of its tracks to be held out.
    """
    lengths = np.diff(user_items.indptr)
    playlists = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((np.random.default_rng(seed).random(user_items.nnz), playlists))  # random, by playlist
    place = np.empty(user_items.nnz, dtype=np.int64)
    place[order] = np.arange(user_items.nnz) - user_items.indptr[playlists]
    is_held_out = place < np.floor(share * lengths)[playlists]
    if not is_held_out.any():
        raise DataError(
            f"no playlist is long enough to hold out {share:.0%} of its train tracks: expected some with at least "
            f"{int(np.ceil(1 / share))}. Received: at most {lengths.max(initial=0)}."
        )
    return _part(user_items, ~is_held_out), _part(user_items, is_held_out)


def _part(user_items: scipy.sparse.csr_matrix, wanted: npt.NDArray[np.bool_]) -> scipy.sparse.csr_matrix:
    """Return the stored pairs that are wanted."""
    ends = np.concatenate([[0], np.cumsum(wanted)])[user_items.indptr]
    return scipy.sparse.csr_matrix(
        (user_items.data[wanted], user_items.indices[wanted], ends), shape=user_items.shape
    )
