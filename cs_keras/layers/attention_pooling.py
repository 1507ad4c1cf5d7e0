"""Pooling of the frames of a track, of which each has as many as it has."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("cs_keras")
class AttentionPooling(keras.layers.Layer):  # type: ignore[misc]
    """Pool frames into one vector by attention, mean and maximum.

    Input shape (batch, n_frames, n_numbers + 1), the last number a flag, 1 where there is a frame and 0 where
    there is none; output (batch, 3 * units), float32. A dense layer (ReLU) first maps each frame to `units`. The
    attention is that of Ilse, Tomczak & Welling 2018, "Attention-based deep multiple instance learning", equation
    8: weights are a softmax over frames of ``w tanh(V x)``.
    """

    def __init__(self, units: int, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        n = int(input_shape[-1] or 0) - 1
        for name, rows, columns, start in (
            ("kernel", n, self.units, "he_normal"),
            ("attention", n, self.units, "glorot_uniform"),
            ("weight", self.units, 1, "glorot_uniform"),
        ):
            setattr(self, name, self.add_weight(shape=(rows, columns), initializer=start, name=name))
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, frames: Any) -> Any:
        """Return the pooled vectors of `frames`."""
        is_frame, x = frames[..., -1:] > 0.5, frames[..., :-1]
        hidden = ops.relu(ops.matmul(x, self.kernel) + self.bias) * ops.cast(is_frame, "float32")
        score = ops.matmul(ops.tanh(ops.matmul(x, self.attention)), self.weight)
        attended = ops.sum(ops.softmax(ops.where(is_frame, score, -1e9), axis=1) * hidden, axis=1)
        n = ops.maximum(ops.sum(ops.cast(is_frame, "float32"), axis=1), 1.0)
        return ops.concatenate([attended, ops.sum(hidden, axis=1) / n, ops.max(hidden, axis=1)], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name, "units": self.units}
