"""What a fit of a classifier of genres minimises and tells."""

from typing import Any

import keras

from cs_keras.training.losses import FunctionLoss, Objective


def make_genre_objective() -> Objective:
    """Return the cross-entropy of probabilities with shares of genres, and the accuracy beside it.

    Both take shares, shape (batch, n_genres), of which each row sums to 1, and probabilities of the same shape.
    """
    loss = FunctionLoss(keras.losses.categorical_crossentropy, "cross_entropy")
    return Objective(loss, figures=(keras.metrics.MeanMetricWrapper(is_right, name="accuracy"),))


def is_right(shares: Any, probabilities: Any) -> Any:
    """Return 1 where the most probable genre is one of a sequence's own and else 0, shape (batch,), float32."""
    told = keras.ops.argmax(probabilities, axis=1)
    of_told = keras.ops.take_along_axis(shares, told[:, None], axis=1)[:, 0]
    return keras.ops.cast(of_told > 0, "float32")
