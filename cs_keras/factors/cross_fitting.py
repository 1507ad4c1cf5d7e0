"""Cross-fitted factors: those of a train track from a fit that did not use its interactions.

A fitted track's factors and those of its playlists are fitted to each other, noise included; a test track is
folded in with playlist factors that were fitted without it. So factors of train and test tracks have different
distributions, and a regression that is trained on the first is evaluated on the second. Here each group of train
tracks is held out of a fit of its own and folded in, as test tracks are. A fit has its own rotation: it is
aligned with the main fit by the orthogonal Procrustes problem (Schönemann, Psychometrika 31, 1966) on the
playlists, which all fits share. The term is that of Chernozhukov et al., "Double/debiased machine learning for
treatment and structural parameters", 2018.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from cs_keras.errors import DataError
from cs_keras.factors.wmf import Counts, WmfConfig, WmfFit, draw_item_factors, fit_wmf, fold_in_items

MAX_GROUPS = 8  # fits; more cost more time and change held-out factors little


@dataclass(frozen=True, eq=False)
class CrossFit:
    """A fit with the factors of its train tracks cross-fitted.

    Parameters
    ----------
    fit : WmfFit
        The main fit with other `item_factors` in the rows of train tracks: zero, and `has_factors` False, where no
        playlist has factors without the track's own group.
    residuals : tuple of float
        For each group ‖X_g Q − X‖² / ‖X‖²: X, of the main fit, and X_g are the factors of the playlists with tracks
        in both fits, Q the rotation.
    """

    fit: WmfFit
    residuals: tuple[float, ...]


def group_folds(folds: npt.NDArray[Any], is_train: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the group with which each track is held out, shape (n_tracks,): at most `MAX_GROUPS`, of whole folds.

    Groups are numbered from 0; tracks outside the train folds get -1.
    """
    distinct, group = np.unique(folds[is_train], return_inverse=True)
    groups = np.full(len(folds), -1, dtype=np.int64)
    groups[is_train] = group // -(-len(distinct) // MAX_GROUPS)
    return groups


def cross_fit(
    user_items: Counts,
    is_fitted: npt.NDArray[np.bool_],
    groups: npt.NDArray[np.int64],
    fit: WmfFit,
    config: WmfConfig,
) -> CrossFit:
    """Replace the factors of train tracks by those folded into fits without their group.

    All fits by implicit start from the same random factors: those of the main fit, track by track.

    Parameters
    ----------
    user_items : csr_matrix or SparkCounts, shape (n_playlists, n_tracks)
        Counts, none negative.
    is_fitted : ndarray of bool, shape (n_tracks,)
        Tracks that the main fit was fitted to.
    groups : ndarray of int, shape (n_tracks,)
        Group to hold each track out with; -1 for tracks that keep their factors. See `group_folds`.
    fit : WmfFit
        Main fit of `user_items` with `config`.
    config : WmfConfig

    Returns
    -------
    CrossFit

    Raises
    ------
    DataError
        There are fewer than two groups, or no interactions remain without one of them.
    """
    names = np.unique(groups[groups >= 0])
    if len(names) < 2:
        raise DataError(
            "cross-fitting holds out one group of train tracks at a time: expected two folds or more. "
            f"Received: {len(names)}."
        )
    initial = np.zeros_like(fit.item_factors)
    initial[is_fitted] = draw_item_factors((user_items.shape[0], int(is_fitted.sum())), config)
    item_factors, residuals = fit.item_factors.copy(), []
    for group in names:
        is_out = groups == group
        rest = is_fitted & ~is_out
        _, playlist_factors = fit_wmf(user_items[:, rest], config, initial_item_factors=initial[rest])
        rotation, residual = align_playlists(playlist_factors, fit.playlist_factors)
        folded = fold_in_items(user_items[:, is_out], playlist_factors, config)
        item_factors[is_out] = folded @ rotation
        residuals.append(residual)
    has_factors = item_factors.any(axis=1)
    return CrossFit(replace(fit, item_factors=item_factors, has_factors=has_factors), tuple(residuals))


def align_playlists(
    playlist_factors: npt.NDArray[np.float32], main: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], float]:
    """Return the rotation of playlist factors onto those of the main fit, and what remains of their difference."""
    shared = playlist_factors.any(axis=1) & main.any(axis=1)
    own, target = playlist_factors[shared].astype(np.float64), main[shared].astype(np.float64)
    rotation, _ = scipy.linalg.orthogonal_procrustes(own, target)
    residual = np.square(own @ rotation - target).sum() / np.square(target).sum()
    return rotation.astype(np.float32), float(residual)
