"""Losses on scaled factors, by the names that settings use."""

import keras

from cs_keras.models.spec import TrainingConfig


def make_loss(config: TrainingConfig) -> keras.losses.Loss:
    """Return the loss that `config` names: mean squared error, or 1 - cosine similarity."""
    if config.loss == "cosine":
        return keras.losses.CosineSimilarity(name="cosine")
    return keras.losses.MeanSquaredError(name="mse")


def make_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Return Adam as `config` sets it."""
    rate = keras.optimizers.schedules.InverseTimeDecay(config.learning_rate, 1, config.decay)
    return keras.optimizers.Adam(rate, config.beta_1, config.beta_2, config.epsilon)
