"""Stochastic pooling along time: activations are sampled in proportion to their values."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("cs_keras")
class StochasticPooling1D(keras.layers.Layer):  # type: ignore[misc]
    """Sample one activation of each pooling window of `pool_size` steps in proportion to the activations.

    Zeiler & Fergus 2013, "Stochastic pooling for regularization of deep convolutional neural networks",
    equations 4 to 6: in training activation a_i is sampled with probability ``p_i = a_i / sum(a)``, for each
    channel; in prediction the output is the mean by these weights, ``sum(p_i a_i)``. Windows of zeros give 0.

    Input shape (batch, steps, n), 0 or more; output shape (batch, ceil(steps / pool_size), n), computed in
    float32. The last window has fewer steps where they do not divide evenly.
    """

    def __init__(self, pool_size: int, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.pool_size = pool_size
        self._seeds = keras.random.SeedGenerator()

    def call(self, activations: Any, training: bool = False) -> Any:
        """Return the pooled activations, sampled when `training`."""
        steps, n = activations.shape[1:]
        n_windows = -(-steps // self.pool_size)
        short = n_windows * self.pool_size - steps
        x = ops.pad(activations, ((0, 0), (0, short), (0, 0)))  # zeros are never sampled and have no weight
        x = ops.reshape(x, (-1, n_windows, self.pool_size, n))
        if not training:
            total = ops.sum(x, axis=2)
            return ops.sum(ops.square(x), axis=2) / ops.where(total > 0, total, 1.0)
        # A window's activations divide the range from 0 to their sum; the one with a random mark is sampled.
        end = ops.cumsum(x, axis=2)
        start = ops.pad(end[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))
        total = end[:, :, -1:]
        mark = total * keras.random.uniform(ops.shape(total), dtype="float32", seed=self._seeds)
        is_sampled = ops.logical_and(start <= mark, mark < end)
        return ops.sum(ops.where(is_sampled, x, 0.0), axis=2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, n_windows, n)."""
        batch, steps, n = input_shape
        return (batch, None if steps is None else -(-steps // self.pool_size), n)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name, "pool_size": self.pool_size}
