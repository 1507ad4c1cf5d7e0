"""Contrastive losses of predicted factors, which compare each track with the others of its batch.

Examples are track numbers (`cs_keras.training.prediction_error.make_track_numbers`), so that sequences of one track
are never compared with each other. Predictions are scaled back first: losses are of the space in which lists of
similar tracks are made.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras.factors.scaling import Scaler
from cs_keras.training.losses import FunctionLoss

Floats = npt.NDArray[np.float32]


def info_nce(
    item_factors: Floats, scaler: Scaler, temperature: float, log_prior: Floats | None = None
) -> keras.losses.Loss:
    """Return InfoNCE between predictions and reference factors, of (rows, outputs) to (batch,), float32.

    With the prediction p_i and the reference factors y_j of tracks i and j of a batch, it is the cross-entropy of
    finding a track's own factors among those of the batch (van den Oord, Li & Vinyals 2018; between content and
    collaborative embeddings: CLCRec, Wei et al. 2021)::

        -log softmax_j(cos(p_i, y_j) / temperature - log_prior_j) at j = i

    Tracks of a batch are drawn evenly. Without `log_prior` the cosine therefore learns how much likelier factors
    are for this audio than for any; with the logarithm of the tracks' popularity (the logQ correction, Yi et al.
    2019), how likely they are to be played.

    Parameters
    ----------
    item_factors
        Reference factors, shape (n_tracks, n_factors), unscaled.
    scaler
        Scaling of the network's outputs, inverted here.
    temperature
        Divisor of cosines, above 0.
    log_prior
        What is subtracted from the logits of a track as a candidate, shape (n_tracks,); None for 0.
    """
    directions = tf.math.l2_normalize(tf.constant(item_factors, tf.float32), axis=1)
    prior = tf.constant(np.zeros(len(item_factors)) if log_prior is None else log_prior, tf.float32)

    def loss(rows: Any, outputs: Any) -> Any:
        row = tf.cast(rows[:, 0], tf.int64)
        predicted = tf.math.l2_normalize(unscale(outputs, scaler), axis=1)
        cosines = tf.matmul(predicted, tf.gather(directions, row), transpose_b=True)
        return cross_entropy(cosines / temperature - tf.gather(prior, row), other_tracks(row))

    return FunctionLoss(loss, "infonce")


def unscale(outputs: Any, scaler: Scaler) -> Any:
    """Scale outputs, shape (batch, n_factors), back to the space of the factors, float32."""
    offset, scale = (tf.constant(values, tf.float32) for values in (scaler.offset, scaler.scale))
    return tf.cast(outputs, tf.float32) * scale + offset


def other_tracks(row: Any) -> Any:
    """Return which examples of a batch are of other tracks, shape (batch, batch), bool, from rows, (batch,)."""
    return row[:, tf.newaxis] != row[tf.newaxis]


def cross_entropy(logits: Any, is_negative: Any) -> Any:
    """Return the cross-entropy of the diagonal among `is_negative`, from (batch, batch) to (batch,), float32."""
    positive = tf.linalg.diag_part(logits)
    negatives = tf.where(is_negative, logits, logits.dtype.min)
    return tf.reduce_logsumexp(tf.concat([positive[:, tf.newaxis], negatives], axis=1), axis=1) - positive
