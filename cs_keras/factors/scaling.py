"""Scaling of factors to regression targets, fitted on train tracks alone, and its inverse."""

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError, DataError

FloatArray = npt.NDArray[np.float32]
Kind = Literal["standardize", "unit_norm", "minmax", "none"]


@dataclass(frozen=True, eq=False)
class Scaler:
    """(factors − offset) / scale for each factor, or rows of norm 1.

    Parameters
    ----------
    kind : {"standardize", "unit_norm", "minmax", "none"}
    offset, scale : ndarray of float32, shape (n_factors,)
        0 and 1 for "unit_norm" and "none".
    """

    kind: Kind
    offset: FloatArray
    scale: FloatArray

    def transform(self, factors: FloatArray) -> FloatArray:
        """Scale factors to targets.

        Parameters
        ----------
        factors : ndarray of float32, shape (n, n_factors)

        Returns
        -------
        ndarray of float32, shape (n, n_factors)
            "unit_norm" leaves zero rows zero.

        Raises
        ------
        DataError
            The shape does not match.
        """
        self._check(factors)
        if self.kind == "unit_norm":
            norm = np.linalg.norm(factors, axis=1, keepdims=True)
            scaled = factors / np.where(norm > 0, norm, 1)
        else:
            scaled = (factors - self.offset) / self.scale
        return np.asarray(scaled, dtype=np.float32)

    def inverse(self, scaled: FloatArray) -> FloatArray:
        """Scale targets or predictions back to the space of the factors.

        Parameters
        ----------
        scaled : ndarray of float32, shape (n, n_factors)

        Returns
        -------
        ndarray of float32, shape (n, n_factors)
            For "unit_norm" the input itself: the norms cannot be recovered. Cosine similarities do not need them;
            dot products lose the popularity encoded in the norm.

        Raises
        ------
        DataError
            The shape does not match.
        """
        self._check(scaled)
        return (scaled * self.scale + self.offset).astype(np.float32)

    def _check(self, factors: FloatArray) -> None:
        if factors.ndim != 2 or factors.shape[1] != len(self.offset):
            raise DataError(f"factors must be of shape (n, {len(self.offset)}). Received: {factors.shape}.")


def fit_scaler(kind: Kind, train_factors: FloatArray) -> Scaler:
    """Fit a scaling to the factors of the train tracks.

    Parameters
    ----------
    kind : {"standardize", "unit_norm", "minmax", "none"}
        "standardize": mean 0 and variance 1 (ddof 0) for each factor, so that the mean predictor's MSE is 1.
        "unit_norm": each row divided by its L2 norm. "minmax": each factor to [−1, 1]. "none": as they are.
        A constant factor is centred and keeps scale 1.
    train_factors : ndarray of float32, shape (n_train, n_factors)
        Train tracks that have factors.

    Returns
    -------
    Scaler

    Raises
    ------
    ConfigError
        The kind is unknown.
    DataError
        `train_factors` is not a matrix, has no rows, or holds values that are not finite.

    Warns
    -----
    UserWarning
        On "minmax".
    """
    if kind not in get_args(Kind):
        raise ConfigError(f"scaling must be one of {', '.join(get_args(Kind))}. Received: {kind!r}.")
    if train_factors.ndim != 2 or len(train_factors) == 0 or not np.isfinite(train_factors).all():
        raise DataError(
            "train_factors must be a matrix of finite values with at least one row. "
            f"Received: shape {train_factors.shape}."
        )
    factors = train_factors.astype(np.float64)
    low, high = factors.min(axis=0), factors.max(axis=0)
    offset, scale = np.zeros_like(low), np.ones_like(low)
    if kind == "standardize":
        offset, scale = factors.mean(axis=0), factors.std(axis=0)
    elif kind == "minmax":
        warnings.warn(
            "min-max scaling collapsed every model of the reference thesis to predicting the mean; "
            "'standardize' did not.",
            UserWarning,
            stacklevel=2,
        )
        offset, scale = (low + high) / 2, (high - low) / 2
    is_constant = (low == high) | (scale.astype(np.float32) == 0)
    return Scaler(kind, offset.astype(np.float32), np.where(is_constant, 1, scale).astype(np.float32))
