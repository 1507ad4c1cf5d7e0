"""Batch norm for fine-tuning: scale and offset are trained, mean and variance stay."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("cs_keras")
class FixedStatisticsNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch norm that always uses its moving statistics and never updates them.

    Weights and settings are those of ``keras.layers.BatchNormalization``. Calling a model with ``training=False``
    does not replace it: in Keras 3 a functional model that is being trained passes ``training=True`` to all its
    layers.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return `inputs` normalised; `training` is ignored."""
        return super().call(inputs, training=False, mask=mask)


def fix_statistics(model: keras.Model) -> keras.Model:
    """Return a copy of functional `model`, with its weights, whose batch norms keep their statistics."""

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = type(layer)
        if kind is keras.layers.BatchNormalization:
            kind = FixedStatisticsNormalization
        return kind.from_config(layer.get_config())

    fixed = keras.models.clone_model(model, clone_function=copy)
    fixed.set_weights(model.get_weights())
    return fixed
