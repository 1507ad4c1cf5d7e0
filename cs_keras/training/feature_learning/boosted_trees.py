"""Gradient-boosted regression trees with several outputs, whose settings are chosen on validation examples.

Factors share what features explain. Trees are therefore boosted for the few directions of factors in which a ridge
regression varies most (reduced-rank regression, Izenman 1975), in a fraction of the time of all factors.
scikit-learn's histogram-based boosting grows them, one model for each direction.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from cs_keras.layers.tree_ensemble import TreeEnsemble, Trees

LEAVES = (4, 12)  # of each tree
LEARNING_RATE = 0.05
MAX_TREES = 200
STEP = 10  # trees between two that are validated
MIN_EXAMPLES = 20  # of a leaf
MAX_DIRECTIONS = 8
PENALTIES = np.geomspace(1e-1, 1e6, 29)

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class BoostedTrees(NamedTuple):
    """Trees of all directions, `kernel` from directions to outputs, `intercept`, and how they were chosen.

    `kernel` has shape (n_directions, n_outputs), `intercept` (n_outputs,); `loss` is that of the choice. Trees are
    in the order of directions, `n_iterations` of each.
    """

    trees: Trees
    kernel: Doubles
    intercept: Doubles
    n_leaves: int
    n_iterations: int
    loss: float

    def layer(self, name: str) -> TreeEnsemble:
        """Return a Keras layer with the same predictions."""
        nodes = np.arange(len(self.trees.left))
        depth, reached = 0, np.arange(len(self.kernel) * self.n_iterations)
        while (self.trees.left[reached] != reached).any():
            is_split = self.trees.left[reached] != reached
            reached = np.concatenate(
                [self.trees.left[reached[is_split]], self.trees.right[reached[is_split]]]
            )
            depth += 1
        layer = TreeEnsemble(
            len(nodes),
            len(self.kernel) * self.n_iterations,
            len(self.kernel),
            self.kernel.shape[1],
            depth,
            name=name,
        )
        layer.set_solution(self.trees, self.kernel, self.intercept)
        return layer


def boost_trees(
    x: Doubles,
    y: Doubles,
    held_out: Floats,
    measure: Callable[[Doubles], float],
    on_output: Callable[[int], None] = lambda n: None,
) -> BoostedTrees:
    """Boost trees of each size in `LEAVES`, and return the size and number with the lowest loss on `held_out`.

    Parameters
    ----------
    x, y
        Features and targets of train examples, shapes (n, n_features) and (n, n_outputs).
    held_out
        Features of validation examples, shape (n_held_out, n_features).
    measure
        Loss of their predictions, shape (n_held_out, n_outputs).
    on_output
        Called with the number of outputs that progressed.
    """
    directions = find_directions(x, y)
    targets, mean = (y - y.mean(axis=0)) @ directions.T, y.mean(axis=0)
    best: tuple[float, int, int] | None = None
    grown = {}
    for number, n_leaves in enumerate(LEAVES):
        grown[n_leaves] = models = [_grow(x, column, n_leaves) for column in targets.T]
        staged = (model.staged_predict(held_out) for model in models)
        for n_iterations, columns in enumerate(zip(*staged, strict=True), 1):
            if n_iterations % STEP:
                continue
            loss = measure(np.stack(columns, axis=1) @ directions + mean)
            if best is None or loss < best[0]:
                best = loss, n_leaves, n_iterations
        on_output((number + 1) * y.shape[1] // len(LEAVES) - number * y.shape[1] // len(LEAVES))
    assert best is not None
    loss, n_leaves, n_iterations = best
    models = grown[n_leaves]
    nodes = [tree.nodes for model in models for (tree,) in model._predictors[:n_iterations]]
    first = np.array([model._baseline_prediction.item() for model in models])
    return BoostedTrees(
        join_trees(nodes), directions, first @ directions + mean, n_leaves, n_iterations, loss
    )


def find_directions(x: Doubles, y: Doubles) -> Doubles:
    """Return orthonormal directions of outputs, shape (n_directions, n_outputs), by decreasing importance.

    They are the first principal components of the values that a ridge regression fits, with a penalty for each
    output by generalised cross-validation.
    """
    fitted = RidgeCV(alphas=PENALTIES, alpha_per_target=True).fit(x, y).predict(x)
    directions = np.linalg.svd(fitted - fitted.mean(axis=0), full_matrices=False)[2]
    return np.asarray(directions[:MAX_DIRECTIONS])


def join_trees(trees: Sequence[npt.NDArray[Any]]) -> Trees:
    """Return the nodes of scikit-learn's trees as one table, with the roots first.

    A threshold becomes the largest float32 number below it, so that float32 features go to the same side.
    """
    first = len(trees)
    parts = []
    for root, nodes in enumerate(trees):
        own = np.concatenate([[root], np.arange(first, first + len(nodes) - 1)])
        first += len(nodes) - 1
        is_leaf = nodes["is_leaf"].astype(bool)
        threshold = nodes["num_threshold"].astype(np.float32)
        above = threshold > nodes["num_threshold"]
        threshold[above] = np.nextafter(threshold[above], np.float32(-np.inf))
        left, right = (np.where(is_leaf, own, own[nodes[side]]) for side in ("left", "right"))
        parts.append((own, nodes["feature_idx"], threshold, left, right, nodes["value"]))
    own, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(own)
    dtypes = (np.int32, np.float32, np.int32, np.int32, np.float32)
    return Trees(*(column[order].astype(dtype) for column, dtype in zip(columns, dtypes, strict=True)))


def _grow(x: Doubles, y: Doubles, n_leaves: int) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        learning_rate=LEARNING_RATE,
        max_iter=MAX_TREES,
        max_leaf_nodes=n_leaves,
        min_samples_leaf=MIN_EXAMPLES,
        early_stopping=False,
    ).fit(x, y)
