"""Xception, trained on images, as a feature extractor: sections 5.4 and 6.4 of the reference thesis (Pohl 2019).

The decibel mel spectrogram becomes an image with frequency downwards and the same levels in red, green and blue;
of Xception (Chollet 2017, as in Keras Applications) it passes all up to ``block11_sepconv3_bn``, layer 104; then
[convolution 3x3, batch norm, ELU] and dense layers. The thesis's text has two convolutions and two dense layers
of 1024; its parameter count is that of one convolution with 32 kernels and dense layers of 1024, 1024 and 512.

Batch norms of pretrained weights stay in inference mode, also during fine-tuning (as in the Keras guide to transfer
learning): statistics of small batches from another domain would destroy them before the kernels adapt. Random
weights learn their own statistics, frozen or not: without any, the output of 30 layers is almost zero.

The thesis fine-tuned at a learning rate of 1e-8. At that rate the new layers barely move either, since a step of
Adam is about as large as the learning rate, and outputs stay at the mean, where they start. ``xception-finetune``
trains the new layers first, at the rate of the other rows, and then all, those of Xception at a rate of their own.
"""

import dataclasses
import socket
from pathlib import Path
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_range
from cs_keras.errors import StorageError
from cs_keras.layers.batch_norm import fix_statistics
from cs_keras.layers.waveform import audio_input
from cs_keras.models.blocks import dense_head, input_spectrogram
from cs_keras.models.declaration import ModelConfig
from cs_keras.models.spaces import DENSE, DROPOUT, draw, shared_space
from cs_keras.models.spec import Baseline, TrainingConfig

IMAGENET = "imagenet"
LAST_LAYER = "block11_sepconv3_bn"
DOWNLOAD_TIMEOUT_S = 20.0


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of the network.

    Attributes
    ----------
    weights
        Xception's: ``imagenet``, which Keras downloads once; the path of a weights file of Keras's Xception
        without its top; or ``none``, random ones.
    frozen
        Whether Xception's kernels, scales and offsets stay as they are.
    filters
        Filters of each convolution after Xception.
    dense, dropout
        Units of each hidden dense layer, and the dropout rate after it.
    """

    weights: str | None = IMAGENET
    frozen: bool = True
    filters: tuple[int, ...] = (32,)
    dense: tuple[int, ...] = (1024, 1024, 512)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for n in self.filters + self.dense:
            check_range("model.filters and model.dense", n, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)

    @property
    def pretrained_layers(self) -> tuple[str, ...]:
        """Name of Xception within the network."""
        return ("xception",)

    def notes(self, baseline: Baseline) -> tuple[str, ...]:
        """Say that frozen weights are random where they are."""
        if self.weights is not None or not self.frozen:
            return ()
        return (f"Xception is frozen at random weights (models.{baseline.key}.model.weights names none)",)


VARIANTS = {
    baseline.key: baseline
    for baseline in (
        Baseline("xception", Config()),
        Baseline(
            "xception-finetune",
            Config(frozen=False),
            TrainingConfig(pretrained_learning_rate=1e-5, frozen_epochs=2),
        ),
        Baseline("xception-random", Config(weights=None, frozen=False)),
    )
}


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the network."""
    config: Config = baseline.model
    inputs, magnitude = audio_input(baseline.sequence.frames, audio)
    x = input_spectrogram(magnitude, baseline, audio)
    x = keras.layers.Permute((2, 1, 3), name="image")(x)
    x = keras.layers.Conv2D(
        3, 1, use_bias=False, kernel_initializer="ones", trainable=False, name="red_green_blue"
    )(x)
    xception = _xception(config.weights, baseline.key)
    if config.weights is not None:
        xception = fix_statistics(xception)
    if config.frozen:
        _freeze(xception, keep_statistics=config.weights is not None)
    x = xception(x)
    for number, filters in enumerate(config.filters, 1):
        x = keras.layers.Conv2D(
            filters, 3, padding="same", kernel_initializer="he_normal", name=f"conv_{number}"
        )(x)
        x = keras.layers.BatchNormalization(name=f"norm_{number}")(x)
        x = keras.layers.Activation("elu", name=f"elu_{number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, dense_head(x, config.dense, n_factors, config.dropout), name=baseline.key)


def _xception(weights: str | None, key: str) -> keras.Model:
    """Build Xception from images, (batch, height, width, 3), to (batch, ~height / 16, ~width / 16, 728)."""
    if weights not in (None, IMAGENET) and not Path(weights).is_file():
        raise StorageError(f"models.{key}.model.weights: there is no file {weights}.")
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)  # Keras sets none: without one a lost connection hangs
    try:
        whole = keras.applications.Xception(include_top=False, weights=weights, input_shape=(None, None, 3))
    except Exception as error:  # Keras raises a bare Exception when a download fails
        what = (
            "ImageNet weights cannot be downloaded" if weights == IMAGENET else f"{weights} cannot be loaded"
        )
        raise StorageError(
            f"Xception's {what} ({str(error).strip().splitlines()[0]}); name a weights file (--set "
            f"models.{key}.model.weights=PATH) or start from random ones (--set models.{key}.model.weights=none)."
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return keras.Model(whole.input, whole.get_layer(LAST_LAYER).output, name="xception")


def _freeze(xception: keras.Model, keep_statistics: bool) -> None:
    """Freeze all weights of `xception`; batch norms may still update their statistics."""
    for layer in xception.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and not keep_statistics:
            layer.gamma.trainable = layer.beta.trainable = False
        else:
            layer.trainable = False


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    options = {
        "frozen": (False, True),
        "filters": ((16,), (32,), (64,), (32, 32), (64, 64)),
        "dense": DENSE,
        "dropout": DROPOUT,
    }
    return {"model": draw(hp, "model", options, baseline.model), **shared_space(hp, baseline)}
