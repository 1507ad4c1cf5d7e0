import keras
import numpy as np
import pytest

from cs_keras.models.spec import TrainingConfig
from cs_keras.training.losses import make_loss, make_optimizer

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


def test_the_learning_rate_decays_as_the_inverse_of_time():
    config = TrainingConfig(learning_rate=1e-2, decay=0.5)
    rate = make_optimizer(config)._learning_rate
    for step in (0, 1, 7):
        assert float(rate(step)) == pytest.approx(1e-2 / (1 + 0.5 * step), rel=1e-6)


def test_adam_has_the_settings_and_without_decay_a_constant_rate():
    optimizer = make_optimizer(TrainingConfig(beta_1=0.8, beta_2=0.9, epsilon=1e-3, decay=0.0))
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.8, 0.9, 1e-3)
    assert float(optimizer._learning_rate(10**6)) == pytest.approx(1e-4)


def test_one_step_of_adam_is_the_formula():
    weight = keras.Variable([1.0])
    optimizer = make_optimizer(TrainingConfig(learning_rate=0.1, epsilon=0.5, decay=0.0))
    optimizer.apply([np.array([2.0], np.float32)], [weight])
    # Kingma & Ba, algorithm 1's variant "epsilon hat": both corrected moments are the gradient and its square, and
    # epsilon is added to the uncorrected root, so is 1/sqrt(1 - beta_2) times as large beside the corrected one.
    assert float(weight[0]) == pytest.approx(1 - 0.1 * 2 / (2 + 0.5 / np.sqrt(0.001)), rel=1e-4)
