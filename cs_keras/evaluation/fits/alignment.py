"""Alignment of several fits of the same tracks by rotation, and their average.

Factors are defined up to a rotation: the same rotation of item and playlist factors preserves dot products. The
rotation that best aligns one fit with another is the orthogonal Procrustes problem (Schönemann, Psychometrika
31, 1966): with A^T B = U S V^T, the Q that minimises |A Q - B| is U V^T. Averaging aligns every fit with their
mean, repeatedly (Gower, "Generalized Procrustes analysis", Psychometrika 40, 1975), and then takes the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, FloatArray, check_factors, check_width

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
    """Return fits with float32 factors; playlist factors are dropped unless required of all, `with_playlists`.

    Raise `DataError` unless there are `at_least` fits, of finite factor matrices and of the same tracks and
    playlists.
    """
    if len(fits) < at_least:
        raise DataError(f"there are too few fits: expected at least {at_least}. Received: {len(fits)}.")
    checked, counts = [], []
    for fit in fits:
        items, playlists = check_factors("item factors", fit.item_factors), None
        if with_playlists:
            if fit.playlist_factors is None:
                raise DataError(
                    "lists by dot product need playlist factors: expected them in every fit. Received: None."
                )
            playlists = check_factors("playlist factors", fit.playlist_factors)
            check_width(playlists, items)
        checked.append(Fit(items, playlists))
        counts.append([len(rows) for rows in (items, playlists) if rows is not None])
    if any(each != counts[0] for each in counts):
        received = ", ".join(" and ".join(map(str, each)) for each in counts)
        raise DataError(
            "fits are compared row by row: expected the same tracks, and playlists where they are queries. "
            f"Received: {received}."
        )
    return checked


def find_rotation(factors: Float64Array, target: Float64Array) -> Float64Array:
    """Return the orthogonal Q that minimises the sum of squares of `factors @ Q - target`.

    Both arrays have shape (n_rows, n_factors), float64; Q has shape (n_factors, n_factors) and may be a reflection.
    """
    left, _, right = np.linalg.svd(factors.T @ target)
    return np.asarray(left @ right)


def average_fits(fits: Sequence[Fit]) -> Fit:
    """Return the mean of fits, aligned by their item factors.

    Playlist factors are rotated with the items of their fit. The mean has the rotation of the first fit; otherwise
    the order does not matter. Fits are not scaled: one of larger factors weighs more.

    Parameters
    ----------
    fits : sequence of Fit
        With the same tracks and number of factors. Playlist factors are averaged if all have them.

    Returns
    -------
    Fit
        The same up to float32 rounding for any number of threads.

    Raises
    ------
    DataError
        There is no fit, fits differ in tracks, playlists or number of factors, or factors are not finite.
    """
    with_playlists = all(fit.playlist_factors is not None for fit in fits)
    fits = check_fits(fits, at_least=1, with_playlists=with_playlists)
    shapes = {fit.item_factors.shape for fit in fits}
    if len(shapes) > 1:
        received = " and ".join(map(str, sorted(shapes)))
        raise DataError(
            f"these fits cannot be aligned: expected the same tracks and number of factors. Received: {received}."
        )
    items = [fit.item_factors.astype(np.float64) for fit in fits]
    rotations = _align_with_mean(items)
    playlists = [fit.playlist_factors for fit in fits if fit.playlist_factors is not None]
    mean_items = _average(items, rotations).astype(np.float32)
    return Fit(mean_items, _average(playlists, rotations).astype(np.float32) if with_playlists else None)


def _align_with_mean(items: list[Float64Array]) -> list[Float64Array]:
    """Return the rotation of each fit that aligns it with their mean."""
    mean = items[0]
    for _ in range(MAX_ROUNDS):
        rotations = [find_rotation(rows, mean) for rows in items]
        before = mean
        mean = _average(items, rotations)
        if np.linalg.norm(mean - before) <= SETTLED * np.linalg.norm(before):
            break
    # The common rotation is arbitrary: keep that of the first fit.
    return [rotation @ rotations[0].T for rotation in rotations]


def _average(matrices: Sequence[npt.NDArray[Any]], rotations: Sequence[Float64Array]) -> Float64Array:
    turned = [rows @ rotation for rows, rotation in zip(matrices, rotations, strict=True)]
    return np.asarray(np.mean(turned, axis=0))
