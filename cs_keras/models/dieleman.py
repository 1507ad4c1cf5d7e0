"""The convolutional network of "Recommending music on Spotify with deep learning" (Dieleman 2014).

Decibel mel spectrogram, then convolutions along time alone, 4 frames wide, max-pooled by 4, 2 and 2; after the last
one **global temporal pooling**, each filter's mean, maximum and L2 norm over time; then dense layers with dropout.

The source names the frames (599), mel bands (128), the width, the pools, 256 filters in the first layer, 2 x 2048
dense units and 40 factors. Ours are 256, 512 and 512 filters in the other layers, dropout of 0.5 after dense
layers, padding so that sequences of any length fit, momentum 0.9, and a learning rate of 1e-3 with a warm-up over a
tenth of the steps: without warm-up training starts worse, and at 1e-2 it diverges.

Its 599 frames are 30 s, of about 50 ms each. Ours last 23 ms: `dieleman` keeps the published shape, 13.9 s;
`dieleman-30s` has the published duration, 1,292 frames; `dieleman-3s` the windows of van den Oord, Dieleman &
Schrauwen 2013, whose predictions are averaged over a track. A track shorter than the sequence is padded with
silence, which enters the statistics over time: use `dieleman-3s` if many tracks are short.

The source's targets have unit norm: use ``training.loss = unit_mse``, or the default loss with factors of
``cs-keras factors --scaling unit_norm``, which a normalised output needs. The source's variations are settings:
maxout (Goodfellow et al. 2013), stochastic pooling, an L2-normalised output, bypass connections,
``augment.time_stretch``.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.stochastic_pooling import StochasticPooling1D
from cs_keras.layers.waveform import audio_input
from cs_keras.models.blocks import input_spectrogram
from cs_keras.models.declaration import ModelConfig
from cs_keras.models.spaces import DROPOUT, choose, draw, shared_space
from cs_keras.models.spec import OPTIMIZERS, Baseline, TrainingConfig

INITIALIZERS = {"relu": "he_normal", "maxout": "lecun_normal"}  # preserve the variance between layers
POOLING = ("max", "stochastic")
TINY = (
    1e-12  # under the root of an L2 norm, which has no gradient at 0: the output of filters that never fire
)


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of the network.

    Attributes
    ----------
    filters
        Outputs of each convolution.
    kernel
        Kernel length of each convolution, in frames.
    pools
        Pool size after each convolution but the last.
    activation
        Activation of convolutions and hidden dense layers: ``relu``; or ``maxout``, the larger of each two linear
        outputs, which doubles the parameters of a layer.
    pooling
        ``max``; or ``stochastic`` (see `cs_keras.layers.stochastic_pooling`), for ``relu`` only, as it reads
        activations as probabilities.
    bypass
        Whether the dense layers take the statistics over time of every convolution, not of the last one only.
    dense, dropout
        Units of each hidden dense layer, and the dropout rate after it.
    normalize_output
        Whether outputs are divided by their L2 norm, which suits targets with ``unit_norm`` scaling.
    """

    filters: tuple[int, ...] = (256, 256, 512, 512)
    kernel: int = 4
    pools: tuple[int, ...] = (4, 2, 2)
    activation: str = "relu"
    pooling: str = "max"
    bypass: bool = False
    dense: tuple[int, ...] = (2048, 2048)
    dropout: float = 0.5
    normalize_output: bool = False

    def __post_init__(self) -> None:
        check_choice("model.activation", self.activation, INITIALIZERS)
        check_choice("model.pooling", self.pooling, POOLING)
        check_range("model.kernel", self.kernel, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)
        if len(self.filters) != len(self.pools) + 1:
            raise ConfigError(
                "model.pools must name one pool for each of model.filters but the last. "
                f"Received: {self.pools} and {self.filters}."
            )
        for n in self.filters + self.pools + self.dense:
            check_range("model.filters, model.pools and model.dense", n, 1)
        if self.pooling == "stochastic" and self.activation != "relu":
            raise ConfigError(
                "model.pooling = stochastic needs model.activation = relu, whose outputs are not negative. "
                f"Received: {self.activation}."
            )

    def notes(self, baseline: Baseline) -> tuple[str, ...]:
        """Warn that normalised outputs cannot reach targets of other lengths."""
        if not self.normalize_output or baseline.training.loss == "cosine":
            return ()
        return ("its outputs have length 1, which suits only factors with unit_norm scaling",)


_TRAINING = TrainingConfig(optimizer="nesterov", learning_rate=1e-3, schedule="constant", warmup=0.1)
_FILTERS = ((64, 64, 128, 128), (128, 128, 256, 256), (256, 256, 256, 512), (256, 256, 512, 512))
_POOLS = ((2, 2, 2), (4, 2, 2), (4, 4, 2))
_DENSE = ((512,), (1024, 1024), (2048,), (2048, 2048))

VARIANTS = {
    baseline.key: baseline
    for baseline in (
        Baseline("dieleman", Config(), _TRAINING, SequenceConfig(frames=599)),
        Baseline("dieleman-3s", Config(), _TRAINING, SequenceConfig(frames=128)),
        Baseline("dieleman-30s", Config(), _TRAINING, SequenceConfig(frames=1292)),
    )
}


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the network."""
    config: Config = baseline.model
    frames, n_mels = baseline.sequence.frames, baseline.front_end.n_mels
    inputs, magnitude = audio_input(frames, audio)
    x = input_spectrogram(magnitude, baseline, audio)
    x = keras.layers.Reshape((frames, n_mels), name="steps")(x)
    convolved = []
    for number, (filters, pool) in enumerate(zip(config.filters, (*config.pools, 1), strict=True), 1):
        convolution = keras.layers.Conv1D(
            _n_linear(filters, config),
            config.kernel,
            padding="same",
            kernel_initializer=INITIALIZERS[config.activation],
            name=f"conv_{number}",
        )
        convolved.append(_activate(convolution(x), config, f"{config.activation}_{number}"))
        x = _pool(convolved[-1], pool, config, f"pool_{number}")
    sources = convolved if config.bypass else convolved[-1:]
    pooled = [statistic for x in sources for statistic in _statistics(x)]
    x = keras.layers.Concatenate(dtype="float32", name="pooled_over_time")(pooled)
    return keras.Model(inputs, _head(x, config, n_factors), name=baseline.key)


def _n_linear(n: int, config: Config) -> int:
    """Return the number of linear outputs of a layer of `n` outputs."""
    return 2 * n if config.activation == "maxout" else n


def _activate(x: Any, config: Config, name: str) -> Any:
    """Apply ReLU, or maxout over pairs of channels."""
    if config.activation == "relu":
        return keras.layers.Activation("relu", name=name)(x)
    pairs = keras.layers.Reshape((*x.shape[1:-1], x.shape[-1] // 2, 2), name=f"{name}_pairs")(x)
    return ops.max(pairs, axis=-1)


def _pool(x: Any, pool: int, config: Config, name: str) -> Any:
    if pool == 1:
        return x
    if config.pooling == "stochastic":
        return StochasticPooling1D(pool, name=name)(x)
    return keras.layers.MaxPooling1D(pool, padding="same", name=name)(x)


def _statistics(x: Any) -> tuple[Any, Any, Any]:
    """Compute mean, maximum and L2 norm over time: (batch, steps, n) to (batch, n) each.

    In float32, as squares of activations overflow float16.
    """
    x = ops.cast(x, "float32")
    return ops.mean(x, axis=1), ops.max(x, axis=1), ops.sqrt(ops.sum(ops.square(x), axis=1) + TINY)


def _head(x: Any, config: Config, n_factors: int) -> Any:
    """Add dense layers and outputs, (batch, n) to (batch, n_factors), which start at zero unless normalised."""
    for number, n in enumerate(config.dense, 1):
        dense = keras.layers.Dense(
            _n_linear(n, config), kernel_initializer=INITIALIZERS[config.activation], name=f"dense_{number}"
        )
        x = _activate(dense(x), config, f"dense_{config.activation}_{number}")
        if config.dropout:
            x = keras.layers.Dropout(config.dropout, name=f"dropout_{number}")(x)
    initializer = "glorot_uniform" if config.normalize_output else "zeros"  # zero has no direction
    x = keras.layers.Dense(n_factors, kernel_initializer=initializer, dtype="float32", name="factors")(x)
    if not config.normalize_output:
        return x
    return keras.layers.UnitNormalization(dtype="float32", name="unit_norm")(x)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings from `hp`, except `normalize_output`, which depends on the scaling of targets."""
    start = baseline.model
    options: dict[str, Iterable[Any]] = {
        "filters": [filters for filters in _FILTERS if len(filters) == len(start.filters)],
        "pools": [pools for pools in _POOLS if len(pools) == len(start.pools)],
        "kernel": (2, 4, 8),
        "bypass": (False, True),
        "dense": _DENSE,
        "dropout": DROPOUT,
    }
    model = draw(hp, "model", options, start)
    model["activation"] = choose(hp, "model.activation", INITIALIZERS, start.activation)
    with hp.conditional_scope("model.activation", ["relu"]):
        model["pooling"] = choose(hp, "model.pooling", POOLING, start.pooling) or "max"
    changes = {"model": model, **shared_space(hp, baseline)}
    changes["training"] |= draw(hp, "training", {"optimizer": OPTIMIZERS}, baseline.training)
    with hp.conditional_scope("training.optimizer", ["nesterov"]):
        changes["training"] |= draw(hp, "training", {"momentum": (0.8, 0.9, 0.95, 0.99)}, baseline.training)
    changes["augment"] |= draw(hp, "augment", {"time_stretch": (0.0, 0.05, 0.1, 0.2)}, baseline.augment)
    return changes
