"""The music tagger of Choi et al. 2017, adapted: sections 5.4 and 6.4 of the reference thesis (Pohl 2019).

Decibel mel spectrogram at this project's own settings, normalised as one channel, then the tagger's five
convolutions with their pretrained kernels and biases. New batch norms replace its own. The thesis's parameter count
implies one fewer; here the first convolution has none, since its input is normalised already, whereas the input of
the dense layers must be: the fifth layer's pretrained kernels amplify twentyfold. Pools are smaller than the
tagger's, to suit shorter input. The count fixes the number of positions after them, 64 of 256 x 128, not each pool.

The thesis fine-tuned at a learning rate of 1e-8. At that rate the new layers barely move either, since a step of
Adam is about as large as the learning rate, and outputs stay at the mean, where they start. So the fine-tuned rows
train the new layers first, at the rate of the other rows, and then all, the tagger's at a rate of their own.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.batch_norm import FusedBatchNormalization
from cs_keras.layers.waveform import audio_input
from cs_keras.models.blocks import dense_head, input_spectrogram
from cs_keras.models.choi_weights import FILTERS, POOL_FRAMES, POOL_MELS, read_tagger
from cs_keras.models.declaration import ModelConfig
from cs_keras.models.spaces import DENSE, DROPOUT, draw, draw_pools, shared_space
from cs_keras.models.spec import Baseline, TrainingConfig


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of the network.

    Attributes
    ----------
    weights
        Path of a file with the tagger's weights, of either generation (see `choi_weights`); ``none`` for random
        ones.
    frozen
        Whether the convolutions stay as they are.
    pool_frames, pool_mels
        Max-pooling after each of the five convolutions, over time and over mel bands.
    dense, dropout
        Units of each hidden dense layer, and the dropout rate after it.
    """

    weights: str | None = None
    frozen: bool = True
    pool_frames: tuple[int, ...] = (2, 2, 2, 2, 2)
    pool_mels: tuple[int, ...] = (2, 2, 2, 2, 1)
    dense: tuple[int, ...] = (1024, 1024, 512)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_range("model.dropout", self.dropout, 0, 0.95)
        if len(self.pool_frames) != 5 or len(self.pool_mels) != 5:
            raise ConfigError(
                "model.pool_frames and model.pool_mels must name a pool for each of the tagger's five "
                f"convolutions. Received: {self.pool_frames} and {self.pool_mels}."
            )
        for n in self.pool_frames + self.pool_mels + self.dense:
            check_range("model.pool_frames, model.pool_mels and model.dense", n, 1)

    @property
    def pretrained_layers(self) -> tuple[str, ...]:
        """Names of the tagger's convolutions."""
        return tuple(f"conv_{number}" for number in range(1, len(self.pool_frames) + 1))

    def notes(self, baseline: Baseline) -> tuple[str, ...]:
        """Say that convolutions are random where they are."""
        if self.weights is not None:
            return ()
        state = "are random and frozen" if self.frozen else "start from random weights"
        return (
            f"no pretrained tagger was given (models.{baseline.key}.model.weights): its convolutions {state}",
        )


_FINE = Config(frozen=False)
_FINE_TRAINING = TrainingConfig(pretrained_learning_rate=1e-5, frozen_epochs=2)

VARIANTS = {
    baseline.key: baseline
    for baseline in (
        Baseline("choi", Config()),
        Baseline("choi-finetune", _FINE, _FINE_TRAINING),
        Baseline(
            "choi-60s",
            _FINE,
            dataclasses.replace(_FINE_TRAINING, batch_size=8),
            SequenceConfig(frames=2560, skip_start_s=30.0, skip_end_s=30.0),
        ),
    )
}


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the network."""
    config: Config = baseline.model
    inputs, magnitude = audio_input(baseline.sequence.frames, audio)
    x = input_spectrogram(magnitude, baseline, audio)
    x = FusedBatchNormalization(name="norm_input")(x)
    for number, pool in enumerate(zip(config.pool_frames, config.pool_mels, strict=True), 1):
        x = keras.layers.Conv2D(
            FILTERS,
            3,
            padding="same",
            kernel_initializer="he_normal",
            trainable=not config.frozen,
            name=f"conv_{number}",
        )(x)
        if number > 1:
            x = FusedBatchNormalization(name=f"norm_{number}")(x)
        x = keras.layers.Activation("elu", name=f"elu_{number}")(x)
        x = keras.layers.MaxPooling2D(pool, padding="same", name=f"pool_{number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    model = keras.Model(inputs, dense_head(x, config.dense, n_factors, config.dropout), name=baseline.key)
    if config.weights is not None:
        for number, block in enumerate(read_tagger(config.weights).blocks, 1):
            model.get_layer(f"conv_{number}").set_weights([block.kernel, block.bias])
    return model


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    options = {"frozen": (False, True), "dense": DENSE, "dropout": DROPOUT}
    pools = tuple(zip(POOL_FRAMES, POOL_MELS, strict=True))  # the tagger's own
    model = draw_pools(hp, [pools], baseline.model) | draw(hp, "model", options, baseline.model)
    return {"model": model, **shared_space(hp, baseline)}
