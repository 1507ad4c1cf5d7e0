"""Several fits of the same tracks: turned onto each other, and averaged into one.

Factors are defined up to a rotation: item and playlist factors turned alike give the same dot products. The
rotation that brings one fit nearest to another is the orthogonal Procrustes problem (Schönemann, Psychometrika
31, 1966): with A^T B = U S V^T, the Q that minimises |A Q - B| is U V^T. Averaging turns every fit onto their
mean, again and again (Gower, "Generalized Procrustes analysis", Psychometrika 40, 1975), and then takes the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import FloatArray, check_factors, check_width
from cs_keras.evaluation.search.exact import Float64Array

MAX_ROUNDS = 50
SETTLED = 1e-6  # relative change of the mean below which float32 factors no longer show another round


@dataclass(frozen=True, eq=False)
class Fit:
    """One factorisation.

    Parameters
    ----------
    item_factors : numpy.ndarray, shape (n_tracks, n_factors), float32
    playlist_factors : numpy.ndarray, shape (n_playlists, n_factors), float32, optional
    """

    item_factors: FloatArray
    playlist_factors: FloatArray | None = None


def check_fits(fits: Sequence[Fit], *, at_least: int, with_playlists: bool) -> list[Fit]:
    """Return fits with float32 factors, the playlists' None unless asked for.

    Parameters
    ----------
    fits : sequence of Fit
    at_least : int
        How many there must be.
    with_playlists : bool
        Whether all must have playlist factors.

    Returns
    -------
    list of Fit

    Raises
    ------
    DataError
        Too few, not finite factor matrices, playlist factors missing, or fits of different tracks or playlists.
    """
    if len(fits) < at_least:
        raise DataError(f"there are too few fits: expected at least {at_least}. Received: {len(fits)}.")
    checked = [_check_fit(fit, with_playlists) for fit in fits]
    counts = [_counts(fit) for fit in checked]
    if len(set(counts)) > 1:
        received = ", ".join(" and ".join(map(str, each)) for each in counts)
        raise DataError(
            "fits are held against each other row by row: expected the same tracks, and playlists if they ask. "
            f"Received: {received}."
        )
    return checked


def find_rotation(factors: npt.ArrayLike, onto: npt.ArrayLike) -> Float64Array:
    """Return the rotation, reflections included, that brings factors nearest to others of the same rows.

    Parameters
    ----------
    factors, onto : array_like, shape (n_rows, n_factors), float32

    Returns
    -------
    numpy.ndarray, shape (n_factors, n_factors), float64
        Orthogonal Q: the sum of squares of `factors @ Q - onto` is as small as it can be.

    Raises
    ------
    DataError
        Not finite factor matrices of one shape.
    """
    moved, fixed = check_factors("factors", factors), check_factors("factors to turn onto", onto)
    _check_same_shape(fixed, moved)
    return _rotation(moved.astype(np.float64), fixed.astype(np.float64))


def average_fits(fits: Sequence[Fit]) -> Fit:
    """Return the mean of fits that are turned onto each other, by their item factors.

    Playlist factors turn along with the items of their fit. The mean lies as the first fit does; which one is first
    matters for its rotation alone. Fits are not scaled: one of larger factors weighs more.

    Parameters
    ----------
    fits : sequence of Fit
        Of the same tracks and number of factors. Playlist factors are averaged if all have them.

    Returns
    -------
    Fit
        The same to rounding in float32, whatever the number of threads.

    Raises
    ------
    DataError
        No fit, fits of different tracks, playlists or number of factors, or factors that are not finite.
    """
    with_playlists = all(fit.playlist_factors is not None for fit in fits)
    fits = check_fits(fits, at_least=1, with_playlists=with_playlists)
    for fit in fits:
        _check_same_shape(fits[0].item_factors, fit.item_factors)
    items = [fit.item_factors.astype(np.float64) for fit in fits]
    rotations = _turn_onto_mean(items)
    mean_items = _mean([rows @ rotation for rows, rotation in zip(items, rotations, strict=True)])
    if not with_playlists:
        return Fit(mean_items)
    playlists = [fit.playlist_factors for fit in fits if fit.playlist_factors is not None]
    return Fit(
        mean_items, _mean([rows @ rotation for rows, rotation in zip(playlists, rotations, strict=True)])
    )


def _turn_onto_mean(items: list[Float64Array]) -> list[Float64Array]:
    """Return the rotation of each fit that brings all nearest to their mean."""
    mean = items[0]
    for _ in range(MAX_ROUNDS):
        rotations = [_rotation(rows, mean) for rows in items]
        before = mean
        mean = np.mean([rows @ rotation for rows, rotation in zip(items, rotations, strict=True)], axis=0)
        if np.linalg.norm(mean - before) <= SETTLED * np.linalg.norm(before):
            break
    # Which way all lie together is arbitrary: let the first fit lie as it did.
    return [rotation @ rotations[0].T for rotation in rotations]


def _rotation(moved: Float64Array, fixed: Float64Array) -> Float64Array:
    left, _, right = np.linalg.svd(moved.T @ fixed)
    return np.asarray(left @ right)


def _mean(matrices: Sequence[Float64Array]) -> FloatArray:
    return np.asarray(np.mean(matrices, axis=0), dtype=np.float32)


def _check_fit(fit: Fit, with_playlists: bool) -> Fit:
    items = check_factors("item factors", fit.item_factors)
    if not with_playlists:
        return Fit(items)
    if fit.playlist_factors is None:
        raise DataError(
            "lists by dot product need playlist factors: expected them in every fit. Received: None."
        )
    playlists = check_factors("playlist factors", fit.playlist_factors)
    check_width(playlists, items)
    return Fit(items, playlists)


def _check_same_shape(factors: FloatArray, others: FloatArray) -> None:
    if factors.shape != others.shape:
        raise DataError(
            "these fits cannot be turned onto each other: expected the same tracks and number of factors. "
            f"Received: {factors.shape} and {others.shape}."
        )


def _counts(fit: Fit) -> tuple[int, ...]:
    """Return the number of tracks, and of playlists if there are any."""
    return tuple(len(rows) for rows in (fit.item_factors, fit.playlist_factors) if rows is not None)
