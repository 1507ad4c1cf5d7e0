"""The artist of a track as evidence: means of its other tracks, shrunk by their number."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("cs_keras")
class ShrunkMean(keras.layers.Layer):  # type: ignore[misc]
    """Best linear unbiased prediction of a group's mean from n of its members (Robinson 1991, Stat. Sci. 6).

    Input: sums of vectors of the members, shape (batch, n_outputs), and their number n, shape (batch, 1). Output
    ``(sum + c * mean) / (n + c)``, shape (batch, n_outputs), float32, with the weights `ratio`, 1 / c, and `mean`,
    that of all groups. c is the variance within groups divided by that between them. Before both are set, c is
    infinite and the output is 0.
    """

    def __init__(self, n_outputs: int, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.n_outputs = n_outputs
        self.ratio = self.add_weight(name="ratio", shape=(), initializer="zeros")
        self.mean = self.add_weight(name="mean", shape=(n_outputs,), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        """Return the shrunk mean of each group."""
        total, n = inputs
        return self.mean + self.ratio * (total - n * self.mean) / (1 + self.ratio * n)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name, "n_outputs": self.n_outputs}
