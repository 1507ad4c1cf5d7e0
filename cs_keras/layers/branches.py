"""Concatenated feature vectors of a track, some of which may be missing."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops


@keras.saving.register_keras_serializable("cs_keras")
class JoinedBranches(keras.layers.Layer):  # type: ignore[misc]
    """Standardise the vectors of branches; missing branches become 0, and a flag for each branch marks them.

    Input shape (batch, sum(widths) + n_branches): the vectors, of the sizes `widths`, then a flag for each
    branch, 1 where present and 0 where missing. Output of the same shape, float32. Vectors are not standardised
    before `set_statistics`.

    Modality dropout: in training each present branch of an example is dropped with probability `dropout`, below
    1, its flag too. Where all would be dropped, a random one is kept.
    """

    def __init__(self, widths: Sequence[int], dropout: float = 0.0, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.widths, self.dropout = tuple(widths), dropout
        self._seeds = keras.random.SeedGenerator()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights of the statistics."""
        shape = (sum(self.widths),)
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.factor = self.add_weight(shape=shape, initializer="ones", trainable=False, name="factor")

    def set_statistics(self, mean: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]) -> None:
        """Set mean and standard deviation, shape (sum(widths),); constant features, scale 0, become 0."""
        self.mean.assign(mean)
        self.factor.assign(np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0))

    def call(self, joined: Any, training: bool = False) -> Any:
        """Return `joined` standardised, with branches dropped when `training`."""
        n = sum(self.widths)
        is_present = joined[:, n:] > 0.5
        if training and self.dropout:
            chance = keras.random.uniform(ops.shape(is_present), dtype="float32", seed=self._seeds)
            chance = ops.where(is_present, chance, -1.0)
            is_last = chance == ops.max(chance, axis=1, keepdims=True)
            is_present = ops.logical_and(is_present, ops.logical_or(chance >= self.dropout, is_last))
        flags = ops.cast(is_present, "float32")
        shown = ops.take(flags, np.repeat(np.arange(len(self.widths)), self.widths), axis=1)
        return ops.concatenate([(joined[:, :n] - self.mean) * self.factor * shown, flags], axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name, "widths": list(self.widths), "dropout": self.dropout}
