"""Input checks shared by the package; each raises before anything is computed."""

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError, DataError

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
MAX_FACTORS = 4_096


def check_factors(name: str, factors: npt.ArrayLike) -> FloatArray:
    """Return a factor matrix, shape (n_rows, n_factors), as contiguous float32, the type factor files hold.

    Wider floats are rounded. Raise `DataError`, which calls the matrix `name`, unless it is two-dimensional, not
    empty, numeric, finite in float32, and of at most 4,096 factors.
    """
    array = np.asarray(factors)
    if array.ndim != 2 or 0 in array.shape or array.shape[1] > MAX_FACTORS or array.dtype.kind not in "iufb":
        raise DataError(
            f"{name} is not a factor matrix: expected numbers of shape (rows, factors), at least one row and 1 to "
            f"{MAX_FACTORS} factors. Received: shape {array.shape}, dtype {array.dtype}."
        )
    with np.errstate(over="ignore"):  # what overflows is reported below
        array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        raise DataError(
            f"{name} holds values that are not finite: expected finite float32. "
            f"Received: {len(bad)} such rows, the first is row {bad[0]}."
        )
    return array


def check_scores(item_scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return scores as float64; raise `DataError` unless they are finite and of shape (n_tracks,)."""
    scores = np.asarray(item_scores)
    if (
        scores.ndim != 1
        or not scores.size
        or scores.dtype.kind not in "iufb"
        or not np.isfinite(scores).all()
    ):
        raise DataError(
            "item scores are not valid: expected one finite number per track, shape (n_tracks,). "
            f"Received: shape {scores.shape}, dtype {scores.dtype}."
        )
    return scores.astype(np.float64)


def check_same_shape(reference: FloatArray, predicted: FloatArray) -> None:
    """Raise `DataError` unless both matrices, of shape (n_tracks, n_factors), have the same shape."""
    if reference.shape != predicted.shape:
        raise DataError(
            "reference and predicted factors do not match: expected one row per track and one column per factor in "
            f"both. Received: {reference.shape} and {predicted.shape}."
        )


def check_width(queries: FloatArray, items: FloatArray) -> None:
    """Raise `DataError` unless playlists and items, one a row, have as many factors."""
    if queries.shape[1] != items.shape[1]:
        raise DataError(
            "playlist and item factors have no dot product: expected the same number of factors. "
            f"Received: {queries.shape[1]} and {items.shape[1]}."
        )


def check_count(name: str, value: int) -> int:
    """Return `value` as an int; raise `ConfigError` unless it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ConfigError(
            f"{name} is out of range: expected a whole number of at least 1. Received: {value!r}."
        )
    return int(value)


def check_ks(ks: tuple[int, ...]) -> tuple[int, ...]:
    """Return list lengths as ints; raise `ConfigError` unless they are positive whole numbers, at least one."""
    if not isinstance(ks, tuple | list) or not ks:
        raise ConfigError(f"ks are not list lengths: expected a tuple of at least one. Received: {ks!r}.")
    return tuple(check_count("k", k) for k in ks)
