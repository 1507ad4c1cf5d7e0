"""Triplets of tracks and losses over them: offline sampling and online mining.

Similar means near by cosine distance of factors; the learnt distance is the squared Euclidean one of embeddings of
length 1, 0 to 4. For a triplet of anchor a, positive p and negative n the loss is ``max(d(a, p) - d(a, n) +
margin, 0)`` (Schroff, Kalenichenko & Philbin 2015, "FaceNet", equation 3). Embeddings that are all the same have
a loss of exactly `margin`: compare every loss with it, and look at `EmbeddingSpread`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras.errors import DataError

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]

BLOCK_ENTRIES = 2**24  # distances held at a time: 64 MB
# Of the other tracks at most, so that positives and negatives are separate in small sets.
NEAREST_SHARE, FARTHEST_SHARE = 0.1, 0.25
POSITIVE_SHARE, NEGATIVE_SHARE = 0.05, 0.5  # of a batch's other tracks


class Candidates(NamedTuple):
    """Rows of each track's nearest others, in order, and of its farthest: shape (n_tracks, n) each, int32."""

    nearest: Indices
    farthest: Indices


def find_candidates(factors: Floats, n_nearest: int = 20, n_farthest: int = 500) -> Candidates:
    """Find each track's nearest and farthest others by cosine distance of factors, a block of tracks at a time.

    Parameters
    ----------
    factors
        Shape (n_tracks, n_factors), of tracks that have factors.
    n_nearest, n_farthest
        Numbers of candidates, from the reference thesis (Pohl 2019, section 6.5) with 53,202 tracks; at most a
        tenth of the tracks are near and a quarter far, at least one each.

    Returns
    -------
    Candidates
        No track is its own candidate, and none is both near and far. Ties go to the lower row.

    Raises
    ------
    DataError
        There are fewer than three tracks.
    """
    n = len(factors)
    if n < 3:
        raise DataError(f"Triplets need at least three tracks with factors. Received: {n}.")
    n_nearest = min(n_nearest, max(1, int(NEAREST_SHARE * (n - 1))))
    n_farthest = min(n_farthest, max(1, int(FARTHEST_SHARE * (n - 1))))
    unit = _unit(factors)
    nearest, farthest = np.empty((n, n_nearest), np.int32), np.empty((n, n_farthest), np.int32)
    block = max(1, BLOCK_ENTRIES // n)
    for first in range(0, n, block):
        rows = np.arange(first, min(first + block, n))
        distance = 1 - unit[rows] @ unit.T
        distance[np.arange(len(rows)), rows] = np.inf
        nearest[rows] = _smallest(distance, n_nearest)
        distance[np.arange(len(rows)), rows] = -np.inf
        farthest[rows] = _smallest(-distance, n_farthest)
    return Candidates(nearest, farthest)


def draw_triplets(
    candidates: Candidates, seed: int, epoch: int = 0, anchors: npt.NDArray[Any] | None = None
) -> npt.NDArray[np.int64]:
    """Draw a positive and a negative for each anchor: rows of all three, shape (n_triplets, 3), int64.

    `anchors`, shape (n_triplets,), may repeat rows; by default each track is one, in random order. The same seed
    and epoch give the same triplets.
    """
    rng = np.random.default_rng([seed, epoch, 1])  # crops of the epoch are drawn from [seed, epoch]
    anchor = rng.permutation(len(candidates.nearest)) if anchors is None else anchors
    positive = candidates.nearest[anchor, rng.integers(0, candidates.nearest.shape[1], len(anchor))]
    negative = candidates.farthest[anchor, rng.integers(0, candidates.farthest.shape[1], len(anchor))]
    triplets: npt.NDArray[np.int64] = np.stack([anchor, positive, negative], axis=1).astype(np.int64)
    return triplets


def offline_losses(embeddings: Any, margin: float) -> Any:
    """Return each triplet's loss, shape (n_triplets,), float32.

    `embeddings` are those of anchor, positive, negative, anchor …, shape (3 * n_triplets, n_dimensions).
    """
    triplets = tf.reshape(tf.cast(embeddings, tf.float32), (-1, 3, embeddings.shape[-1]))
    anchor, positive, negative = tf.unstack(triplets, axis=1)
    near = tf.reduce_sum(tf.square(anchor - positive), axis=1)
    far = tf.reduce_sum(tf.square(anchor - negative), axis=1)
    return tf.maximum(near - far + margin, 0.0)


def in_batch_pairs(factors: Any) -> tuple[Any, Any]:
    """Return the positives and negatives of each track of a batch with `factors`, shape (batch, n_factors).

    A batch of 1,000 of 53,202 tracks holds hardly any of an anchor's 20 nearest, so the nearest *of the batch*
    replace them: of the other tracks the nearest 5 % are positives, the farthest 50 % negatives, at least one each
    (all ties at the border count), and those between are neither. Both results have shape (batch, batch), bool: row
    anchor, column the other.
    """
    unit = tf.math.l2_normalize(tf.cast(factors, tf.float32), axis=1)
    distance = 1.0 - tf.matmul(unit, unit, transpose_b=True)
    n_others = tf.shape(distance)[0] - 1
    is_self = tf.eye(n_others + 1, dtype=tf.bool)
    ranked = tf.sort(tf.where(is_self, np.inf, distance), axis=1)
    last_positive = _share_of(n_others, POSITIVE_SHARE) - 1
    first_negative = n_others - _share_of(n_others, NEGATIVE_SHARE)
    is_positive = (distance <= ranked[:, last_positive, tf.newaxis]) & ~is_self
    is_negative = (distance >= ranked[:, first_negative, tf.newaxis]) & ~is_self & ~is_positive
    return is_positive, is_negative


def squared_distances(embeddings: Any) -> Any:
    """Return squared Euclidean distances within a batch, (batch, n_dimensions) to (batch, batch), float32, >= 0."""
    embeddings = tf.cast(embeddings, tf.float32)
    squares = tf.reduce_sum(tf.square(embeddings), axis=1)
    products = tf.matmul(embeddings, embeddings, transpose_b=True)
    return tf.maximum(squares[:, tf.newaxis] - 2.0 * products + squares[tf.newaxis, :], 0.0)


def batch_hard_losses(embeddings: Any, is_positive: Any, is_negative: Any, margin: float) -> tuple[Any, Any]:
    """Mine each anchor's farthest positive and nearest negative.

    Hermans, Beyer & Leibe 2017, "In defense of the triplet loss for person re-identification", equation 5. Return
    losses, shape (batch,), float32, and which of them are of a triplet, bool: an anchor without a positive or
    without a negative has none, and a loss of 0.
    """
    distance = squared_distances(embeddings)
    hardest_positive = tf.reduce_max(tf.where(is_positive, distance, -np.inf), axis=1)
    hardest_negative = tf.reduce_min(tf.where(is_negative, distance, np.inf), axis=1)
    is_triplet = tf.reduce_any(is_positive, axis=1) & tf.reduce_any(is_negative, axis=1)
    # Infinities must not meet: their difference has no gradient, whether or not it is used.
    near = tf.where(is_triplet, hardest_positive, 0.0)
    far = tf.where(is_triplet, hardest_negative, 0.0)
    return tf.where(is_triplet, tf.maximum(near - far + margin, 0.0), 0.0), is_triplet


def semi_hard_losses(embeddings: Any, is_positive: Any, is_negative: Any, margin: float) -> tuple[Any, Any]:
    """Mine, for each anchor and positive, the nearest negative that lies farther than the positive.

    Where all negatives lie nearer it is the farthest of them. Schroff, Kalenichenko & Philbin 2015, section 3.2.
    Return losses, shape (batch, batch), float32, row anchor, column positive, and which of them are of a triplet.
    """
    distance = squared_distances(embeddings)
    beyond = 1.0 + tf.reduce_max(distance)  # sorts after every negative
    negatives = tf.sort(tf.where(is_negative, distance, beyond), axis=1)
    n_negatives = tf.reduce_sum(tf.cast(is_negative, tf.int32), axis=1, keepdims=True)
    position = tf.searchsorted(tf.stop_gradient(negatives), tf.stop_gradient(distance), side="right")
    position = tf.clip_by_value(position, 0, tf.maximum(n_negatives - 1, 0))
    far = tf.gather(negatives, position, axis=1, batch_dims=1)
    is_triplet = is_positive & (n_negatives > 0)
    return tf.where(is_triplet, tf.maximum(distance - far + margin, 0.0), 0.0), is_triplet


def mean_loss(losses: Any, is_triplet: Any) -> Any:
    """Return the mean loss over triplets, a scalar; 0 where there is none."""
    count = tf.reduce_sum(tf.cast(is_triplet, tf.float32))
    return tf.reduce_sum(losses) / tf.maximum(count, 1.0)


def active_share(losses: Any, is_triplet: Any) -> Any:
    """Return the share of triplets with a positive loss, hence a gradient, a scalar from 0 to 1."""
    active = tf.cast(is_triplet & (losses > 0.0), tf.float32)
    return mean_loss(active, is_triplet)


def mine_triplets(mining: str, margin: float) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return a function of (factors, embeddings), both of a batch, to losses and which of them are of a triplet.

    With ``offline`` mining the batch holds anchor, positive, negative, anchor …, and factors are ignored; with
    ``semi_hard`` or ``batch_hard`` it holds any tracks.
    """

    def losses_of(factors: Any, embeddings: Any) -> tuple[Any, Any]:
        if mining == "offline":
            losses = offline_losses(embeddings, margin)
            return losses, tf.ones_like(losses, tf.bool)
        mine = {"semi_hard": semi_hard_losses, "batch_hard": batch_hard_losses}[mining]
        return mine(embeddings, *in_batch_pairs(factors), margin)

    return losses_of


def make_triplet_loss(mining: str, margin: float) -> Callable[[Any, Any], Any]:
    """Return a loss of (factors, embeddings) to a scalar, the mean over triplets; see `mine_triplets`."""
    mine = mine_triplets(mining, margin)
    return lambda factors, embeddings: mean_loss(*mine(factors, embeddings))


def _unit(factors: Floats) -> Floats:
    """Return rows of length 1; a row of zeros stays, at distance 1 from all."""
    length = np.linalg.norm(factors, axis=1, keepdims=True)
    return np.asarray(factors / np.where(length > 0, length, 1), np.float32)


def _smallest(values: Floats, k: int) -> Indices:
    """Return columns of the `k` smallest of each row, in order, ties by column, shape (n_rows, k)."""
    border = np.partition(values, k - 1, axis=1)[:, k - 1 : k]
    found = np.empty((len(values), k), np.int32)
    for row, (line, limit) in enumerate(zip(values, border, strict=True)):
        within = np.flatnonzero(line <= limit)
        found[row] = within[np.argsort(line[within], kind="stable")[:k]]
    return found


def _share_of(n: Any, share: float) -> Any:
    return tf.maximum(1, tf.cast(tf.cast(n, tf.float32) * share, tf.int32))
