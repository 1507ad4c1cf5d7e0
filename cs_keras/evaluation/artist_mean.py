"""The artist mean: a predictor that knows who made a track, and nothing of its sound."""

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import FloatArray, check_factors


def predict_artist_means(
    train_factors: npt.ArrayLike, train_artists: npt.ArrayLike, artists: npt.ArrayLike
) -> FloatArray:
    """Predict for each track the mean factors of its artist's training tracks.

    Tracks of an artist that made no training track get the mean of all of them, so they tie with each other; where
    folds go by artist, that is every track.

    Parameters
    ----------
    train_factors : array_like, shape (n_train_tracks, n_factors), float32
    train_artists : array_like, shape (n_train_tracks,), str or int
    artists : array_like, shape (n_tracks,), of the same kind

    Returns
    -------
    numpy.ndarray, shape (n_tracks, n_factors), float32

    Raises
    ------
    DataError
        Not a finite factor matrix, or not one artist for each of its rows.
    """
    factors = check_factors("train factors", train_factors).astype(np.float64)
    names, codes = np.unique(train_artists, return_inverse=True)
    if np.shape(train_artists) != (len(factors),):
        raise DataError(
            f"artists do not match: expected one for each of {len(factors)} training tracks. "
            f"Received: shape {np.shape(train_artists)}."
        )
    sums = np.zeros((len(names), factors.shape[1]))
    np.add.at(sums, codes, factors)
    means = np.vstack((sums / np.bincount(codes)[:, np.newaxis], factors.mean(axis=0))).astype(np.float32)
    wanted = np.asarray(artists)
    places = np.searchsorted(names, wanted).clip(max=len(names) - 1)
    rows = np.where(names[places] == wanted, places, len(names))  # the last row is the mean of all
    return np.asarray(means[rows])
