"""Regressors in closed form or by support vectors: scikit-learn fits them, Keras layers hold the weights."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVR

from cs_keras.layers.kernel_regression import KernelRegression
from cs_keras.models.regressors import KERNEL_REGRESSORS, OUTPUT, RegressorConfig
from cs_keras.training.feature_learning.boosted_trees import BoostedTrees
from cs_keras.training.feature_learning.kernel_ridge import KernelRidge
from cs_keras.training.fit import FitResult

BATCH_EXAMPLES = 1024
PENALTIES = np.geomspace(1e-1, 1e6, 29)
"""Penalties from which ``ridge_gcv`` chooses, for features of variance 1."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Solution: TypeAlias = tuple[Doubles, Doubles] | KernelRidge | BoostedTrees


class RegressionData(NamedTuple):
    """Inputs and targets: shapes (n, n_features) and (n, n_factors), float32."""

    inputs: Floats
    targets: Floats


def choose_examples(n: int, config: RegressorConfig, seed: int) -> Integers:
    """Return the rows of `n` train examples to use, in order: all, or with kernels a sample by `seed`."""
    if config.regressor not in KERNEL_REGRESSORS or n <= config.max_examples:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, config.max_examples, replace=False))


def fit_output_layer(
    head: keras.Model,
    train: RegressionData,
    validation: RegressionData,
    config: RegressorConfig,
    on_factor: Callable[[int], None] = lambda n_factors: None,
    solve: Callable[[Doubles], Solution] | None = None,
) -> tuple[keras.Model, FitResult]:
    """Return `head` with an output layer fitted on `train`, and its losses.

    Parameters
    ----------
    head
        Maps (batch, n_features) to (batch, n_factors); its output layer is not fitted, the layers before it are
        adapted.
    config
        Settings of a regressor that is solved.
    solve
        Solution of ``ials``, ``kernel_ridge`` or ``trees``, which need more than targets: from inputs of the output
        layer, shape (n, n_inputs), to its kernel and bias, or to the solution with kernels or trees. Others are
        solved here.

    Returns
    -------
    keras.Model, FitResult
        The fitted head, and a history of one epoch with the metrics of `cs_keras.training.fit.fit`; losses are mean
        squared errors, and no time is spent waiting for input, since all of it is in memory.
    """
    began = time.perf_counter()
    features = head.get_layer(OUTPUT).input
    x = apply_head(keras.Model(head.input, features), train.inputs).astype(np.float64)
    y = train.targets.astype(np.float64)
    if solve:
        solution = solve(x)
        if isinstance(solution, KernelRidge):
            layer = KernelRegression(len(x), x.shape[1], y.shape[1], solution.gamma, name=OUTPUT)
            layer.set_solution(x, solution.dual, solution.intercept)
        elif isinstance(solution, BoostedTrees):
            layer = solution.layer(OUTPUT)
        else:
            layer = head.get_layer(OUTPUT)
            layer.set_weights(solution)
        on_factor(y.shape[1])
    elif config.regressor == "ridge_gcv":
        layer = head.get_layer(OUTPUT)
        layer.set_weights(solve_ridge_gcv(x, y))
        on_factor(y.shape[1])
    elif config.regressor == "ridge":
        layer = head.get_layer(OUTPUT)
        ridge = Ridge(alpha=config.penalty).fit(x, y)
        layer.set_weights([ridge.coef_.T, ridge.intercept_])
        on_factor(y.shape[1])
    else:
        layer = _solve_svm(x, y, config, on_factor)
    solved = keras.Model(head.input, layer(features), name=head.name)
    seconds = time.perf_counter() - began
    epoch = {
        "loss": _mean_squared_error(solved, train),
        "val_loss": _mean_squared_error(solved, validation),
        "seconds": seconds,
        "sequences_per_s": len(x) / seconds,
        "mb_per_s": train.inputs.nbytes / 1e6 / seconds,
        "input_wait_share": 0.0,
    }
    return solved, FitResult([epoch], 1)


def apply_head(model: keras.Model, inputs: Floats) -> Floats:
    """Return the outputs of `model`, shape (n, n_outputs), float32, a batch at a time."""
    outputs = [
        np.asarray(model(inputs[first : first + BATCH_EXAMPLES], training=False))
        for first in range(0, len(inputs), BATCH_EXAMPLES)
    ]
    return np.concatenate(outputs)


def solve_ridge_gcv(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    """Return kernel and bias of ridge regressions on standardised features, each output with a penalty of its own.

    The penalty has the lowest generalised cross-validation error among `PENALTIES` (Golub, Heath and Wahba 1979;
    scikit-learn's `RidgeCV`). Kernel and bias are those of features as they are.
    """
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    varies = deviation > 1e-6 * (np.abs(mean) + deviation)  # not rounding alone
    factor = np.divide(1, deviation, out=np.zeros_like(deviation), where=varies)
    ridge = RidgeCV(alphas=PENALTIES, alpha_per_target=True).fit((x - mean) * factor, y)
    kernel = ridge.coef_.T * factor[:, None]
    return kernel, ridge.intercept_ - mean @ kernel


def _solve_svm(x: Any, y: Any, config: RegressorConfig, on_factor: Callable[[int], None]) -> KernelRegression:
    """Return a layer of the support vectors of all factors, whose kernels are computed once for all of them."""
    gamma = config.gamma / (x.shape[1] * (x.var() or 1.0))
    kernels = rbf_kernel(x, gamma=gamma)
    dual, intercept = np.zeros_like(y), np.zeros(y.shape[1])
    for factor, targets in enumerate(y.T):
        svr = SVR(kernel="precomputed", C=config.C, epsilon=config.epsilon).fit(kernels, targets)
        dual[svr.support_, factor] = svr.dual_coef_[0]
        intercept[factor] = svr.intercept_[0]
        on_factor(1)
    is_support = dual.any(axis=1)
    layer = KernelRegression(int(is_support.sum()), x.shape[1], y.shape[1], gamma, name=OUTPUT)
    layer.set_solution(x[is_support], dual[is_support], intercept)
    return layer


def _mean_squared_error(model: keras.Model, examples: RegressionData) -> float:
    error = apply_head(model, examples.inputs) - examples.targets
    return float(np.mean(np.square(error), dtype=np.float64))
