"""Pooling along time by chance: the stronger an activation, the likelier it is the one handed on."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("cs_keras")
class StochasticPooling1D(keras.layers.Layer):  # type: ignore[misc]
    """Hand on one activation of each stretch of steps, drawn in proportion to the activations.

    Zeiler & Fergus 2013, "Stochastic pooling for regularization of deep convolutional neural networks", equations 4
    to 6: in training activation a_i is drawn with probability ``p_i = a_i / sum(a)``, each channel for itself; in
    prediction it is the mean by these weights, ``sum(p_i a_i)``. Where all are 0 it is 0.

    Input shape (batch, steps, n), 0 or more; output shape (batch, ceil(steps / pool_size), n), computed in float32.
    At the end the last stretch has fewer steps where they do not divide evenly.

    Parameters
    ----------
    pool_size
        Steps of a stretch.
    """

    def __init__(self, pool_size: int, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.pool_size = pool_size
        self._seeds = keras.random.SeedGenerator()

    def call(self, activations: Any, training: bool = False) -> Any:
        """Return the stretches' activations, drawn when `training`."""
        steps, n = activations.shape[1:]
        n_stretches = -(-steps // self.pool_size)
        short = n_stretches * self.pool_size - steps
        x = ops.pad(activations, ((0, 0), (0, short), (0, 0)))  # zeros are never drawn and weigh nothing
        x = ops.reshape(x, (-1, n_stretches, self.pool_size, n))
        if not training:
            total = ops.sum(x, axis=2)
            return ops.sum(ops.square(x), axis=2) / ops.where(total > 0, total, 1.0)
        # A stretch's activations lie side by side from 0 to their sum; drawn is the one that a mark falls into.
        end = ops.cumsum(x, axis=2)
        start = ops.pad(end[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))
        total = end[:, :, -1:]
        mark = total * keras.random.uniform(ops.shape(total), dtype="float32", seed=self._seeds)
        is_drawn = ops.logical_and(start <= mark, mark < end)
        return ops.sum(ops.where(is_drawn, x, 0.0), axis=2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the stretches."""
        batch, steps, n = input_shape
        return (batch, None if steps is None else -(-steps // self.pool_size), n)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {"name": self.name, "pool_size": self.pool_size}
