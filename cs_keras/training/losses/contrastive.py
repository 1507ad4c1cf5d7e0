"""Contrastive losses of predicted factors, which compare each track with the others of its batch.

Examples are track numbers (`cs_keras.training.losses.prediction_error.make_track_numbers`), so that sequences of
one track are never compared with each other. Predictions are scaled back first: losses are of the space in which
lists of similar tracks are made.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras.factors.scaling import Scaler
from cs_keras.training.losses.objective import FunctionLoss

Floats = npt.NDArray[np.float32]

MIN_SQUARE = 1e-12  # of a distance, whose gradient at 0 is infinite


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
        logits = cosines / temperature - tf.gather(prior, row)
        is_other = row[:, tf.newaxis] != row[tf.newaxis]
        return cross_entropy(tf.linalg.diag_part(logits), logits, is_other)

    return FunctionLoss(loss, "infonce")


def drlim(
    item_factors: Floats, scaler: Scaler, similar: npt.NDArray[np.int64], margin: float
) -> keras.losses.Loss:
    """Return the contrastive loss of pairs of tracks, of (rows, outputs) to (batch,), float32.

    With the Euclidean distance D of a prediction to a track's reference factors, both brought to length 1,
    similar pairs add ``D² / 2`` and others ``max(0, margin - D)² / 2`` (DrLIM: Hadsell, Chopra & LeCun 2006,
    equation 4). The source maps both tracks of a pair; here the second is given by its reference factors, so that
    outputs are in their space. Either kind of pair is averaged, as there are many more dissimilar ones.

    Parameters
    ----------
    item_factors
        Reference factors, shape (n_tracks, n_factors), unscaled.
    scaler
        Scaling of the network's outputs, inverted here.
    similar
        Similar tracks of each track, shape (n_tracks, n). All others of a batch are dissimilar.
    margin
        Distance beyond which dissimilar tracks do not repel each other: above 0, at most 2.
    """
    directions = tf.math.l2_normalize(tf.constant(item_factors, tf.float32), axis=1)
    similar_to = tf.constant(similar)

    def loss(rows: Any, outputs: Any) -> Any:
        row = tf.cast(rows[:, 0], tf.int64)
        predicted = tf.math.l2_normalize(unscale(outputs, scaler), axis=1)
        near = tf.gather(similar_to, row)
        attracted = tf.reduce_mean(
            1.0 - tf.einsum("bf,bnf->bn", predicted, tf.gather(directions, near)), axis=1
        )
        cosines = tf.matmul(predicted, tf.gather(directions, row), transpose_b=True)
        distance = tf.sqrt(tf.maximum(2.0 - 2.0 * cosines, MIN_SQUARE))
        is_far = tf.reduce_all(near[:, tf.newaxis] != row[tf.newaxis, :, tf.newaxis], axis=2)
        return attracted + masked_mean(tf.square(tf.nn.relu(margin - distance)) / 2.0, is_far)

    return FunctionLoss(loss, "drlim")


def unscale(outputs: Any, scaler: Scaler) -> Any:
    """Scale outputs, shape (batch, n_factors), back to the space of the factors, float32."""
    offset, scale = (tf.constant(values, tf.float32) for values in (scaler.offset, scaler.scale))
    return tf.cast(outputs, tf.float32) * scale + offset


def cross_entropy(positive: Any, negatives: Any, is_negative: Any) -> Any:
    """Return ``-log softmax`` of logits `positive`, (n,), each among its row of `negatives`, (n, m), to (n,).

    Only negatives where `is_negative`, (n, m), count; without any the loss is 0.
    """
    masked = tf.where(is_negative, negatives, negatives.dtype.min)
    return tf.math.softplus(tf.reduce_logsumexp(masked, axis=1) - positive)


def masked_mean(values: Any, mask: Any) -> Any:
    """Return the mean of each row's `values` where `mask`, both (n, m), to (n,); 0 of none."""
    weights = tf.cast(mask, values.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(values * weights, axis=1), tf.reduce_sum(weights, axis=1))
