"""Recurrent networks: section 6.3 of the reference thesis (Pohl 2019), as its parameter counts pin them.

Decibel mel spectrogram normalised as one channel, then blocks of [LSTM over time, batch norm], every step's
output flattened into dense layers. The thesis ran CuDNNLSTM, which has two bias vectors where Keras has one: 256
parameters more in each of the three.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.layers.batch_norm import FusedBatchNormalization
from cs_keras.layers.waveform import audio_input
from cs_keras.models.blocks import TIME_POOLING, dense_head, input_spectrogram, pool_over_time
from cs_keras.models.declaration import ModelConfig
from cs_keras.models.spaces import DENSE, DROPOUT, draw, shared_space
from cs_keras.models.spec import Baseline, TrainingConfig


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of the network.

    Attributes
    ----------
    units
        Units of each LSTM: one number per block.
    dense, dropout
        Units of each hidden dense layer, and the dropout rate after it.
    time_pooling
        ``flatten``: dense layers take all steps; ``mean_max``: they take mean and maximum over the steps.
    """

    units: tuple[int, ...] = (64, 64, 64)
    dense: tuple[int, ...] = (1024, 1024, 512)
    time_pooling: str = "flatten"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choice("model.time_pooling", self.time_pooling, TIME_POOLING)
        for n in self.units + self.dense:
            check_range("model.units and model.dense", n, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)


_SKIP: dict[str, Any] = {"skip_start_s": 30.0, "skip_end_s": 30.0}

VARIANTS = {
    baseline.key: baseline
    for baseline in (
        Baseline("lstm", Config()),
        Baseline("lstm-18s", Config(), sequence=SequenceConfig(frames=768, **_SKIP)),
        Baseline("lstm-60s", Config(), TrainingConfig(batch_size=8), SequenceConfig(frames=2560, **_SKIP)),
        Baseline(  # see docs/what-works.md
            "lstm-best",
            Config(time_pooling="mean_max"),
            TrainingConfig(epochs=10),
            SequenceConfig(frames=128),
        ),
    )
}


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the network."""
    config: Config = baseline.model
    frames, n_mels = baseline.sequence.frames, baseline.front_end.n_mels
    inputs, magnitude = audio_input(frames, audio)
    x = input_spectrogram(magnitude, baseline, audio)
    x = FusedBatchNormalization(name="norm_input")(x)
    x = keras.layers.Reshape((frames, n_mels), name="steps")(x)
    for number, units in enumerate(config.units, 1):
        x = keras.layers.LSTM(units, return_sequences=True, name=f"lstm_{number}")(x)
        x = FusedBatchNormalization(name=f"norm_{number}")(x)
    x = pool_over_time(x, config.time_pooling)
    return keras.Model(inputs, dense_head(x, config.dense, n_factors, config.dropout), name=baseline.key)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    options = {
        "units": ((64,), (64, 64), (128, 128), (32, 32, 32), (64, 64, 64), (128, 128, 128)),
        "dense": DENSE,
        "time_pooling": TIME_POOLING,
        "dropout": DROPOUT,
    }
    return {"model": draw(hp, "model", options, baseline.model), **shared_space(hp, baseline)}
