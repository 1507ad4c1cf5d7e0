"""Convolutional networks on small square kernels: section 5.2 of the reference thesis (Pohl 2019) and its variants.

Decibel mel spectrogram, then blocks of [convolution, batch norm, ELU, max-pool], flattened into dense
layers. The thesis gives pools as mel x time; here time comes first.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import OMIT_IF_DEFAULT, check_choice, check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.batch_norm import FusedBatchNormalization
from cs_keras.layers.waveform import audio_input
from cs_keras.models.blocks import TIME_POOLING, dense_head, input_spectrogram, pool_over_time
from cs_keras.models.declaration import ModelConfig
from cs_keras.models.spaces import DENSE, DROPOUT, draw, draw_pools, shared_space
from cs_keras.models.spec import Baseline, TrainingConfig, check_pools


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of the network.

    Attributes
    ----------
    filters
        Filters of every convolution.
    kernel_size
        Frames and mel bands of each convolution's kernels, 3 in the thesis: one number per block, or one for all.
    pool_frames, pool_mels
        Max-pooling of each block, over time and over mel bands: one number per block.
    batch_norm
        Whether batch norm follows each convolution.
    dense, dropout
        Units of each hidden dense layer, and the dropout rate after it.
    time_pooling
        ``flatten``: dense layers take all steps; ``mean_max``: they take mean and maximum over the steps.
    """

    filters: int = 64
    kernel_size: tuple[int, ...] = dataclasses.field(default=(3,), metadata=OMIT_IF_DEFAULT)
    pool_frames: tuple[int, ...] = (2, 4, 2)
    pool_mels: tuple[int, ...] = (2, 2, 2)
    batch_norm: bool = False
    dense: tuple[int, ...] = (512,)
    time_pooling: str = "flatten"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choice("model.time_pooling", self.time_pooling, TIME_POOLING)
        check_range("model.filters", self.filters, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)
        check_pools(self)
        n_blocks = len(self.pool_frames)
        if len(self.kernel_size) not in (1, n_blocks) or min(self.kernel_size, default=0) < 1:
            raise ConfigError(
                f"model.kernel_size must be one number of at least 1, or {n_blocks} of them, one per block. "
                f"Received: {list(self.kernel_size)}."
            )

    @property
    def blocks(self) -> list[tuple[int, tuple[int, int]]]:
        """Kernel size and pool, over time and over mel bands, of each block."""
        n_blocks = len(self.pool_frames)
        sizes = self.kernel_size * n_blocks if len(self.kernel_size) == 1 else self.kernel_size
        return list(zip(sizes, zip(self.pool_frames, self.pool_mels, strict=True), strict=True))


# 5 blocks to 16 x 4 (18 s) and 54 x 4 (60 s) positions: the counts of the thesis fix their number, not each pool.
_LONG = Config(batch_norm=True, pool_frames=(2, 4, 2, 3, 1), pool_mels=(2, 2, 2, 2, 2), dense=(1024,))
_SKIP: dict[str, Any] = {"skip_start_s": 30.0, "skip_end_s": 30.0}
# No structure was found that has the thesis's parameter count. It implies about 65,000 inputs to the dense layer,
# four times those of the other rows, so the last convolutions cannot have been pooled: 32 x 32 positions here.
_DEEP = Config(batch_norm=True, pool_frames=(2, 4, 1, 1, 1), pool_mels=(2, 2, 1, 1, 1))
_POOLS = (  # searched: frames x mels of each block; none has more inputs to the dense layers than the thesis
    ((4, 4), (4, 4)),
    ((2, 2), (4, 2), (2, 2)),
    ((4, 2), (4, 4), (4, 4)),
    ((2, 2), (4, 2), (2, 2), (2, 2)),
    ((2, 2), (4, 2), (2, 2), (3, 2), (1, 2)),
)

_BEST = Baseline(  # see docs/what-works.md
    "cnn-best",
    Config(batch_norm=True, time_pooling="mean_max"),
    TrainingConfig(learning_rate=3e-4, schedule="cosine"),
    SequenceConfig(frames=128),
)
VARIANTS = {
    baseline.key: baseline
    for baseline in (
        Baseline("cnn", Config()),
        Baseline("cnn-bn", Config(batch_norm=True)),
        Baseline("cnn-bn-10", Config(batch_norm=True), TrainingConfig(epochs=10)),
        Baseline("cnn-deep-dense", Config(batch_norm=True, dense=(512, 512, 512))),
        Baseline("cnn-wide-dense", Config(batch_norm=True, dense=(2048, 2048, 2048))),
        Baseline("cnn-deep-conv", _DEEP),
        Baseline("cnn-18s", _LONG, sequence=SequenceConfig(frames=768, **_SKIP)),
        Baseline(
            "cnn-60s",
            dataclasses.replace(_LONG, dense=(1024, 1024, 1024)),
            TrainingConfig(batch_size=8),
            SequenceConfig(frames=2560, **_SKIP),
        ),
        _BEST,
        dataclasses.replace(
            _BEST,
            key="cnn-infonce",
            training=dataclasses.replace(_BEST.training, loss="infonce", temperature=0.3, batch_size=128),
        ),
        dataclasses.replace(
            _BEST,
            key="cnn-heteroscedastic",
            training=dataclasses.replace(_BEST.training, loss="gaussian_nll"),
        ),
    )
}


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the network."""
    config: Config = baseline.model
    inputs, magnitude = audio_input(baseline.sequence.frames, audio)
    x = input_spectrogram(magnitude, baseline, audio)
    for number, (size, pool) in enumerate(config.blocks, 1):
        x = keras.layers.Conv2D(
            config.filters, size, padding="same", kernel_initializer="he_normal", name=f"conv_{number}"
        )(x)
        if config.batch_norm:
            x = FusedBatchNormalization(name=f"norm_{number}")(x)
        x = keras.layers.Activation("elu", name=f"elu_{number}")(x)
        x = keras.layers.MaxPooling2D(pool, padding="same", name=f"pool_{number}")(x)
    x = keras.layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name="steps")(x)
    x = pool_over_time(x, config.time_pooling)
    return keras.Model(inputs, dense_head(x, config.dense, n_factors, config.dropout), name=baseline.key)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    options = {
        "filters": (32, 64, 96, 128),
        "kernel_size": ((3,), (5,), (7,)),
        "batch_norm": (False, True),
        "dense": DENSE,
        "time_pooling": TIME_POOLING,
        "dropout": DROPOUT,
    }
    model = draw_pools(hp, _POOLS, baseline.model) | draw(hp, "model", options, baseline.model)
    return {"model": model, **shared_space(hp, baseline)}
