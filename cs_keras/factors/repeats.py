"""Repeated fits, with another seed and on random halves of the playlists, to measure the stability of factors."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cs_keras.factors.wmf import Counts, Protocol, WmfConfig, WmfFit, fit_protocol, fold_in_items

N_SEEDS = 2**32  # seeds wrap around to 0


def refit_with_next_seed(
    user_items: Counts,
    is_train: npt.NDArray[np.bool_],
    config: WmfConfig,
    protocol: Protocol,
) -> WmfFit:
    """Fit the same interactions with the next seed; arguments and errors as for `fit_protocol`."""
    return fit_protocol(
        user_items, is_train, replace(config, seed=(config.seed + 1) % N_SEEDS), protocol=protocol
    )


def fit_halves(
    user_items: Counts,
    is_train: npt.NDArray[np.bool_],
    config: WmfConfig,
    protocol: Protocol,
) -> tuple[WmfFit, WmfFit]:
    """Fit each of two random halves of the playlists, under the same protocol and seed.

    Parameters
    ----------
    user_items : csr_matrix or SparkCounts, shape (n_playlists, n_tracks)
        Counts, none negative.
    is_train : ndarray of bool, shape (n_tracks,)
        True for the tracks of the train folds.
    config : WmfConfig
        Settings of the fits; the seed also splits the playlists.
    protocol : {"strict", "thesis"}

    Returns
    -------
    tuple of two WmfFit
        Item factors of each half. Playlist factors of all playlists, those of the other half folded in, so that
        both halves can be compared on the same queries.

    Raises
    ------
    DataError
        A half has no interactions with train tracks, or `fit_protocol` cannot fit it.
    """
    n_playlists = user_items.shape[0]
    shuffled = np.random.default_rng(config.seed).permutation(n_playlists)
    first, second = (np.sort(half) for half in np.array_split(shuffled, 2))
    return (
        _fit_half(user_items, first, is_train, config, protocol),
        _fit_half(user_items, second, is_train, config, protocol),
    )


def _fit_half(
    user_items: Counts,
    half: npt.NDArray[np.int64],
    is_train: npt.NDArray[np.bool_],
    config: WmfConfig,
    protocol: Protocol,
) -> WmfFit:
    fit = fit_protocol(user_items[half], is_train, config, protocol=protocol)
    fitted = is_train if protocol == "strict" else np.ones_like(is_train)
    # Equation 4 is equation 5 with tracks and playlists exchanged.
    playlists = fold_in_items(user_items[:, fitted].T, fit.item_factors[fitted], config)
    return replace(fit, playlist_factors=playlists)
