"""The weighted prediction error: a loss of predicted factors on the interactions themselves.

Van den Oord, Dieleman & Schrauwen 2013, "Deep content-based music recommendation", equation 5: over all playlists u
of the confidences c and preferences p of weighted matrix factorisation (Hu, Koren & Volinsky 2008), the loss of a
track's predicted factors y is ``sum_u c_u (p_u - x_u·y)²``. Playlists without the track have c = 1 and p = 0, so

    sum_u c_u (p_u - x_u·y)² = y·(X'X)y + sum_{u with the track} [c_u (1 - x_u·y)² - (x_u·y)²]

and a batch costs as much as its tracks have playlists, however many playlists there are.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import scipy.sparse
import tensorflow as tf

from cs_keras.factors.scaling import Scaler
from cs_keras.training.losses.objective import FunctionLoss

MAX_TRACKS = 1 << 24  # rows are passed to the loss as float32, which is exact up to here


def make_track_numbers(n_tracks: int) -> npt.NDArray[np.float32]:
    """Return the targets of `weighted_prediction_error`: each track's row, shape (n_tracks, 1), float32."""
    return np.arange(n_tracks, dtype=np.float32)[:, np.newaxis]


def weighted_prediction_error(
    user_items: scipy.sparse.csr_matrix,
    playlist_factors: npt.NDArray[np.float32],
    scaler: Scaler,
    alpha: float,
) -> keras.losses.Loss:
    """Return the loss of (rows, outputs): shapes (batch, 1) and (batch, n_factors) to (batch,), float32.

    It is divided by the mean of ``sum_u c_u p_u²`` over tracks with interactions, so that factors of zero score
    1 on average for any number of playlists, and the learning rate need not depend on the data.

    Parameters
    ----------
    user_items
        Counts, shape (n_playlists, n_tracks); columns of tracks that no batch holds may be empty.
    playlist_factors
        X, shape (n_playlists, n_factors): unscaled.
    scaler
        Scaling of the network's outputs, inverted here.
    alpha
        Weight of the confidence ``c = 1 + alpha r``.
    """
    by_track = scipy.sparse.csc_matrix(user_items)
    splits = tf.constant(by_track.indptr.astype(np.int64))
    playlists = tf.constant(by_track.indices.astype(np.int64))
    confidence = tf.constant((1 + alpha * by_track.data).astype(np.float32))
    x = tf.constant(playlist_factors, tf.float32)
    gram = tf.constant((playlist_factors.astype(np.float64).T @ playlist_factors).astype(np.float32))
    offset, scale = (tf.constant(values, tf.float32) for values in (scaler.offset, scaler.scale))
    n_played = max(1, int((np.diff(by_track.indptr) > 0).sum()))
    unit = float(np.sum(1 + alpha * by_track.data.astype(np.float64)) / n_played)

    def loss(rows: Any, outputs: Any) -> Any:
        row = tf.cast(rows[:, 0], tf.int64)
        factors = tf.cast(outputs, tf.float32) * scale + offset
        first, count = tf.gather(splits, row), tf.gather(splits, row + 1) - tf.gather(splits, row)
        pairs = tf.ragged.range(first, first + count)
        track = pairs.value_rowids()
        products = tf.reduce_sum(
            tf.gather(x, tf.gather(playlists, pairs.values)) * tf.gather(factors, track), axis=1
        )
        weight = tf.gather(confidence, pairs.values)
        with_track = weight * tf.square(1.0 - products) - tf.square(products)
        everywhere = tf.reduce_sum(tf.matmul(factors, gram) * factors, axis=1)
        return (everywhere + tf.math.unsorted_segment_sum(with_track, track, tf.shape(factors)[0])) / unit

    return FunctionLoss(loss, "wpe")
