"""Losses of predicted factors on playlists: listeners' histories, and rankings of the tracks of a batch.

Examples are track numbers, and predictions are scaled back first, as in `cs_keras.training.losses.contrastive`.
Of each track `N_DRAWN` of its playlists are drawn, evenly and with replacement. What is drawn follows from the
tracks of the batch alone: a resumed training continues with the same playlists, and validation losses of all epochs
are of the same ones. A track without playlists adds nothing.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import scipy.sparse
import tensorflow as tf

from cs_keras.factors.scaling import Scaler
from cs_keras.training.losses.contrastive import cross_entropy, masked_mean, unscale
from cs_keras.training.losses.objective import FunctionLoss

N_DRAWN = 8  # playlists of each track in a batch

Floats = npt.NDArray[np.float32]


class PlaylistIndex:
    """Draws playlists of tracks, and looks up which playlists hold which tracks.

    Parameters
    ----------
    user_items
        Counts, shape (n_playlists, n_tracks).
    can_be_drawn
        Which of the stored entries can be drawn, shape (n_playlists, n_tracks) with the same or fewer entries.
    """

    def __init__(self, user_items: scipy.sparse.csr_matrix, can_be_drawn: scipy.sparse.csr_matrix) -> None:
        self._n_tracks = user_items.shape[1]
        playlists, tracks = user_items.nonzero()
        self._pairs = tf.constant(np.sort(playlists.astype(np.int64) * self._n_tracks + tracks))
        by_track = scipy.sparse.csc_matrix(can_be_drawn)
        self._splits = tf.constant(by_track.indptr.astype(np.int64))
        self._playlists = tf.constant(by_track.indices.astype(np.int64))

    def draw(self, row: Any) -> tuple[Any, Any]:
        """Draw playlists of tracks `row`, (batch,): (batch, `N_DRAWN`), int64; and whether tracks have any."""
        first, count = (
            tf.gather(self._splits, row),
            tf.gather(self._splits, row + 1) - tf.gather(self._splits, row),
        )
        position = tf.range(1, tf.shape(row)[0] + 1, dtype=tf.int64)
        seed = tf.stack([tf.reduce_sum(row * position), tf.reduce_sum(row)])
        # The same numbers on CPUs and GPUs.
        share = tf.random.stateless_uniform((tf.shape(row)[0], N_DRAWN), seed, alg="philox")
        chosen = tf.cast(share * tf.cast(count, tf.float32)[:, tf.newaxis], tf.int64)
        chosen = first[:, tf.newaxis] + tf.minimum(chosen, count[:, tf.newaxis] - 1)  # a product may round up
        return tf.gather(self._playlists, tf.maximum(chosen, 0)), count > 0

    def holds(self, playlists: Any, row: Any) -> Any:
        """Return which `playlists`, (n,), hold which tracks `row`, (batch,): (n, batch), bool."""
        wanted = tf.reshape(playlists[:, tf.newaxis] * self._n_tracks + row[tf.newaxis], [-1])
        at = tf.searchsorted(self._pairs, wanted)
        found = tf.gather(self._pairs, tf.minimum(at, tf.shape(self._pairs)[0] - 1)) == wanted
        return tf.reshape(found, (tf.shape(playlists)[0], tf.shape(row)[0]))


def history_info_nce(
    item_factors: Floats,
    scaler: Scaler,
    user_items: scipy.sparse.csr_matrix,
    is_train: npt.NDArray[np.bool_],
    temperature: float,
    correction: float,
) -> keras.losses.Loss:
    """Return InfoNCE between predictions and histories of listeners, of (rows, outputs) to (batch,), float32.

    A history h is the sum of the factors of a playlist's train tracks without the track itself (their mean has the
    same cosines). Negatives of a track are the histories that were drawn for other tracks of the batch and do not
    hold it (after LARP, Salganik et al. 2024, whose playlists are averages of their tracks' embeddings)::

        -log softmax_v(cos(p_i, h_v) / temperature - correction * log Q_v) at a drawn v = u

    Q_u is the rate at which a playlist is drawn as a negative: ``sum_{i in u} 1 / (number of playlists of i)`` over
    its train tracks.

    Parameters
    ----------
    item_factors
        Reference factors, shape (n_tracks, n_factors), unscaled.
    scaler
        Scaling of the network's outputs, inverted here.
    user_items
        Counts, shape (n_playlists, n_tracks).
    is_train
        Whether tracks are train tracks, shape (n_tracks,).
    temperature
        Divisor of cosines, above 0.
    correction
        Weight of ``log Q`` (Yi et al. 2019), 0 to 1.
    """
    held = scipy.sparse.csr_matrix(user_items > 0, dtype=np.float64)
    of_train = held.multiply(is_train).tocsr()
    sums = (of_train @ item_factors.astype(np.float64)).astype(np.float32)
    n_others = held.multiply(of_train.sum(axis=1)) - of_train
    index = PlaylistIndex(held, scipy.sparse.csr_matrix(n_others > 0))
    rate = of_train @ (1 / np.maximum(held.sum(axis=0), 1)).A1
    log_rate = tf.constant(correction * np.log(np.where(rate > 0, rate, 1)), tf.float32)
    histories, own = tf.constant(sums), tf.constant(item_factors * is_train[:, np.newaxis], tf.float32)

    def loss(rows: Any, outputs: Any) -> Any:
        row = tf.cast(rows[:, 0], tf.int64)
        predicted = tf.math.l2_normalize(unscale(outputs, scaler), axis=1)
        drawn, has = index.draw(row)
        playlists = tf.reshape(drawn, [-1])
        without = tf.gather(histories, drawn) - tf.gather(own, row)[:, tf.newaxis]
        directions = tf.reshape(tf.math.l2_normalize(without, axis=2), (-1, without.shape[2]))
        logits = tf.matmul(predicted, directions, transpose_b=True) / temperature - tf.gather(
            log_rate, playlists
        )
        is_negative = ~tf.transpose(index.holds(playlists, row)) & tf.repeat(has, N_DRAWN)
        n = tf.shape(row)[0]
        positive = tf.linalg.diag_part(tf.transpose(tf.reshape(logits, (n, n, N_DRAWN)), (2, 0, 1)))
        each = [cross_entropy(positive[number], logits, is_negative) for number in range(N_DRAWN)]
        return tf.add_n(each) / N_DRAWN * tf.cast(has, tf.float32)

    return FunctionLoss(loss, "infonce_histories")


def bpr(
    playlist_factors: Floats,
    scaler: Scaler,
    user_items: scipy.sparse.csr_matrix,
    temperature: float,
    dislikes: scipy.sparse.csr_matrix | None = None,
) -> keras.losses.Loss:
    """Return Bayesian personalised ranking, of (rows, outputs) to (batch,), float32.

    For playlists u that hold track i, and the tracks j of the batch that they do not hold, it is the mean of
    ``-log sigmoid((x_u·p_i - x_u·p_j) / temperature)`` (Rendle et al. 2009), with fixed playlist factors x and
    predictions p. All pairs of a batch are used, where the source draws one. With `dislikes`, tracks j are those
    of the batch that the playlist's listener dislikes, in place of all that the playlist lacks: both tracks of a
    pair are known to the listener.

    Parameters
    ----------
    playlist_factors
        Shape (n_playlists, n_factors), unscaled; a playlist of zeros is never drawn.
    scaler
        Scaling of the network's outputs, inverted here.
    user_items
        Counts, shape (n_playlists, n_tracks).
    temperature
        Divisor of dot products, above 0.
    dislikes
        Stored entries are dislikes, shape (n_playlists, n_tracks), at least one; playlists without any are not
        drawn.
    """

    def of_scores(positive: Any, scores: Any, is_negative: Any, row: Any) -> Any:
        return masked_mean(tf.math.softplus(scores - positive[:, tf.newaxis]), is_negative)

    return _ranking_loss("bpr", playlist_factors, scaler, user_items, temperature, of_scores, dislikes)


def sampled_softmax(
    playlist_factors: Floats,
    scaler: Scaler,
    user_items: scipy.sparse.csr_matrix,
    temperature: float,
    log_prior: Floats | None = None,
    dislikes: scipy.sparse.csr_matrix | None = None,
) -> keras.losses.Loss:
    """Return the softmax over the tracks of a batch, of (rows, outputs) to (batch,), float32.

    For playlists u that hold track i, among the tracks j of the batch that they do not hold::

        -log softmax_j(x_u·p_j / temperature - log_prior_j) at j = i

    Without `log_prior` the dot product learns how much likelier a track is in this playlist than in any; with the
    logarithm of the tracks' popularity (the logQ correction: Bengio & Senécal 2008, Yi et al. 2019), how likely it
    is there, as dot products of the reference do.

    Parameters
    ----------
    playlist_factors, scaler, user_items, temperature, dislikes
        As for `bpr`.
    log_prior
        What is subtracted from the logits of a track, shape (n_tracks,); None for 0.
    """
    prior = tf.constant(np.zeros(user_items.shape[1]) if log_prior is None else log_prior, tf.float32)

    def of_scores(positive: Any, scores: Any, is_negative: Any, row: Any) -> Any:
        own = tf.gather(prior, row)
        return cross_entropy(positive - tf.repeat(own, N_DRAWN), scores - own, is_negative)

    return _ranking_loss(
        "sampled_softmax", playlist_factors, scaler, user_items, temperature, of_scores, dislikes
    )


def _ranking_loss(
    name: str,
    playlist_factors: Floats,
    scaler: Scaler,
    user_items: scipy.sparse.csr_matrix,
    temperature: float,
    of_scores: Callable[[Any, Any, Any, Any], Any],
    dislikes: scipy.sparse.csr_matrix | None,
) -> keras.losses.Loss:
    """Return the mean over drawn playlists of ``of_scores(positive, scores, is_negative, row)``.

    For each drawn playlist, `positive` is the score of the track it was drawn for, (n,), `scores` are those of all
    tracks of the batch, and `is_negative` is whether it lacks them, or with `dislikes` dislikes them, (n, batch).
    """
    usable = np.asarray(playlist_factors.any(axis=1))
    if dislikes is not None:
        usable = usable & (np.diff(dislikes.indptr) > 0)
    can_be_drawn = user_items.multiply(scipy.sparse.csr_matrix(usable[:, np.newaxis]))
    index = PlaylistIndex(user_items, scipy.sparse.csr_matrix(can_be_drawn))
    disliked = None if dislikes is None else PlaylistIndex(dislikes, dislikes)
    x = tf.constant(playlist_factors, tf.float32)

    def loss(rows: Any, outputs: Any) -> Any:
        row = tf.cast(rows[:, 0], tf.int64)
        drawn, has = index.draw(row)
        playlists = tf.reshape(drawn, [-1])
        scores = tf.matmul(tf.gather(x, playlists), unscale(outputs, scaler), transpose_b=True) / temperature
        own = tf.repeat(tf.range(tf.shape(row)[0]), N_DRAWN)
        positive = tf.gather(scores, own, batch_dims=1)
        is_negative = disliked.holds(playlists, row) if disliked else ~index.holds(playlists, row)
        each = of_scores(positive, scores, is_negative, row)
        return tf.reduce_mean(tf.reshape(each, (-1, N_DRAWN)), axis=1) * tf.cast(has, tf.float32)

    return FunctionLoss(loss, name)
