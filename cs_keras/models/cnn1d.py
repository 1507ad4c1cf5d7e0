"""Convolutional networks whose kernels span one axis and move along the other: section 5.2.2 of Pohl 2019.

Decibel mel spectrogram, then blocks of [1-D convolution, batch norm, ELU, max-pool], flattened into dense layers.
After Pons, Lidy & Serra 2016, "Experimenting with musically motivated convolutional neural networks".

The thesis's counts fix 32 kernels of length 4 and the dense layers; and they fix which axis is the channels. Its
row "slide in frequency domain" has 128 input channels, the mel bands, so that its kernels move along time; its
row "slide in time domain" has 256, the frames. The keys follow the rows, so that figures stand beside those of
the same network.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.layers.waveform import audio_input
from cs_keras.models.spaces import DENSE, DROPOUT, draw, shared_space
from cs_keras.models.spec import Baseline, dense_head, input_spectrogram


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the network.

    Attributes
    ----------
    span
        The axis that kernels span whole: ``mels``, moving along time, or ``frames``, moving along frequency.
    filters
        Kernels of every convolution.
    kernel
        Their length, in frames or in mel bands.
    pools
        Max-pooling of each block, along the axis that kernels move on; their number is that of the blocks.
    batch_norm
        Normalise after each convolution.
    dense
        Neurons of each hidden dense layer.
    dropout
        Share of each hidden dense layer's outputs dropped in training.
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
    """Return the network.

    Parameters
    ----------
    baseline
        One of `VARIANTS`, or a change of one.
    n_factors
        Outputs.
    audio
        What the dataset holds.

    Returns
    -------
    keras.Model
        (batch, frames, frame_size) sound to (batch, n_factors) scaled factors, float32.
    """
    config: Config = baseline.model
    frames, n_mels = baseline.sequence.frames, baseline.front_end.n_mels
    sound, magnitude = audio_input(frames, audio)
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
            x = keras.layers.BatchNormalization(name=f"norm_{number}")(x)
        x = keras.layers.Activation("elu", name=f"elu_{number}")(x)
        x = keras.layers.MaxPooling1D(pool, padding="same", name=f"pool_{number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(sound, dense_head(x, config.dense, n_factors, config.dropout), name=baseline.key)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Return settings drawn from `hp` (keras_tuner.HyperParameters) as changes of `baseline`, the default point."""
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
