"""Prediction of a support vector regression with several outputs."""

from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("cs_keras")
class KernelRegression(keras.layers.Layer):  # type: ignore[misc]
    """Weighted sum of Gaussian kernels, of width `gamma`, around the support vectors of all outputs.

    Smola and Schölkopf 2004, "A tutorial on support vector regression", section 2: the expansion with kernels.

    Input shape (batch, n_features); output shape (batch, n_outputs), float32: ``sum_j dual[j] * exp(-gamma * |x
    - vectors[j]|²) + intercept``. It is 0 before `set_solution`.
    """

    def __init__(
        self, n_vectors: int, n_features: int, n_outputs: int, gamma: float, *, name: str | None = None
    ) -> None:
        super().__init__(dtype="float32", name=name)
        self.n_vectors, self.n_features, self.n_outputs, self.gamma = n_vectors, n_features, n_outputs, gamma
        self.vectors = self.add_weight(
            name="vectors", shape=(n_vectors, n_features), initializer="zeros", trainable=False
        )
        self.dual = self.add_weight(name="dual", shape=(n_vectors, n_outputs), initializer="zeros")
        self.intercept = self.add_weight(name="intercept", shape=(n_outputs,), initializer="zeros")

    def set_solution(self, vectors: Any, dual: Any, intercept: Any) -> None:
        """Set arrays of shapes (n_vectors, n_features), (n_vectors, n_outputs) and (n_outputs,)."""
        self.vectors.assign(np.asarray(vectors, np.float32))
        self.dual.assign(np.asarray(dual, np.float32))
        self.intercept.assign(np.asarray(intercept, np.float32))

    def call(self, features: Any) -> Any:
        """Return outputs, shape (batch, n_outputs), of `features`, shape (batch, n_features)."""
        squares = [ops.sum(ops.square(values), axis=1) for values in (features, self.vectors)]
        products = ops.matmul(features, ops.transpose(self.vectors))
        distance = squares[0][:, None] + squares[1][None] - 2.0 * products
        return ops.matmul(ops.exp(-self.gamma * distance), self.dual) + self.intercept

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        names = ("name", "n_vectors", "n_features", "n_outputs", "gamma")
        return {name: getattr(self, name) for name in names}
