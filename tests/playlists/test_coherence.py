import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cosine

from cs_keras.errors import DataError
from cs_keras.playlists.coherence import compute_modified_z, measure_coherence


def test_distances_are_those_to_the_mean_of_the_others() -> None:
    factors = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    expected = [cosine(unit[i], np.delete(unit, i, axis=0).mean(axis=0)) for i in range(9)]
    found = measure_coherence(factors)
    np.testing.assert_allclose(found.distance, expected, atol=1e-6)  # unit rows are float32
    assert found.order.tolist() == np.argsort(-np.array(expected)).tolist()


def test_the_odd_one_out_comes_first_and_alone_counts_as_an_outlier() -> None:
    degrees = np.array([*range(-10, 0), 90, *range(1, 11)])
    factors = np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)
    found = measure_coherence(factors)
    assert found.order[0] == 10
    assert np.flatnonzero(found.is_outlier).tolist() == [10]


def test_tracks_that_only_scatter_are_rarely_outliers() -> None:
    factors = np.random.default_rng(1).standard_normal((1000, 32)) + 2
    assert measure_coherence(factors).is_outlier.mean() < 0.01


def test_scores_are_modified_z_scores() -> None:
    values = np.random.default_rng(2).standard_exponential(31)
    mad = stats.median_abs_deviation(values)
    np.testing.assert_allclose(compute_modified_z(values), 0.6745 * (values - np.median(values)) / mad)


def test_scores_where_most_values_are_the_same() -> None:
    assert compute_modified_z([2, 2, 2, 2, 5, 1]).tolist() == [0, 0, 0, 0, np.inf, -np.inf]


def test_length_of_factors_does_not_count_and_zeros_are_far() -> None:
    factors = np.array([[1, 0], [50, 0], [1, 0.1], [0, 0]])
    found = measure_coherence(factors)
    assert found.distance[3] == 1
    np.testing.assert_allclose(found.distance[0], found.distance[1], atol=1e-7)


def test_two_tracks_have_no_outlier() -> None:
    with pytest.raises(DataError, match="3 tracks or more. Received: 2"):
        measure_coherence(np.eye(2))
