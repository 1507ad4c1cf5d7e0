"""Spherical k-means on data whose directions are known, and whitening against scikit-learn's."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cs_keras.errors import DataError
from cs_keras.training.feature_learning.spherical_kmeans import (
    SphericalKMeansConfig,
    fit_spherical_kmeans,
    fit_whitening,
    linear_kernels,
)

D = 12


def orthogonal(seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(D, D)))[0].astype(np.float32)


def along(directions, n=4000, noise=0.05, seed=1):
    """Patches that each lie along one direction, by a random amount of either sign, with a little noise."""
    rng = np.random.default_rng(seed)
    which = rng.integers(len(directions), size=n)
    amounts = rng.choice([-1, 1], n) * rng.uniform(1, 3, n)
    patches = amounts[:, np.newaxis] * directions[which] + noise * rng.normal(size=(n, D))
    return patches.astype(np.float32)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(
    ("n_centroids", "batch_patches"),
    [
        (2 * D, 250),
        (2 * D, 8192),
        (3 * D, 1000),
    ],  # with no more than D, one may lie between two directions for ever
)
def test_every_direction_of_the_data_has_its_centroid(n_centroids, batch_patches, memory):
    directions = orthogonal()
    config = SphericalKMeansConfig(n_centroids, batch_patches=batch_patches, memory=memory, tolerance=1e-4)
    centroids = fit_spherical_kmeans(along(directions), config, seed=3)
    assert centroids.shape == (n_centroids, D) and centroids.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, rtol=1e-5)
    # Noise of 0.05 across, averaged over 100 patches or more of length 1 to 3.
    assert np.abs(centroids @ directions.T).max(axis=0).min() > 0.999


def test_mini_batches_lead_out_of_where_whole_passes_stay():
    directions = orthogonal()
    cosines = [
        np.abs(
            fit_spherical_kmeans(along(directions), SphericalKMeansConfig(D, batch_patches=size), 3)
            @ directions.T
        )
        for size in (250, 8192)
    ]
    mini, whole = ((found.max(axis=0) > 0.999).sum() for found in cosines)
    assert mini == D > whole


def test_a_direction_on_its_own_is_found_exactly_up_to_sign():
    direction = orthogonal()[:1]
    centroids = fit_spherical_kmeans(along(direction, noise=0), SphericalKMeansConfig(1), seed=0)
    assert abs(centroids[0] @ direction[0]) == pytest.approx(1, abs=1e-6)


def test_the_same_seed_gives_the_same_centroids():
    patches = along(orthogonal())
    one, two, other = (fit_spherical_kmeans(patches, SphericalKMeansConfig(5), seed) for seed in (0, 0, 1))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_a_step_is_that_of_coates_and_ng():
    patches, config = along(orthogonal(), n=60), SphericalKMeansConfig(6, max_passes=1, memory=0.0)
    start = np.random.default_rng(7).standard_normal((6, D)).astype(np.float32)
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    moved = start.astype(np.float64).copy()
    for patch in patches.astype(np.float64):  # equation by equation, a patch at a time
        products = start.astype(np.float64) @ patch
        j = np.argmax(np.abs(products))
        moved[j] += products[j] * patch
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(fit_spherical_kmeans(patches, config, seed=7), moved, atol=1e-5)


def test_too_few_patches_are_refused():
    with pytest.raises(DataError, match="give 4 patches, fewer than the 5 centroids"):
        fit_spherical_kmeans(along(orthogonal(), n=4), SphericalKMeansConfig(5), seed=0)


def coloured(n=3000):
    rng = np.random.default_rng(2)
    return (rng.normal(size=(n, D)) @ rng.normal(size=(D, D)) * 5 - 40).astype(np.float32)


@pytest.mark.parametrize("variance", [0.5, 0.9, 1.0])
def test_whitening_is_that_of_scikit_learn(variance):
    patches = coloured()
    mean, matrix = fit_whitening(patches, variance)
    pca = PCA(n_components=variance if variance < 1 else None, whiten=True, svd_solver="full")
    pca.fit(patches.astype(np.float64))
    assert matrix.shape == (D, pca.n_components_)
    white = (patches - mean) @ matrix
    expected = pca.transform(patches.astype(np.float64)) * np.sqrt(len(patches) / (len(patches) - 1))
    # Components have either sign; covariances summed in float32.
    np.testing.assert_allclose(np.abs(white), np.abs(expected), atol=2e-3)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(matrix.shape[1]), atol=1e-3)


def test_directions_without_any_variance_are_left_out():
    patches = coloured()
    patches[:, 4] = patches[:, 3]
    patches[:, 5] = -40
    assert fit_whitening(patches, 1.0).matrix.shape == (D, D - 2)
    with pytest.raises(DataError, match="all equal"):
        fit_whitening(np.full((10, D), -40, np.float32), 0.99)


def test_encoding_is_whitening_and_dot_products_in_one():
    patches = coloured()
    whitening = fit_whitening(patches, 0.95)
    centroids = np.random.default_rng(0).normal(size=(4, whitening.matrix.shape[1])).astype(np.float32)
    kernels, bias = linear_kernels(whitening, centroids)
    expected = (patches - whitening.mean) @ whitening.matrix @ centroids.T
    np.testing.assert_allclose(patches @ kernels + bias, expected, atol=1e-3)
