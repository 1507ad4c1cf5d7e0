"""Unsupervised features: whitening of patches, and k-means with centroids on the unit sphere.

Coates & Ng 2012, "Learning feature representations with k-means": a patch belongs to the centroid with which its
dot product has the largest absolute value, and a centroid moves towards its patches, weighted by these products,
from its previous position (damped), and back onto the sphere. Here in mini-batches: the weight of earlier patches
decays with every batch.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError

Matrix = npt.NDArray[np.float32]

BLOCK = 8192  # patches


@dataclasses.dataclass(frozen=True)
class SphericalKMeansConfig:
    """Settings of k-means.

    Attributes
    ----------
    n_centroids
        Size of the codebook.
    max_passes
        Largest number of passes over the patches.
    batch_patches
        Patches in a mini-batch.
    memory
        Share of a centroid's accumulated weight that is kept at each mini-batch; 0 for none.
    tolerance
        Stop when centroids rotate by less than this on average in a pass, in radians.
    """

    n_centroids: int = 500
    max_passes: int = 20
    batch_patches: int = 8192
    memory: float = 0.5
    tolerance: float = 0.01


class Whitening(NamedTuple):
    """Mean, shape (d,), and matrix, shape (d, n_components), float64: ``(x - mean) @ matrix`` is white."""

    mean: npt.NDArray[np.float64]
    matrix: npt.NDArray[np.float64]


def fit_whitening(patches: Matrix, variance: float) -> Whitening:
    """Return the whitening by the fewest principal components that explain a share of the variance.

    Parameters
    ----------
    patches
        Shape (n, d), float32, n at least 2.
    variance
        Above 0, at most 1.

    Raises
    ------
    DataError
        All patches are equal.
    """
    mean = patches.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((len(mean), len(mean)))
    for first in range(0, len(patches), BLOCK):  # float64, in which all patches would take twice the memory
        centred = patches[first : first + BLOCK] - mean
        covariance += centred.T @ centred / len(patches)
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1], directions[:, ::-1]
    shares = np.cumsum(variances.clip(0)) / max(variances.clip(0).sum(), np.finfo(np.float64).tiny)
    n_components = min(int(np.searchsorted(shares, variance)) + 1, len(variances))
    # A variance below float32's rounding of the largest is noise, which whitening would amplify.
    n_components = min(n_components, int((variances > np.finfo(np.float32).eps * max(variances[0], 0)).sum()))
    if not n_components:
        raise DataError("The patches to learn from are all equal: expected audio that varies.")
    return Whitening(mean, directions[:, :n_components] / np.sqrt(variances[:n_components]))


def fit_spherical_kmeans(white: Matrix, config: SphericalKMeansConfig, seed: int) -> Matrix:
    """Return centroids of length 1, shape (n_centroids, d), float32.

    Parameters
    ----------
    white
        Whitened patches, shape (n, d), float32.
    config
        Number of centroids, and when to stop.
    seed
        Seed of the first centroids and of the order.

    Raises
    ------
    DataError
        There are fewer patches than centroids.
    """
    if len(white) < config.n_centroids:
        raise DataError(
            f"The train tracks give {len(white)} patches, fewer than the {config.n_centroids} centroids; use more "
            "tracks or fewer centroids (model.n_centroids)."
        )
    rng = np.random.default_rng(seed)
    centroids = _on_sphere(rng.standard_normal((config.n_centroids, white.shape[1])).astype(np.float32))
    weights = np.zeros(config.n_centroids, np.float32)  # accumulated weight of each centroid's patches
    for _ in range(config.max_passes):
        before = centroids
        order = rng.permutation(len(white))
        for first in range(0, len(order), config.batch_patches):
            batch = white[order[first : first + config.batch_patches]]
            centroids, weights = _step(centroids, weights, batch, config.memory)
        cosines = np.sum(before * centroids, axis=1, dtype=np.float64).clip(-1, 1)
        if np.arccos(cosines).mean() < config.tolerance:
            break
    return centroids


def linear_kernels(whitening: Whitening, centroids: Matrix) -> tuple[Matrix, Matrix]:
    """Return kernels (d, n_centroids) and bias (n_centroids,): dot products of whitened patches with centroids.

    ``x @ kernels + bias`` is ``((x - mean) @ matrix) @ centroids.T``, so that encoding is one convolution.
    """
    kernels = whitening.matrix @ centroids.T.astype(np.float64)
    return kernels.astype(np.float32), (-whitening.mean @ kernels).astype(np.float32)


def _step(centroids: Matrix, weights: Matrix, batch: Matrix, memory: float) -> tuple[Matrix, Matrix]:
    """Return centroids, of which those without patches do not move, and their accumulated weights."""
    products = batch @ centroids.T
    nearest = np.abs(products).argmax(axis=1)
    product = products[np.arange(len(batch)), nearest]
    sums = np.zeros_like(centroids)
    np.add.at(sums, nearest, product[:, np.newaxis] * batch)
    added = np.bincount(nearest, np.square(product), len(centroids)).astype(np.float32)
    moved = (1.0 + memory * weights)[:, np.newaxis] * centroids + sums
    return _on_sphere(moved), memory * weights + added


def _on_sphere(vectors: Matrix) -> Matrix:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)
