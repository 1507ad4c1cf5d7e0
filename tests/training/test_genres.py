import numpy as np
import pytest

from cs_keras.training.losses.objective import is_correct, make_genre_objective

SHARES = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 1, 0], [0, 0.5, 0.5]], np.float32)
PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.7, 0.2, 0.1], [0.8, 0.1, 0.1]], np.float32)


def test_the_loss_is_the_cross_entropy_with_shares():
    loss = np.asarray(make_genre_objective().loss.call(SHARES, PROBABILITIES))
    expected = [-np.log(0.5), -(np.log(0.3) + np.log(0.6)) / 2, -np.log(0.2), -np.log(0.1)]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_any_of_a_tracks_genres_is_right():
    np.testing.assert_array_equal(is_correct(SHARES, PROBABILITIES), [1, 1, 0, 0])
    (accuracy,) = make_genre_objective().metrics
    accuracy.update_state(SHARES, PROBABILITIES)
    accuracy.update_state(SHARES[:1], PROBABILITIES[:1])
    assert accuracy.name == "accuracy" and float(accuracy.result()) == pytest.approx(3 / 5)
