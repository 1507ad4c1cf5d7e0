"""Moving statistics of batch norm, recalibrated before each validation.

Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3, "PreciseBN": population statistics of the current
weights, in place of the exponential moving average. At momentum 0.99, Keras's default, that average still holds
much of where it started after 100 steps, lags behind the weights, and belongs to other weights than
`AverageWhileValidating` validates.
"""

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cs_keras.layers.batch_norm import FixedStatisticsNormalization
from cs_keras.training.batch_distribution import Batches, distribute_batches

MAX_BATCHES = 16  # of train sequences in a pass: a small share of the steps of a long epoch


class RecalibrateBatchNorm(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the moving statistics of batch norms to those of train batches of the epoch, before its validation.

    Statistics are means over the first `MAX_BATCHES` batches of the epoch, weighted by batch size: of the means of
    batches, and of their variances with that of their means. Batch norms that are frozen keep theirs.
    """

    def __init__(self, train: Batches) -> None:
        super().__init__()
        self._train, self._epoch = train, 0

    def set_model(self, model: keras.Model) -> None:
        """Find the batch norms of `model`, nested ones included."""
        super().set_model(model)
        self._norms = [layer for layer in model._flatten_layers() if has_moving_statistics(layer)]
        strategy = model.distribute_strategy
        self._run = tf.function(
            functools.partial(strategy.run, functools.partial(model, training=True)),
            reduce_retracing=True,
            autograph=False,
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Note the epoch whose batches to use."""
        self._epoch = epoch

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Compute and assign the statistics."""
        if not self._norms:
            return
        momenta = [norm.momentum for norm in self._norms]
        try:
            for norm in self._norms:
                norm.momentum = 0.0  # each batch leaves its own statistics behind
            statistics = self._measure()
        finally:
            for norm, momentum in zip(self._norms, momenta, strict=True):
                norm.momentum = momentum
        for norm, (mean, square) in zip(self._norms, statistics, strict=True):
            norm.moving_mean.assign(mean)
            norm.moving_variance.assign(np.maximum(square - np.square(mean), 0))

    def _measure(self) -> list[Any]:
        """Return mean and mean square of the inputs of each batch norm, shape (2, n_channels), float64."""
        strategy = self.model.distribute_strategy
        n_batches = min(self._train.steps_per_epoch, MAX_BATCHES)
        sums: list[Any] = [0.0] * len(self._norms)
        n_sequences = 0
        for batch in distribute_batches(self._train.from_epoch(self._epoch).take(n_batches), strategy):
            self._run((batch[0],))
            n = sum(len(part) for part in strategy.experimental_local_results(batch[0]))
            n_sequences += n
            for number, norm in enumerate(self._norms):
                mean, variance = (
                    keras.ops.convert_to_numpy(value).astype(np.float64)
                    for value in (norm.moving_mean, norm.moving_variance)
                )
                sums[number] = sums[number] + n * np.stack([mean, variance + np.square(mean)])
        return [total / n_sequences for total in sums]


def has_moving_statistics(layer: keras.layers.Layer) -> bool:
    """Return whether training updates the moving statistics of `layer`."""
    return (
        isinstance(layer, keras.layers.BatchNormalization)
        and not isinstance(layer, FixedStatisticsNormalization)
        and layer.trainable
    )
