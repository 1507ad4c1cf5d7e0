"""Batch norms with the weights and settings of Keras's: a faster one, and one that keeps its statistics."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("cs_keras")
class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch norm over all axes but the last, whose training step is one operation of oneDNN or cuDNN.

    Results, gradients and moving statistics are those of ``keras.layers.BatchNormalization``, which in Keras 3
    takes a dozen operations that each read all activations: a third of the training time of a CNN on a CPU.
    Where replicas share statistics, where samples are masked, and in prediction, it is that layer.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return `inputs` normalised, shape (..., n_channels), and in training update the moving statistics."""
        is_fused = self.scale and self.center and self.axis in (-1, len(inputs.shape) - 1)
        if not (training and self.trainable and is_fused) or self.synchronized or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        n_channels = inputs.shape[-1]
        images = inputs if len(inputs.shape) == 4 else tf.reshape(inputs, (-1, 1, 1, n_channels))
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=ops.cast(self.gamma, "float32"),
            offset=ops.cast(self.beta, "float32"),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=self.epsilon,
            is_training=True,
        )
        n = ops.cast(tf.size(images) // n_channels, "float32")
        self._update(self.moving_mean, mean)
        self._update(self.moving_variance, variance * (n - 1.0) / n)  # of the population, as Keras's
        return outputs if len(inputs.shape) == 4 else tf.reshape(outputs, tf.shape(inputs))

    def _update(self, moving: Any, value: Any) -> None:
        moving.assign(moving * self.momentum + value * (1.0 - self.momentum))


@keras.saving.register_keras_serializable("cs_keras")
class FixedStatisticsNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch norm for fine-tuning: it always uses its moving statistics and never updates them.

    Weights and settings are those of ``keras.layers.BatchNormalization``. Calling a model with ``training=False``
    does not replace it: in Keras 3 a functional model that is being trained passes ``training=True`` to all its
    layers.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return `inputs` normalised; `training` is ignored."""
        return super().call(inputs, training=False, mask=mask)


def fix_statistics(model: keras.Model) -> keras.Model:
    """Return a copy of functional `model`, with its weights, whose batch norms keep their statistics."""

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        kind = FixedStatisticsNormalization if is_norm else type(layer)
        return kind.from_config(layer.get_config())

    fixed = keras.models.clone_model(model, clone_function=copy)
    fixed.set_weights(model.get_weights())
    return fixed
