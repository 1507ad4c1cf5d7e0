"""Waveforms or mel spectrograms into one network: "End-to-end learning for music audio", Dieleman & Schrauwen 2014.

The first layer is a strided convolution over samples, with the length and stride of the windows of a spectrogram.
It is followed by the source's network for spectrograms: twice [convolution over 8 steps, 32 filters, ReLU, max-pool
4], then 100 dense units. ``raw-mel`` is the same network on decibel mel bands of the same windows, with the same
shapes and the same training. Length, stride, nonlinearity and pooling of filters of the first layer are the
source's.

The source predicts tags of 3 s of audio. Ours are the regression to factors, ELU in the dense layers as in all
baselines here, a batch norm after the first layer of either kind, as their scales differ, and the order that the
source leaves open: filters are pooled before the nonlinearity, to as many outputs as there are mel bands.
"""

import dataclasses
from typing import Any

import keras
from keras import ops

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.augmentation import RandomGain
from cs_keras.layers.batch_norm import FusedBatchNormalization
from cs_keras.layers.front_end import FrontEndConfig, mel_spectrogram, normalize_bands
from cs_keras.layers.waveform import magnitudes
from cs_keras.models.blocks import TIME_POOLING, dense_head, mask_spectrogram, pool_over_time
from cs_keras.models.declaration import ModelConfig
from cs_keras.models.spaces import DROPOUT, choose, draw, draw_logarithmic, shared_space
from cs_keras.models.spec import Baseline, TrainingConfig, require_waveforms

FRONTS = ("raw", "mel")
NONLINEARITIES = ("relu", "log_square", "log_abs")
FEATURE_POOLING = ("none", "l2", "max")
WINDOWS = ((1024, 1024), (1024, 512), (512, 512), (512, 256), (256, 256))  # lengths and strides of the source
TINY = 1e-12  # under the root of an L2 norm, which has no gradient at 0


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of the network.

    Attributes
    ----------
    front
        First layer: ``raw``, a strided convolution over samples; or ``mel``, a decibel mel spectrogram.
    length, stride
        Length and stride, in samples, of the convolution or of the windows of the spectrogram.
    filters
        Outputs of the strided convolution; a spectrogram has ``front_end.n_mels`` instead.
    nonlinearity
        Nonlinearity of the strided convolution: ``relu``; ``log_square``, ``ln(1 + compression * x**2)``; or
        ``log_abs``, ``ln(1 + compression * |x|)``.
    compression
        Factor in both logarithms.
    feature_pooling, pool_size
        ``l2`` or ``max`` pooling of the strided convolution over groups of `pool_size` filters, which multiplies
        the number of filters; or ``none``.
    convolutions
        Filters of each convolution over steps.
    kernel, pool
        Kernel length and pool size of each convolution, in steps.
    time_pooling
        ``flatten``: dense layers take all steps; ``mean_max``: they take mean and maximum over the steps.
    dense, dropout
        Units of each hidden dense layer, and the dropout rate after it.
    """

    front: str = "raw"
    length: int = 1024
    stride: int = 1024
    filters: int = 128
    nonlinearity: str = "relu"
    compression: float = 1e4
    feature_pooling: str = "none"
    pool_size: int = 4
    convolutions: tuple[int, ...] = (32, 32)
    kernel: int = 8
    pool: int = 4
    time_pooling: str = "flatten"
    dense: tuple[int, ...] = (100,)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choice("model.front", self.front, FRONTS)
        check_choice("model.nonlinearity", self.nonlinearity, NONLINEARITIES)
        check_choice("model.feature_pooling", self.feature_pooling, FEATURE_POOLING)
        check_choice("model.time_pooling", self.time_pooling, TIME_POOLING)
        check_range("model.length", self.length, 16, 65_536)
        check_range("model.stride", self.stride, 1, self.length)
        check_range("model.pool_size", self.pool_size, 2)
        check_range("model.dropout", self.dropout, 0, 0.95)
        for name in ("filters", "kernel", "pool"):
            check_range(f"model.{name}", getattr(self, name), 1)
        for n in self.convolutions + self.dense:
            check_range("model.convolutions and model.dense", n, 1)
        if not self.compression > 0:
            raise ConfigError(f"model.compression must be above 0. Received: {self.compression}.")

    @property
    def needs_waveforms(self) -> bool:
        """Whether the dataset must hold waveforms: also for ``mel``, whose windows are its own."""
        return True


_RAW = Baseline(
    "raw",
    Config(),
    TrainingConfig(learning_rate=1e-3, schedule="cosine", epochs=20),
    SequenceConfig(frames=128),  # 3 s, as in the source
    FrontEndConfig(order="mel_db"),
)
VARIANTS = {
    baseline.key: baseline
    for baseline in (
        _RAW,
        *(
            dataclasses.replace(
                _RAW, key=f"raw-{length}-{stride}", model=Config(length=length, stride=stride)
            )
            for length, stride in WINDOWS[1:]
        ),
        dataclasses.replace(_RAW, key="raw-l2", model=Config(feature_pooling="l2")),
        dataclasses.replace(_RAW, key="raw-mel", model=Config(front="mel")),
    )
}


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the network."""
    require_waveforms(baseline, audio)
    config: Config = baseline.model
    augment = baseline.augment
    if augment.time_stretch:
        raise ConfigError(
            f"augment.time_stretch must be 0 for {baseline.key}: it changes magnitudes, and this model takes "
            f"waveforms. Received: {augment.time_stretch}."
        )
    inputs = keras.Input((baseline.sequence.frames, audio.frame_size), name=audio.content)
    x = RandomGain(augment.gain_db, name="gain")(inputs) if augment.gain_db else inputs
    x = _learned(x, config) if config.front == "raw" else _mel(x, baseline, audio)
    steps, n = x.shape[1:3]
    x = keras.layers.Reshape((steps, n), name="steps")(mask_spectrogram(x, augment))
    x = FusedBatchNormalization(name="norm_front")(x)
    for number, filters in enumerate(config.convolutions, 1):
        x = keras.layers.Conv1D(
            filters, config.kernel, padding="same", kernel_initializer="he_normal", name=f"conv_{number}"
        )(x)
        x = keras.layers.Activation("relu", name=f"relu_{number}")(x)
        x = keras.layers.MaxPooling1D(config.pool, padding="same", name=f"pool_{number}")(x)
    x = pool_over_time(x, config.time_pooling)
    return keras.Model(inputs, dense_head(x, config.dense, n_factors, config.dropout), name=baseline.key)


def _learned(inputs: Any, config: Config) -> Any:
    """Apply the strided convolution to samples; return shape (batch, steps, filters, 1).

    There is a step for every stride; the last windows are padded with zeros, as those of the spectrogram are.
    """
    n_samples = inputs.shape[1] * inputs.shape[2]
    steps = -(-n_samples // config.stride)
    n_missing = (steps - 1) * config.stride + config.length - n_samples
    group = 1 if config.feature_pooling == "none" else config.pool_size
    x = keras.layers.Reshape((n_samples, 1), name="samples")(inputs)
    x = keras.layers.ZeroPadding1D((0, n_missing), name="filled")(x)
    x = keras.layers.Conv1D(
        config.filters * group,
        config.length,
        config.stride,
        kernel_initializer="he_normal",
        name="strided",
    )(x)
    x = keras.layers.Reshape((steps, config.filters, group), dtype="float32", name="groups")(x)
    if config.feature_pooling == "l2":
        x = ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + TINY)
    elif config.feature_pooling == "max":
        x = ops.max(x, axis=-1, keepdims=True)
    if config.nonlinearity == "relu":
        return keras.layers.Activation("relu", name="relu_front")(x)
    size = ops.square(x) if config.nonlinearity == "log_square" else ops.abs(x)
    return ops.log1p(config.compression * size)


def _mel(inputs: Any, baseline: Baseline, audio: AudioConfig) -> Any:
    """Compute decibel mel bands of samples, shape (batch, steps, n_mels, 1), float32."""
    config: Config = baseline.model
    windows = dataclasses.replace(audio, n_fft=config.length, hop_length=config.stride)
    mel_db = mel_spectrogram(magnitudes(inputs, windows), baseline.front_end, windows)
    return normalize_bands(mel_db, baseline.front_end)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    start: Config = baseline.model
    length, stride = choose(hp, "model.length_stride", WINDOWS, (start.length, start.stride))
    options = {
        "convolutions": ((32,), (32, 32), (64, 64), (32, 32, 32)),
        "kernel": (4, 8),
        "time_pooling": TIME_POOLING,
        "dense": ((100,), (512,), (1024,), (512, 512)),
        "dropout": DROPOUT,
    }
    model = {"length": length, "stride": stride} | draw(hp, "model", options, start)
    if start.front == "raw":
        model |= draw(hp, "model", {"filters": (64, 128, 256)}, start)
        model["nonlinearity"] = choose(hp, "model.nonlinearity", NONLINEARITIES, start.nonlinearity)
        with hp.conditional_scope("model.nonlinearity", ["log_square", "log_abs"]):
            model |= draw_logarithmic(hp, "model", {"compression": (1e2, 1e5)}, start)
        pooling = choose(hp, "model.feature_pooling", FEATURE_POOLING, start.feature_pooling)
        model["feature_pooling"] = pooling
        with hp.conditional_scope("model.feature_pooling", ["l2", "max"]):
            model |= draw(hp, "model", {"pool_size": (2, 4)}, start)
    return {"model": model, **shared_space(hp, baseline)}
