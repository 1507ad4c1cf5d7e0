"""Losses on scaled factors, by the names that settings use, and penalties on weights."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from cs_keras.models.spec import TrainingConfig


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
    """What a fit minimises and tells, where it is more than a setting says.

    Attributes
    ----------
    loss
        Of (what the batches hold as target, outputs); one value an example, or one for the whole batch.
    mean
        Tells the mean loss of an epoch; None for the mean over examples.
    figures
        Tell other things of an epoch, by their names.
    """

    loss: keras.losses.Loss
    mean: keras.metrics.Metric | None = None
    figures: tuple[keras.metrics.Metric, ...] = ()


class FunctionLoss(keras.losses.Loss):  # type: ignore[misc]
    """A function of (what the batches hold as target, outputs) as a loss.

    Parameters
    ----------
    fn
        Gives one value an example, or one for the whole batch.
    name
        What TensorBoard calls it.
    """

    def __init__(self, fn: Callable[[Any, Any], Any], name: str) -> None:
        super().__init__(name)
        self.fn = fn

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the function's value."""
        return self.fn(y_true, y_pred)


def make_loss(config: TrainingConfig) -> keras.losses.Loss:
    """Return the loss that `config` names: mean squared error, or 1 - cosine similarity.

    The weighted prediction error is made of listening: see `cs_keras.training.prediction_error`.
    """
    if config.loss == "cosine":
        return keras.losses.CosineSimilarity(name="cosine")
    return keras.losses.MeanSquaredError(name="mse")


def penalize_kernels(model: keras.Model, l2: float) -> None:
    """Add ``l2 * sum(w**2)`` of all trained kernels to what `model` minimises; it is not saved with the model."""
    for weight in model.trainable_weights:
        if weight.name.endswith("kernel"):  # dense, convolution, recurrent and both of separable ones
            weight.regularizer = keras.regularizers.L2(l2) if l2 else None
