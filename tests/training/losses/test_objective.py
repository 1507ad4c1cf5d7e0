import numpy as np
import pytest

from cs_keras.models.spec import TrainingConfig
from cs_keras.training.losses.objective import make_loss

Y = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
PREDICTED = np.array([[1.0, 1.0], [0.0, 0.5]], np.float32)


def test_mse_is_the_mean_of_squared_differences():
    loss = make_loss(TrainingConfig(loss="mse"))
    assert loss.name == "mse"
    assert float(loss(Y, PREDICTED)) == pytest.approx((1 + 1.5**2) / 4)


def test_cosine_is_lowest_in_the_same_direction_whatever_the_length():
    loss = make_loss(TrainingConfig(loss="cosine"))
    assert loss.name == "cosine"
    same, across, opposite = (
        float(loss(Y[:1], np.array([x]))) for x in ([5.0, 0.0], [0.0, 1.0], [-3.0, 0.0])
    )
    assert (across - same, opposite - same) == pytest.approx((1.0, 2.0))


def test_the_loss_of_the_mean_of_scaled_factors_is_one():
    y = np.random.default_rng(0).normal(size=(1000, 5))
    y = (y - y.mean(axis=0)) / y.std(axis=0)
    assert float(make_loss(TrainingConfig())(y, np.zeros_like(y))) == pytest.approx(1.0, rel=1e-5)
