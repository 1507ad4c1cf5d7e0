"""Convolutional networks whose kernels span one axis and move along the other: section 5.2.2 of Pohl 2019.

Decibel mel spectrogram, then blocks of [1-D convolution, batch norm, ELU, max-pool], flattened into dense layers.
After Pons, Lidy & Serra 2016, "Experimenting with musically motivated convolutional neural networks".

The thesis's parameter counts fix 32 kernels of length 4, the dense layers, and which axis holds the channels. Its
row "slide in frequency domain" has 128 input channels, the mel bands, so that its kernels move along time; its
row "slide in time domain" has 256, the frames. The keys follow the rows, for comparison with
the same network.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.layers.batch_norm import FusedBatchNormalization
from cs_keras.layers.waveform import audio_input
from cs_keras.models.blocks import dense_head, input_spectrogram
from cs_keras.models.declaration import ModelConfig
from cs_keras.models.spaces import DENSE, DROPOUT, draw, shared_space
from cs_keras.models.spec import Baseline


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of the network.

    Attributes
    ----------
    span
        The axis that kernels span whole: ``mels``, moving along time, or ``frames``, moving along frequency.
    filters
        Filters of every convolution.
    kernel
        Kernel length, in frames or in mel bands.
    pools
        Max-pooling of each block, along the axis that kernels move on: one number per block.
    batch_norm
        Whether batch norm follows each convolution.
    dense, dropout
        Units of each hidden dense layer, and the dropout rate after it.
    """

    span: str = "mels"
    filters: int = 32
    kernel: int = 4
    pools: tuple[int, ...] = (2, 2, 2)
    batch_norm: bool = True
    dense: tuple[int, ...] = (1024, 1024, 512)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choice("model.span", self.span, ("mels", "frames"))
        check_range("model.filters", self.filters, 1)
        check_range("model.kernel", self.kernel, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)
        check_range("the number of model.pools", len(self.pools), 1)
        for n in self.pools + self.dense:
            check_range("model.pools and model.dense", n, 1)


VARIANTS = {
    "cnn-freq": Baseline("cnn-freq", Config(span="mels")),
    "cnn-time": Baseline("cnn-time", Config(span="frames")),
}


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the network."""
    config: Config = baseline.model
    frames, n_mels = baseline.sequence.frames, baseline.front_end.n_mels
    inputs, magnitude = audio_input(frames, audio)
    x = input_spectrogram(magnitude, baseline, audio)
    x = keras.layers.Reshape((frames, n_mels), name="steps")(x)
    if config.span == "frames":
        x = keras.layers.Permute((2, 1), name="mels_as_steps")(x)
    for number, pool in enumerate(config.pools, 1):
        x = keras.layers.Conv1D(
            config.filters,
            config.kernel,
            padding="same",
            kernel_initializer="he_normal",
            name=f"conv_{number}",
        )(x)
        if config.batch_norm:
            x = FusedBatchNormalization(name=f"norm_{number}")(x)
        x = keras.layers.Activation("elu", name=f"elu_{number}")(x)
        x = keras.layers.MaxPooling1D(pool, padding="same", name=f"pool_{number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, dense_head(x, config.dense, n_factors, config.dropout), name=baseline.key)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    options = {
        "span": ("mels", "frames"),
        "filters": (16, 32, 64, 128),
        "kernel": (3, 4, 8, 16),
        "pools": ((2, 2), (4, 4), (2, 2, 2), (4, 4, 4), (2, 2, 2, 2)),
        "batch_norm": (False, True),
        "dense": DENSE,
        "dropout": DROPOUT,
    }
    return {"model": draw(hp, "model", options, baseline.model), **shared_space(hp, baseline)}
