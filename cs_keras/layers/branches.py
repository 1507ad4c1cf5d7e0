"""Several kinds of evidence about a track side by side, of which some may not be there."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops


@keras.saving.register_keras_serializable("cs_keras")
class JoinedBranches(keras.layers.Layer):  # type: ignore[misc]
    """Standardise the vectors of branches; what is not there is 0, and a flag a branch says which are.

    Input shape (batch, sum(widths) + n_branches): the vectors, then 1 for each branch that is there and 0 for each
    that is not, whose numbers do not matter. Output of the same shape, float32. Vectors stay as they are until
    `set_statistics` is called.

    In training each branch that is there is hidden from an example by chance, its flag too, so that what follows
    learns to do without it. Where all would be hidden, one of them, each as likely as any, is not.

    Parameters
    ----------
    widths
        Numbers of each branch's vector.
    dropout
        Chance of a branch to be hidden, below 1.
    """

    def __init__(self, widths: Sequence[int], dropout: float = 0.0, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.widths, self.dropout = tuple(widths), dropout
        self._seeds = keras.random.SeedGenerator()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make room for the statistics."""
        shape = (sum(self.widths),)
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.factor = self.add_weight(shape=shape, initializer="ones", trainable=False, name="factor")

    def set_statistics(self, mean: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]) -> None:
        """Set mean and standard deviation, shape (sum(widths),); numbers that do not vary, scale 0, become 0."""
        self.mean.assign(mean)
        self.factor.assign(np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0))

    def call(self, joined: Any, training: bool = False) -> Any:
        """Return `joined` standardised, with branches hidden when `training`."""
        n = sum(self.widths)
        is_there = joined[:, n:] > 0.5
        if training and self.dropout:
            chance = keras.random.uniform(ops.shape(is_there), dtype="float32", seed=self._seeds)
            chance = ops.where(is_there, chance, -1.0)
            is_last = chance == ops.max(chance, axis=1, keepdims=True)
            is_there = ops.logical_and(is_there, ops.logical_or(chance >= self.dropout, is_last))
        flags = ops.cast(is_there, "float32")
        shown = ops.take(flags, np.repeat(np.arange(len(self.widths)), self.widths), axis=1)
        return ops.concatenate([(joined[:, :n] - self.mean) * self.factor * shown, flags], axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return `input_shape`."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {"name": self.name, "widths": list(self.widths), "dropout": self.dropout}
