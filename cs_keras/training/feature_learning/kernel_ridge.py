"""Kernel ridge regression whose penalty and kernel width are chosen by exact cross-validation.

Leave-group-out residuals follow from the residuals of the one fit to all examples (Rifkin and Lippert 2007, "Notes
on regularized least squares"; here with an unpenalised intercept), so that one eigendecomposition for each width
gives the cross-validated predictions for all penalties.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.metrics.pairwise import rbf_kernel

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-4, 6))
WIDTHS = (0.03, 0.1, 0.3, 1.0)  # gamma in units of 1 / (n_features * variance), as scikit-learn's ``scale``
N_FOLDS = 5

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class KernelRidge(NamedTuple):
    """Solution ``f(x) = sum_j dual[j] * exp(-gamma * |x - x_j|²) + intercept``, and how it was chosen.

    `dual` has shape (n, n_outputs), `intercept` (n_outputs,); `loss` is the cross-validated loss of the choice, and
    `held_out` are its cross-validated predictions, shape (n, n_outputs).
    """

    gamma: float
    penalty: float
    loss: float
    dual: Doubles
    intercept: Doubles
    held_out: Doubles


def group_folds(groups: Integers, seed: int, n_folds: int = N_FOLDS) -> Integers:
    """Return a fold for each example, shape (n,), the same for all of a group, at random by `seed`."""
    unique, numbers = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(unique))
    return np.asarray(order[numbers] % n_folds, dtype=np.int64)


def solve_kernel_ridge(
    x: Doubles, y: Doubles, folds: Integers, measure: Callable[[Doubles], float] | None = None
) -> KernelRidge:
    """Fit all pairs of `WIDTHS` and `PENALTIES`, and return the one with the lowest cross-validated loss.

    Parameters
    ----------
    x, y
        Features and targets, shapes (n, n_features) and (n, n_outputs).
    folds
        Fold of each example, shape (n,).
    measure
        Loss of cross-validated predictions, shape (n, n_outputs); None for the mean squared error.
    """
    measure = measure or (lambda predicted: float(np.mean(np.square(predicted - y))))
    scale = x.shape[1] * (x.var() or 1.0)
    best: KernelRidge | None = None
    for width in WIDTHS:
        gamma = width / scale
        kernels = rbf_kernel(x, gamma=gamma)
        values, vectors = decompose(kernels)
        for penalty in PENALTIES:
            dual = vectors @ ((vectors.T @ (y - y.mean(axis=0))) / (values + penalty)[:, None])
            held_out = y - held_out_residuals(dual, values, vectors, penalty, folds)
            loss = measure(held_out)
            if best is None or loss < best.loss:
                best = KernelRidge(gamma, penalty, loss, dual, np.mean(y - kernels @ dual, axis=0), held_out)
    assert best is not None
    return best


def decompose(kernels: Doubles) -> tuple[Doubles, Doubles]:
    """Return eigenvalues, shape (n,), and eigenvectors, in columns, of the centred `kernels`, shape (n, n)."""
    means = kernels.mean(axis=0)
    values, vectors = np.linalg.eigh(kernels - means - means[:, None] + means.mean())
    return np.maximum(values, 0), vectors


def held_out_residuals(
    dual: Doubles, values: Doubles, vectors: Doubles, penalty: float, folds: Integers
) -> Doubles:
    """Return residuals of examples predicted without those of their fold, shape (n, n_outputs).

    With H the map from targets to fitted values, those of a fold G solve ``(I - H)_GG e_G = r_G``, where both sides
    have the factor `penalty`: residuals of the fit to all are ``penalty * dual``.
    """
    residuals = np.empty_like(dual)
    for fold in np.unique(folds):
        own = np.flatnonzero(folds == fold)
        part = vectors[own]
        matrix = (part / (values + penalty)) @ part.T - 1 / (penalty * len(values))
        residuals[own] = np.linalg.solve(matrix, dual[own])
    return residuals
