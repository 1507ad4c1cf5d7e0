"""Gradients of batches that are larger than memory, for losses that look across the whole batch."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cs_keras.errors import ConfigError
from cs_keras.layers.augmentation import RandomGain, SpectrogramMasks

DEPENDENT = (  # layers that look across the batch or draw at random
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    RandomGain,
    SpectrogramMasks,
)


class GradientCachingModel(keras.Model):  # type: ignore[misc]
    """A network whose batches may be larger than memory allows, for losses that look across the whole batch.

    Gao, Zhang, Han & Callan 2021, "Scaling deep contrastive learning batch size under memory limited setup": embed
    the batch in micro-batches without keeping activations, take the loss's gradient by the embeddings, then embed
    again and carry it on to the weights. Twice the forward passes; the same gradients, but for rounding.

    `micro_batch` samples are embedded at a time. The output of `network` for a sample must depend on that sample
    only: a layer that looks across the batch or draws at random raises ConfigError.
    """

    def __init__(self, network: keras.Model, micro_batch: int) -> None:
        super().__init__(network.inputs, network.outputs[0], name=network.name)
        for layer in network.layers:
            if isinstance(layer, DEPENDENT):
                raise ConfigError(
                    "Gradient caching needs a network whose output for a sample depends on that sample alone, "
                    "without batch norm, dropout and augmentation. "
                    f"Received: layer {layer.name!r} ({type(layer).__name__})."
                )
        self.micro_batch = micro_batch

    def train_step(self, data: tuple[Any, Any]) -> dict[str, Any]:
        """Update the weights by one batch of (input, target)."""
        inputs, targets = data
        scale = getattr(self.optimizer, "scale_loss", lambda loss: loss)  # of mixed precision

        def scaled_loss(embeddings: Any) -> Any:
            return scale(self.compute_loss(inputs, targets, embeddings, training=True))

        loss, gradients, embeddings = cached_gradients(self, inputs, scaled_loss, self.micro_batch)
        gradients = _with_penalties(gradients, self, scale)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        loss_tracker = next(metric for metric in self.metrics if metric.name == "loss")
        loss_tracker.update_state(loss / scale(tf.ones(())), sample_weight=tf.shape(inputs)[0])
        metrics: dict[str, Any] = self.compute_metrics(inputs, targets, embeddings)
        return metrics


def cached_gradients(
    network: keras.Model, inputs: Any, loss_of: Callable[[Any], Any], micro_batch: int
) -> tuple[Any, list[Any], Any]:
    """Return a loss over a whole batch and its gradients, holding activations of `micro_batch` samples at a time.

    Works eagerly and inside ``tf.function``; see `GradientCachingModel` for source and conditions. `loss_of` maps
    the embeddings of the whole batch to a scalar. Returned are the loss, gradients in the order of
    ``network.trainable_variables``, and embeddings, shape (batch, n_dimensions), float32.
    """
    n = tf.shape(inputs)[0]
    n_steps = (n + micro_batch - 1) // micro_batch
    weights = network.trainable_variables

    def embed(step: Any) -> Any:
        part = inputs[step * micro_batch : (step + 1) * micro_batch]
        return tf.cast(network(part, training=True), tf.float32)

    def collect(step: Any, parts: Any) -> tuple[Any, Any]:
        return step + 1, parts.write(step, embed(step))

    width = network.output_shape[-1]
    parts = tf.TensorArray(tf.float32, n_steps, infer_shape=False, element_shape=(None, width))
    _, parts = tf.while_loop(lambda step, _: step < n_steps, collect, (0, parts), parallel_iterations=1)
    embeddings = parts.concat()
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = loss_of(embeddings)
    cached = tape.gradient(loss, embeddings)

    def accumulate(step: Any, *sums: Any) -> tuple[Any, ...]:
        with tf.GradientTape() as tape:
            outputs = embed(step)
        part = cached[step * micro_batch : (step + 1) * micro_batch]
        gradients = tape.gradient(
            outputs,
            [weight.value for weight in weights],
            output_gradients=part,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return step + 1, *(total + gradient for total, gradient in zip(sums, gradients, strict=True))

    sums = [tf.zeros(weight.shape, weight.dtype) for weight in weights]
    _, *gradients = tf.while_loop(
        lambda step, *_: step < n_steps, accumulate, (0, *sums), parallel_iterations=1
    )
    return loss, gradients, embeddings


def _with_penalties(gradients: list[Any], network: keras.Model, scale: Callable[[Any], Any]) -> list[Any]:
    """Add the gradients of penalties on the weights, which do not pass through the embeddings."""
    weights = network.trainable_variables
    if not any(weight.regularizer for weight in weights):
        return gradients
    with tf.GradientTape() as tape:
        penalty = scale(
            tf.add_n([weight.regularizer(weight.value) for weight in weights if weight.regularizer])
        )
    added = tape.gradient(
        penalty, [weight.value for weight in weights], unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return [gradient + more for gradient, more in zip(gradients, added, strict=True)]
