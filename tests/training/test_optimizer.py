import keras
import numpy as np
import pytest

from cs_keras.models.spec import TrainingConfig
from cs_keras.training.losses.objective import penalize_kernels
from cs_keras.training.optimizer import make_optimizer


def test_the_learning_rate_decays_as_the_inverse_of_time():
    config = TrainingConfig(learning_rate=1e-2, decay=0.5)
    rate = make_optimizer(config, 10)._learning_rate
    for step in (0, 1, 7):
        assert float(rate(step)) == pytest.approx(1e-2 / (1 + 0.5 * step), rel=1e-6)


def test_adam_has_the_settings_and_without_decay_a_constant_rate():
    optimizer = make_optimizer(TrainingConfig(beta_1=0.8, beta_2=0.9, epsilon=1e-3, decay=0.0), 10)
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.8, 0.9, 1e-3)
    assert float(optimizer._learning_rate(10**6)) == pytest.approx(1e-4)


def test_one_step_of_adam_is_the_formula():
    weight = keras.Variable([1.0])
    optimizer = make_optimizer(TrainingConfig(learning_rate=0.1, epsilon=0.5, decay=0.0), 10)
    optimizer.apply([np.array([2.0], np.float32)], [weight])
    # Kingma & Ba, algorithm 1's variant "epsilon hat": both corrected moments are the gradient and its square, and
    # epsilon is added to the uncorrected root, so is 1/sqrt(1 - beta_2) times as large next to the corrected one.
    assert float(weight[0]) == pytest.approx(1 - 0.1 * 2 / (2 + 0.5 / np.sqrt(0.001)), rel=1e-4)


def test_steps_of_nesterov_are_the_formula():
    """Sutskever et al. 2013, equations 3 and 4, in terms of the point at which the gradient is taken."""
    rng, rate, momentum = np.random.default_rng(0), 0.1, 0.7
    gradients = rng.normal(size=(4, 3))
    settings = TrainingConfig(
        optimizer="nesterov", learning_rate=rate, momentum=momentum, schedule="constant", ema=0.5
    )
    optimizer, weight = make_optimizer(settings, 10), keras.Variable(np.zeros(3, np.float32))
    assert isinstance(optimizer, keras.optimizers.SGD) and optimizer.use_ema
    theta, velocity = np.zeros(3), np.zeros(3)
    for gradient in gradients:
        optimizer.apply([gradient.astype(np.float32)], [weight])
        velocity = momentum * velocity - rate * gradient
        theta = theta + velocity
        np.testing.assert_allclose(weight, theta + momentum * velocity, rtol=1e-5, atol=1e-7)  # float32


def test_nesterov_follows_schedules():
    config = TrainingConfig(optimizer="nesterov", learning_rate=0.1, schedule="cosine", epochs=1)
    rate = make_optimizer(config, 10)._learning_rate
    assert [float(rate(step)) for step in (0, 5, 10)] == pytest.approx([0.1, 0.05, 0.0], abs=1e-7)


def rates(steps, **settings):
    rate = make_optimizer(TrainingConfig(learning_rate=0.1, **settings), steps_per_epoch=10)._learning_rate
    return [float(rate(step)) for step in steps]


def test_a_constant_rate_is_constant():
    optimizer = make_optimizer(TrainingConfig(learning_rate=0.1, schedule="constant"), 10)
    assert [float(optimizer._learning_rate(step)) for step in (0, 10**6)] == pytest.approx([0.1, 0.1])


def test_a_cosine_falls_to_nothing_at_the_end_of_the_last_epoch():
    found = rates((0, 25, 50, 75, 100, 101), schedule="cosine", epochs=10)
    by_hand = [0.05 * (1 + np.cos(np.pi * share)) for share in (0, 0.25, 0.5, 0.75, 1, 1)]
    assert found == pytest.approx(by_hand, abs=1e-7)


def test_steps_multiply_the_rate_between_epochs():
    found = rates((0, 29, 30, 59, 60), schedule="step", step_epochs=3, step_factor=0.5)
    assert found == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])


@pytest.mark.parametrize("schedule", ["inverse_time", "constant"])
def test_warmup_rises_in_a_straight_line(schedule):
    found = rates((0, 9, 19, 20, 90), schedule=schedule, decay=0.0, warmup=0.2, epochs=10)
    assert found == pytest.approx([0.005, 0.05, 0.1, 0.1, 0.1])


def test_warmup_and_decay_go_together():
    (found,) = rates((4,), decay=0.5, warmup=0.1, epochs=10)
    assert found == pytest.approx(0.1 * 0.5 / (1 + 0.5 * 4))


def test_the_penalty_of_kernels_alone_moves_them_and_is_not_saved(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, bias_initializer="ones")])
    kernel = model.get_weights()[0]
    penalize_kernels(model, 0.3)
    assert float(sum(model.losses)) == pytest.approx(0.3 * (kernel**2).sum())
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").losses == []
    penalize_kernels(model, 0.0)
    assert model.losses == []


@pytest.mark.parametrize("optimizer", ["adam", "nesterov"])
def test_pretrained_variables_wait_and_then_move_at_their_own_rate(optimizer):
    config = TrainingConfig(
        optimizer=optimizer, schedule="constant", pretrained_learning_rate=1e-5, frozen_epochs=1
    )
    new, pretrained = keras.Variable([0.0, 0.0]), keras.Variable([0.0, 0.0])
    both = make_optimizer(config, 3, [pretrained])
    steps = []
    for gradient in np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32):
        before = new.numpy(), pretrained.numpy()
        both.apply([gradient, gradient], [new, pretrained])
        steps.append((new.numpy() - before[0], pretrained.numpy() - before[1]))
    assert not np.any([slow for _, slow in steps[:3]])
    if optimizer == "adam":  # whose moments do not depend on the rate
        for fast, slow in steps[3:]:
            np.testing.assert_allclose(slow, fast / 10, rtol=1e-3)
    else:
        assert np.all([slow for _, slow in steps[3:]])
