"""Repeated fits, with another seed and on random halves of the playlists, to measure the stability of factors."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.factors.wmf import Protocol, WmfConfig, WmfFit, fit_protocol, fold_in_items

FloatArray = npt.NDArray[np.float32]
N_SEEDS = 2**32  # a seed beyond the last begins again at 0


@dataclass(frozen=True, eq=False)
class HalfFit:
    """Tracks as one half of the playlists places them, and all playlists placed among these.

    Attributes
    ----------
    item_factors : ndarray of float32, shape (n_tracks, factors)
        Zero for a track that no playlist of the half holds.
    playlist_factors : ndarray of float32, shape (n_playlists, factors)
        Those of the other half are folded in too, so that both halves can be asked by the same playlists.
    """

    item_factors: FloatArray
    playlist_factors: FloatArray


def refit_with_next_seed(
    user_items: scipy.sparse.csr_matrix,
    is_train: npt.NDArray[np.bool_],
    config: WmfConfig,
    protocol: Protocol,
) -> WmfFit:
    """Return what `fit_protocol` makes of the same listening with the next seed; arguments and errors are its."""
    return fit_protocol(
        user_items, is_train, replace(config, seed=(config.seed + 1) % N_SEEDS), protocol=protocol
    )


def fit_halves(
    user_items: scipy.sparse.csr_matrix,
    is_train: npt.NDArray[np.bool_],
    config: WmfConfig,
    protocol: Protocol,
) -> tuple[HalfFit, HalfFit]:
    """Fit each of two random halves of the playlists, under the same protocol and seed.

    Parameters
    ----------
    user_items : csr_matrix, shape (n_playlists, n_tracks)
        Counts, none negative.
    is_train : ndarray of bool, shape (n_tracks,)
        True for the tracks of the train folds.
    config : WmfConfig
        Its seed parts the playlists too.
    protocol : {"strict", "thesis"}

    Returns
    -------
    tuple of two HalfFit

    Raises
    ------
    DataError
        A half has no listening to train tracks, or `fit_protocol` cannot fit it.
    """
    n_playlists = user_items.shape[0]
    shuffled = np.random.default_rng(config.seed).permutation(n_playlists)
    first, second = (np.sort(half) for half in np.array_split(shuffled, 2))
    return (
        _fit_half(user_items, first, is_train, config, protocol),
        _fit_half(user_items, second, is_train, config, protocol),
    )


def _fit_half(
    user_items: scipy.sparse.csr_matrix,
    half: npt.NDArray[np.int64],
    is_train: npt.NDArray[np.bool_],
    config: WmfConfig,
    protocol: Protocol,
) -> HalfFit:
    items = fit_protocol(user_items[half], is_train, config, protocol=protocol).item_factors
    fitted = is_train if protocol == "strict" else np.ones_like(is_train)
    # Equation 4 is equation 5 with tracks and playlists exchanged.
    playlists = fold_in_items(user_items[:, fitted].T.tocsr(), items[fitted], config)
    return HalfFit(items, playlists)
