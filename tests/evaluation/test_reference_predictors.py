import numpy as np
import pytest

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.reference_predictors import (
    mean_predictor,
    predict_artist_means,
    random_predictor,
    score_by_mean_playlist,
)

TRAIN = np.array([[1, 0], [3, 0], [0, 8]], dtype=np.float32)


def test_random_predictor_has_the_reference_moments(random):
    reference = random.standard_normal((20_000, 3)) * [1, 5, 0] + [0, -3, 2]
    predicted = random_predictor(reference, seed=0)
    assert predicted.shape == reference.shape and predicted.dtype == np.float32
    # 5 standard errors of a mean of 20,000 draws with deviation 5, and about as much for the deviation.
    np.testing.assert_allclose(predicted.mean(axis=0), [0, -3, 2], atol=0.2)
    np.testing.assert_allclose(predicted.std(axis=0), [1, 5, 0], atol=0.2)
    np.testing.assert_array_equal(predicted, random_predictor(reference, seed=0))
    assert (predicted[:, 0] != random_predictor(reference, seed=1)[:, 0]).any()


def test_mean_predictor_repeats_the_mean():
    predicted = mean_predictor([1.0, 2.0], 3)
    np.testing.assert_array_equal(predicted, [[1, 2]] * 3)
    assert predicted.dtype == np.float32
    with pytest.raises(DataError, match="vector"):
        mean_predictor([[1.0]], 3)
    with pytest.raises(ConfigError, match="n_tracks"):
        mean_predictor([1.0], 0)


def test_one_ranking_scores_are_mean_dot_products(random):
    reference, playlists = random.standard_normal((30, 4)), random.standard_normal((12, 4))
    expected = (playlists @ reference.T).mean(axis=0)
    # Factors are rounded to float32 first: 1e-7 of products of size 1.
    np.testing.assert_allclose(score_by_mean_playlist(reference, playlists), expected, atol=1e-6)
    with pytest.raises(DataError, match="Received: 4 and 3"):
        score_by_mean_playlist(reference[:, :3], playlists)


def test_known_artists_get_their_mean_and_others_that_of_all() -> None:
    found = predict_artist_means(TRAIN, [1, 1, 3], [3, 0, 1, 25, 2, -1])
    of_all = [4 / 3, 8 / 3]
    np.testing.assert_allclose(found, [[0, 8], of_all, [2, 0], of_all, of_all, of_all], rtol=1e-6)  # float32
    assert found.dtype == np.float32


def test_artists_must_match_the_tracks() -> None:
    with pytest.raises(DataError, match="expected one for each of 3 training tracks"):
        predict_artist_means(TRAIN, [1, 1], [1])
