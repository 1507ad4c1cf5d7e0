"""Weighted matrix factorisation whose tracks have features: playlists, tracks and the map from features, jointly.

The factors of track i have the prior ``y_i ~ N(B g_i, 1/κ)``, with its features g_i. With the confidences c and
preferences p of `cs_keras.factors.wmf`, the playlists' factors x, the tracks' y and the map B minimise

    Σ_ui c_ui (p_ui − x_u·y_i)² + λ Σ_u ‖x_u‖² + κ (Σ_i ‖y_i − B g_i‖² + penalty ‖B‖²)

and a track without interactions is at ``B g``: what it sounds like is learnt with the factorisation, by which it
need not be imitated afterwards (Agarwal & Chen 2009, "Regression-based latent factor models"; with implicit
feedback: Rendle et al. 2022, "iALS++", and the side information of cmfrec, Cortes 2018).

By turns, playlists are solved exactly given tracks (Cholesky), and tracks and B exactly given playlists. These two
are solved jointly: by turns they would hardly move where κ is large. With ``A_i = XᵀC_iX`` and ``b_i = XᵀC_ip_i``,

    y_i = H_i (b_i + κ B g_i),  H_i = (A_i + κI)⁻¹

and B remains in the equations ``Σ_i (I − κH_i) B g_i g_iᵀ + penalty B = Σ_i H_i b_i g_iᵀ``, solved by conjugate
gradients to a relative residual of `TOLERANCE`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from cs_keras.errors import DataError
from cs_keras.factors.wmf import WmfConfig, fold_in_items, weigh_counts

TOLERANCE = 1e-6
MAX_STEPS = 1000  # of conjugate gradients
MAX_BYTES = 8e9  # of the matrices I − κH

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeatureAls:
    """A factorisation with features.

    Attributes
    ----------
    weights
        Bᵀ, shape (n_features, n_factors), float64.
    intercept
        Factors of a track whose features are 0, shape (n_factors,), float64; not penalised.
    item_factors
        Y, shape (n_tracks, n_factors), float64.
    playlist_factors
        X, shape (n_playlists, n_factors), float64; zero for a playlist without tracks.
    """

    weights: Doubles
    intercept: Doubles
    item_factors: Doubles
    playlist_factors: Doubles


def fit_feature_als(
    user_items: scipy.sparse.csr_matrix,
    features: npt.NDArray[Any],
    playlist_factors: npt.NDArray[Any],
    config: WmfConfig,
    precision: float,
    penalty: float,
) -> FeatureAls:
    """Fit playlists, tracks and the map from features to interactions.

    Parameters
    ----------
    user_items
        Counts, shape (n_playlists, n_tracks), none negative.
    features
        Features of the tracks, shape (n_tracks, n_features).
    playlist_factors
        Playlist factors to start from, shape (n_playlists, n_factors).
    config
        Confidences, λ and the number of iterations.
    precision
        κ, above 0.
    penalty
        Penalty of B, at least 0, as that of a ridge regression from features to track factors.

    Raises
    ------
    DataError
        The shapes do not fit together, the counts cannot be factorised, or there are too many tracks and factors.
    """
    n_factors = playlist_factors.shape[1]
    if user_items.shape != (len(playlist_factors), len(features)):
        raise DataError(
            f"counts must be of shape {(len(playlist_factors), len(features))}. Received: {user_items.shape}."
        )
    if len(features) * n_factors**2 * 8 > MAX_BYTES:
        raise DataError(
            f"{len(features)} tracks with {n_factors} factors need {MAX_BYTES / 1e9:.0f} GB; use factors of "
            "fewer dimensions."
        )
    with_one = np.hstack([features, np.ones((len(features), 1))]).astype(np.float64)
    weights = np.zeros((with_one.shape[1], n_factors))
    x = playlist_factors.astype(np.float64)
    y = np.zeros((len(features), n_factors))
    for iteration in range(config.iterations):
        if iteration:
            x = fold_in_items(user_items.T.tocsr(), y.astype(np.float32), config).astype(np.float64)
        weights, y = _solve_tracks(user_items, with_one, x, weights, config, precision, penalty)
    return FeatureAls(weights[:-1], weights[-1], y, x)


def _solve_tracks(
    user_items: scipy.sparse.csr_matrix,
    features: Doubles,
    x: Doubles,
    start: Doubles,
    config: WmfConfig,
    precision: float,
    penalty: float,
) -> tuple[Doubles, Doubles]:
    """Solve for Bᵀ and Y given X; the last of `features` is 1, and is not penalised."""
    n_factors = x.shape[1]
    by_track = scipy.sparse.csc_matrix(weigh_counts(user_items, config.weight))
    gram, identity = x.T @ x, np.eye(n_factors)
    shrunk, solved = np.empty((len(features), n_factors, n_factors)), np.empty((len(features), n_factors))
    for track, (first, last) in enumerate(zip(by_track.indptr, by_track.indptr[1:], strict=False)):
        own, gain = (
            x[by_track.indices[first:last]],
            config.alpha * by_track.data[first:last].astype(np.float64),
        )
        inverse = np.linalg.inv(gram + (own.T * gain) @ own + precision * identity)
        solved[track] = inverse @ ((1 + gain) @ own)
        shrunk[track] = identity - precision * inverse
    penalties = np.full(features.shape[1], float(penalty))
    penalties[-1] = 0
    # Of one mean matrix for all tracks the equations are a Kronecker product, whose inverse is known.
    mean = scipy.linalg.cho_factor(shrunk.mean(axis=0))
    of_features = scipy.linalg.cho_factor(features.T @ features + np.diag(penalties + TOLERANCE))

    def apply(flat: Doubles) -> Doubles:
        weights = flat.reshape(start.shape)
        prior = np.einsum("nij,nj->ni", shrunk, features @ weights)
        return np.asarray(features.T @ prior + penalties[:, np.newaxis] * weights, np.float64).ravel()

    def precondition(flat: Doubles) -> Doubles:
        weights = scipy.linalg.cho_solve(of_features, flat.reshape(start.shape))
        return np.asarray(scipy.linalg.cho_solve(mean, weights.T).T.ravel(), np.float64)

    size = (start.size, start.size)
    flat, failure = scipy.sparse.linalg.cg(
        scipy.sparse.linalg.LinearOperator(size, apply, dtype=np.float64),
        (features.T @ solved).ravel(),
        start.ravel(),
        rtol=TOLERANCE,
        maxiter=MAX_STEPS,
        M=scipy.sparse.linalg.LinearOperator(size, precondition, dtype=np.float64),
    )
    if failure:
        raise DataError(
            f"the map from features to factors was not solved in {MAX_STEPS} steps; expected a larger penalty."
        )
    weights = flat.reshape(start.shape)
    prior = features @ weights
    return weights, solved + prior - np.einsum("nij,nj->ni", shrunk, prior)
