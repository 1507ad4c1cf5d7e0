"""Adam and Nesterov momentum, learning rate schedules, and moving averages of the weights."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from cs_keras.models.spec import TrainingConfig


def make_optimizer(
    config: TrainingConfig, steps_per_epoch: int, pretrained: Sequence[keras.Variable] = ()
) -> keras.optimizers.Optimizer:
    """Return the optimiser that `config` sets, for epochs of `steps_per_epoch`.

    The variables `pretrained` stay as they are for ``config.frozen_epochs`` and are then trained at
    ``config.pretrained_learning_rate``; the schedule applies to them, too.
    """
    if config.schedule == "inverse_time" and not config.warmup:
        rate = keras.optimizers.schedules.InverseTimeDecay(config.learning_rate, 1, config.decay)
    else:
        rate = LearningRate(config, steps_per_epoch)
    averages = {"use_ema": config.ema > 0, "ema_momentum": config.ema or 0.99}  # Keras refuses 0, used or not
    if config.optimizer == "nesterov":
        kind = TwoRateNesterov if pretrained else keras.optimizers.SGD
        optimizer = kind(rate, config.momentum, nesterov=True, **averages)
    else:
        kind = TwoRateAdam if pretrained else keras.optimizers.Adam
        optimizer = kind(rate, config.beta_1, config.beta_2, config.epsilon, **averages)
    if pretrained:
        own_rate = config.pretrained_learning_rate or config.learning_rate
        n_frozen = config.frozen_epochs * steps_per_epoch
        optimizer.slow_down(pretrained, own_rate / config.learning_rate, n_frozen)
    return optimizer


class _TwoRates(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Trains some variables later and at another rate, in the same graph, so that a fit can resume in any epoch."""

    _slow: frozenset[str] = frozenset()

    def slow_down(self, variables: Sequence[keras.Variable], factor: float, n_frozen: int) -> None:
        """Multiply the learning rate of `variables` by 0 for the first `n_frozen` steps, then by `factor`."""
        self._slow = frozenset(self._var_key(variable) for variable in variables)
        self._factor, self._n_frozen = factor, n_frozen

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update `variable` by its gradient."""
        if self._slow and self._var_key(variable) in self._slow:
            is_trained = ops.cast(self.iterations >= self._n_frozen, "float32")
            learning_rate = learning_rate * self._factor * is_trained
        super().update_step(gradient, variable, learning_rate)


@keras.saving.register_keras_serializable("cs_keras")
class TwoRateAdam(_TwoRates, keras.optimizers.Adam):  # type: ignore[misc]
    """Adam with two learning rates."""


@keras.saving.register_keras_serializable("cs_keras")
class TwoRateNesterov(_TwoRates, keras.optimizers.SGD):  # type: ignore[misc]
    """Gradient descent with two learning rates."""


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """The learning rate at each step; see `TrainingConfig` for the schedules."""

    def __init__(self, config: TrainingConfig, steps_per_epoch: int) -> None:
        self._config, self._steps_per_epoch = config, steps_per_epoch
        self._n_steps = config.epochs * steps_per_epoch

    def __call__(self, step: Any) -> Any:
        """Return the rate at `step`, counted from 0."""
        step = ops.cast(step, "float32")
        rate = self._config.learning_rate * self._share(step)
        n_warm = self._config.warmup * self._n_steps
        return rate * ops.minimum((step + 1.0) / n_warm, 1.0) if n_warm else rate

    def _share(self, step: Any) -> Any:
        config = self._config
        if config.schedule == "cosine":
            return 0.5 * (1.0 + ops.cos(math.pi * ops.minimum(step / self._n_steps, 1.0)))
        if config.schedule == "step":
            return ops.power(
                config.step_factor, ops.floor(step / (config.step_epochs * self._steps_per_epoch))
            )
        return 1.0 / (1.0 + config.decay * step) if config.schedule == "inverse_time" else 1.0

    def get_config(self) -> dict[str, Any]:
        """Return the settings of the schedule."""
        config = self._config
        return {"schedule": config.schedule, "learning_rate": config.learning_rate, "n_steps": self._n_steps}


class AverageWhileValidating(keras.callbacks.Callback):  # type: ignore[misc]
    """Replaces the weights by their moving averages during validation, and restores them.

    Weights are restored bit by bit; Keras's own ``SwapEMAWeights`` adds and subtracts.
    """

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Store the weights and assign the averages."""
        self._weights = [weight.numpy() for weight in self.model.trainable_variables]
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Restore the weights."""
        for weight, values in zip(self.model.trainable_variables, self._weights, strict=True):
            weight.assign(values)
