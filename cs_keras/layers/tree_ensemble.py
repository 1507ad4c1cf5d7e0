"""Prediction of sums of regression trees with several outputs."""

from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
from keras import ops


class Trees(NamedTuple):
    """Nodes of all trees, arrays of shape (n_nodes,), int32 and float32; node i < n_trees is the root of tree i.

    An example with ``features[feature] <= threshold`` goes on to node `left`, another to `right`; a leaf leads to
    itself on both sides. `value` is what the tree adds where it ends in this node.
    """

    feature: npt.NDArray[Any]
    threshold: npt.NDArray[Any]
    left: npt.NDArray[Any]
    right: npt.NDArray[Any]
    value: npt.NDArray[Any]


@keras.saving.register_keras_serializable("cs_keras")
class TreeEnsemble(keras.layers.Layer):  # type: ignore[misc]
    """Outputs that are sums of regression trees (Friedman 2001, "Greedy function approximation").

    Input shape (batch, n_features); output shape (batch, n_outputs), float32: ``sums @ kernel + intercept``, where
    column i of ``sums``, shape (batch, n_sums), adds up the values of trees i * n_trees / n_sums to (i + 1) *
    n_trees / n_sums, and `depth` is the number of splits from a root to the farthest leaf. It is 0 before
    `set_solution`.
    """

    def __init__(
        self, n_nodes: int, n_trees: int, n_sums: int, n_outputs: int, depth: int, *, name: str | None = None
    ) -> None:
        super().__init__(dtype="float32", name=name)
        self.n_nodes, self.n_trees, self.depth = n_nodes, n_trees, depth
        self.n_sums, self.n_outputs = n_sums, n_outputs
        self.nodes: tuple[Any, ...] = tuple(
            self.add_weight(
                name=field,
                shape=(n_nodes,),
                initializer="zeros",
                dtype="float32" if field in ("threshold", "value") else "int32",
                trainable=False,
            )
            for field in Trees._fields
        )
        self.kernel = self.add_weight(name="kernel", shape=(n_sums, n_outputs), initializer="zeros")
        self.intercept = self.add_weight(name="intercept", shape=(n_outputs,), initializer="zeros")

    def set_solution(self, trees: Trees, kernel: Any, intercept: Any) -> None:
        """Set the nodes, and arrays of shapes (n_sums, n_outputs) and (n_outputs,)."""
        for weight, values in zip(self.nodes, trees, strict=True):
            weight.assign(values)
        self.kernel.assign(np.asarray(kernel, np.float32))
        self.intercept.assign(np.asarray(intercept, np.float32))

    def call(self, features: Any) -> Any:
        """Return outputs, shape (batch, n_outputs), of `features`, shape (batch, n_features)."""
        if not self.n_trees:
            return ops.zeros_like(features[:, :1]) * self.intercept + self.intercept
        feature, threshold, left, right, value = self.nodes
        node = ops.tile(ops.arange(self.n_trees, dtype="int32")[None], (ops.shape(features)[0], 1))
        for _ in range(self.depth):
            own = ops.take_along_axis(features, ops.take(feature, node), axis=1)
            is_left = own <= ops.take(threshold, node)
            node = ops.where(is_left, ops.take(left, node), ops.take(right, node))
        values = ops.reshape(ops.take(value, node), (-1, self.n_sums, self.n_trees // self.n_sums))
        return ops.matmul(ops.sum(values, axis=2), self.kernel) + self.intercept

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        names = ("name", "n_nodes", "n_trees", "n_sums", "n_outputs", "depth")
        return {name: getattr(self, name) for name in names}
