"""Choice of the sequence within an excerpt: by energy, spectral entropy or novelty."""

from typing import Any

import tensorflow as tf

from cs_keras.data.windows import SequenceConfig

POSITIONS = 4  # candidates begin this part of a sequence apart


def select_sequences(excerpts: Any, n_frames: Any, sequence: SequenceConfig) -> Any:
    """Return the sequence of each excerpt with the highest mean score; of equal ones the first.

    With the magnitudes x of a frame, its energy is ``Σ x²``, its entropy that of the power spectrum,
    ``-Σ p log p`` with ``p = x² / Σ x²``, and its novelty the spectral flux ``Σ max(0, log(1 + x) - log(1 + x'))``,
    where x' is the frame before it in the excerpt, and 0 for the first (Müller 2015, "Fundamentals of Music
    Processing", section 6.1). Candidates begin a quarter of a sequence apart.

    Parameters
    ----------
    excerpts : tensor, shape (batch, sequence.excerpt_frames, frame_size)
        Frames as they were read, of any float dtype.
    n_frames : tensor, shape (batch,), int64
        Frames of each excerpt that lie in its track; the others are padding, which is selected only where a track
        is shorter than a sequence.
    sequence : SequenceConfig

    Returns
    -------
    tensor, shape (batch, sequence.frames, frame_size), dtype of `excerpts`
        The excerpts themselves where ``sequence.select`` is "random".
    """
    if sequence.select == "random":
        return excerpts
    n, last = sequence.frames, sequence.excerpt_frames - sequence.frames
    scores = tf.cast(_SCORES[sequence.select](tf.cast(excerpts, tf.float32)), tf.float64)
    sums = tf.cumsum(tf.pad(scores, [[0, 0], [1, 0]]), axis=1)
    starts = tf.range(0, last + 1, max(1, n // POSITIONS), dtype=tf.int64)
    of_candidates = tf.gather(sums, starts + n, axis=1) - tf.gather(sums, starts, axis=1)
    fits = starts[tf.newaxis] <= tf.maximum(n_frames - n, 0)[:, tf.newaxis]
    best = tf.gather(starts, tf.argmax(tf.where(fits, of_candidates, -1.0), axis=1))
    return tf.gather(excerpts, best[:, tf.newaxis] + tf.range(n, dtype=tf.int64), axis=1, batch_dims=1)


def _energy(x: Any) -> Any:
    return tf.reduce_sum(tf.square(x), axis=2)


def _entropy(x: Any) -> Any:
    power = tf.square(x)
    share = tf.math.divide_no_nan(power, tf.reduce_sum(power, axis=2, keepdims=True))
    return -tf.reduce_sum(tf.math.xlogy(share, share), axis=2)


def _novelty(x: Any) -> Any:
    level = tf.math.log1p(x)
    return tf.pad(tf.reduce_sum(tf.nn.relu(level[:, 1:] - level[:, :-1]), axis=2), [[0, 0], [1, 0]])


_SCORES = {"energy": _energy, "entropy": _entropy, "novelty": _novelty}
