"""Mean and variance of mel bands over train sequences, for `cs_keras.layers.front_end.normalize_bands`."""

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras.layers.front_end import BAND_NORMALIZATION
from cs_keras.training.batch_distribution import prefetch_to_gpu

# In dB²: a band of less counts as constant, as bands narrower than a bin are, and is not divided.
MIN_VARIANCE = 1e-6


def has_band_normalization(model: keras.Model) -> bool:
    """Return whether `model` standardises mel bands."""
    return any(layer.name == BAND_NORMALIZATION for layer in model.layers)


def measure_bands(
    model: keras.Model,
    batches: tf.data.Dataset,
    on_batch: Callable[[int], None] = lambda n_sequences: None,
) -> npt.NDArray[np.float64]:
    """Return mean and variance of each mel band, shape (2, n_mels), float64, in one pass over `batches`.

    `model` is one that standardises mel bands, and `batches` are (sequences, targets); every frame of every
    sequence counts the same. Keras's own ``adapt`` takes batches of levels, so the front end would run in tf.data,
    on the CPU.
    """
    front_end = keras.Model(model.input, model.get_layer(BAND_NORMALIZATION).input)

    def sum_levels(sequences: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        level = tf.cast(front_end(sequences, training=False), tf.float64)
        sums = tf.reduce_sum(tf.stack([level, tf.square(level)]), axis=(1, 2, 4))
        return sums, tf.shape(level)[0] * tf.shape(level)[1]

    run = tf.function(sum_levels, reduce_retracing=True, autograph=False)
    total, n_frames = np.zeros((2, 1)), 0
    for sequences, _ in prefetch_to_gpu(batches):
        more, n = run(sequences)
        total, n_frames = total + more.numpy(), n_frames + int(n)
        on_batch(len(sequences))
    mean, square = total / n_frames
    return np.stack([mean, np.maximum(square - np.square(mean), 0)])


def set_bands(model: keras.Model, statistics: npt.ArrayLike) -> None:
    """Set mean and variance of each mel band, shape (2, n_mels), of a `model` that standardises them.

    Before the model is first run: Keras makes them constants of its graphs.
    """
    mean, variance = np.asarray(statistics)
    layer = model.get_layer(BAND_NORMALIZATION)
    layer.adapt_mean.assign(mean)
    layer.adapt_variance.assign(np.where(variance > MIN_VARIANCE, variance, 1))
    layer.finalize_state()
