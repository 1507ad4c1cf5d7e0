"""Training objectives by the names that settings use, and penalties on weights."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from cs_keras.models.spec import TrainingConfig

MEAN_LOSS = "mean_loss"  # name of the metric of an epoch's mean loss
REDUCTION = "mean_with_sample_weight"  # without weights, which only several replicas have, the mean


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
    """Loss and metrics of a fit.

    Attributes
    ----------
    loss
        Loss of (targets of a batch, outputs); one value an example, or one for the whole batch.
    mean
        Metric of an epoch's mean loss; None for the mean over examples.
    metrics
        Further metrics of an epoch, by name.
    """

    loss: keras.losses.Loss
    mean: keras.metrics.Metric | None = None
    metrics: tuple[keras.metrics.Metric, ...] = ()


class FunctionLoss(keras.losses.Loss):  # type: ignore[misc]
    """A loss that calls a function of (targets of a batch, outputs); one value an example, or one for all."""

    def __init__(self, fn: Callable[[Any, Any], Any], name: str) -> None:
        super().__init__(name, REDUCTION)
        self.fn = fn

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the function's value."""
        return self.fn(y_true, y_pred)


def make_loss(config: TrainingConfig) -> keras.losses.Loss:
    """Return the loss that `config` names: squared error, negative cosine similarity or cross-entropy of logits.

    For the weighted prediction error, which needs interactions, see `cs_keras.training.losses.prediction_error`.
    """
    if config.loss == "cosine":
        return keras.losses.CosineSimilarity(reduction=REDUCTION, name="cosine")
    if config.loss == "binary_crossentropy":
        return FunctionLoss(_cross_entropy_of_logits, config.loss)
    return keras.losses.MeanSquaredError(REDUCTION, name="mse")


def _cross_entropy_of_logits(labels: Any, logits: Any) -> Any:
    # Not `keras.losses.BinaryCrossentropy`: the metric of a loss is made of its function alone, without arguments.
    return keras.losses.binary_crossentropy(labels, logits, from_logits=True)


def penalize_kernels(model: keras.Model, l2: float) -> None:
    """Add ``l2 * sum(w**2)`` of all trained kernels to the loss of `model`; it is not saved with the model."""
    for weight in model.trainable_weights:
        if weight.name.endswith("kernel"):  # dense, convolution, recurrent and both of separable ones
            weight.regularizer = keras.regularizers.L2(l2) if l2 else None


def make_genre_objective() -> Objective:
    """Return the cross-entropy of predicted genre probabilities, with the accuracy as a metric.

    Both take genre shares, shape (batch, n_genres), whose rows sum to 1, and probabilities of the same shape.
    """
    loss = FunctionLoss(keras.losses.categorical_crossentropy, "cross_entropy")
    return Objective(loss, metrics=(keras.metrics.MeanMetricWrapper(is_correct, name="accuracy"),))


def is_correct(shares: Any, probabilities: Any) -> Any:
    """Return 1 where the most probable genre is one of a sequence's own, else 0, shape (batch,), float32."""
    predicted = keras.ops.argmax(probabilities, axis=1)
    share = keras.ops.take_along_axis(shares, predicted[:, None], axis=1)[:, 0]
    return keras.ops.cast(share > 0, "float32")
