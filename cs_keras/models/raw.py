"""Samples or a mel spectrogram into one network: "End-to-end learning for music audio", Dieleman & Schrauwen 2014.

The first layer is a strided convolution over samples, as long and as far apart as the windows of a spectrogram;
what follows is the network that the source puts on spectrograms: twice [convolution over 8 steps, 32 filters, ReLU,
max-pool 4], then 100 dense neurons. ``raw-mel`` is that network on decibel mel bands of the same windows: as many
numbers, as many steps, the same settings of training. Settings of the first layer are the source's: lengths and
strides, nonlinearities (`nonlinearity`) and pooling of its filters (`feature_pooling`).

The source predicts tags of 3 s of sound. Ours are the regression to factors, ELU in the dense layers as all
baselines here have it, a batch norm after the first layer of either kind, whose numbers differ in size, and what
the source leaves open: filters are pooled before the nonlinearity, to as many outputs as there are mel bands.
"""

import dataclasses
from typing import Any, ClassVar

import keras
from keras import ops

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.augmentation import RandomGain
from cs_keras.layers.front_end import FrontEndConfig, mel_spectrogram
from cs_keras.layers.waveform import magnitudes
from cs_keras.models.regressors import draw_logarithmic
from cs_keras.models.spaces import DROPOUT, choose, draw, shared_space
from cs_keras.models.spec import (
    TIME_POOLING,
    Baseline,
    TrainingConfig,
    dense_head,
    hide_stretches,
    pool_over_time,
    require_waveforms,
)

FRONTS = ("raw", "mel")
NONLINEARITIES = ("relu", "log_square", "log_abs")
FEATURE_POOLING = ("none", "l2", "max")
WINDOWS = ((1024, 1024), (1024, 512), (512, 512), (512, 256), (256, 256))  # lengths and strides of the source
TINY = 1e-12  # under the root of an L2 norm, which has no slope at 0


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the network.

    Attributes
    ----------
    front
        ``raw``: a strided convolution over samples; ``mel``: a decibel mel spectrogram of windows as long and as
        far apart.
    length, stride
        Of either, in samples.
    filters
        Of ``raw``: outputs of the strided convolution; a spectrogram has ``front_end.n_mels`` instead.
    nonlinearity
        Of ``raw``: ``relu``; ``log_square``, ``ln(1 + compression * x**2)``; or ``log_abs``, ``ln(1 + compression *
        |x|)``.
    compression
        Of both logarithms.
    feature_pooling, pool_size
        Of ``raw``: ``l2`` or ``max`` over groups of `pool_size` filters, of which there are as many more; or
        ``none``.
    convolutions
        Filters of each convolution over steps.
    kernel, pool
        Steps that each convolution spans, and that are pooled after it.
    time_pooling
        See `cs_keras.models.spec.pool_over_time`.
    dense, dropout
        Neurons of each hidden dense layer, and the share of their outputs dropped in training.
    """

    needs_waveforms: ClassVar[bool] = True

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

    Raises
    ------
    ConfigError
        When the dataset holds magnitudes, or samples would have to be stretched.
    """
    require_waveforms(baseline, audio)
    config: Config = baseline.model
    augment = baseline.augment
    if augment.time_stretch:
        raise ConfigError(
            f"augment.time_stretch is of magnitudes, and {baseline.key} varies sound before that; expected 0. "
            f"Received: {augment.time_stretch}."
        )
    sound = keras.Input((baseline.sequence.frames, audio.frame_size), name=audio.content)
    x = RandomGain(augment.gain_db, name="gain")(sound) if augment.gain_db else sound
    x = _learned(x, config) if config.front == "raw" else _mel(x, baseline, audio)
    steps, n = x.shape[1:3]
    x = keras.layers.Reshape((steps, n), name="steps")(hide_stretches(x, augment))
    x = keras.layers.BatchNormalization(name="norm_front")(x)
    for number, filters in enumerate(config.convolutions, 1):
        x = keras.layers.Conv1D(
            filters, config.kernel, padding="same", kernel_initializer="he_normal", name=f"conv_{number}"
        )(x)
        x = keras.layers.Activation("relu", name=f"relu_{number}")(x)
        x = keras.layers.MaxPooling1D(config.pool, padding="same", name=f"pool_{number}")(x)
    x = pool_over_time(x, config.time_pooling)
    return keras.Model(sound, dense_head(x, config.dense, n_factors, config.dropout), name=baseline.key)


def _learned(sound: Any, config: Config) -> Any:
    """Return what a strided convolution makes of samples, shape (batch, steps, filters, 1).

    There is a step for every stride; the last windows are filled up with zeros, as those of the spectrogram are.
    """
    n_samples = sound.shape[1] * sound.shape[2]
    steps = -(-n_samples // config.stride)
    n_missing = (steps - 1) * config.stride + config.length - n_samples
    group = 1 if config.feature_pooling == "none" else config.pool_size
    x = keras.layers.Reshape((n_samples, 1), name="samples")(sound)
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


def _mel(sound: Any, baseline: Baseline, audio: AudioConfig) -> Any:
    """Return decibel mel bands of sound, shape (batch, steps, n_mels, 1), float32."""
    config: Config = baseline.model
    windows = dataclasses.replace(audio, n_fft=config.length, hop_length=config.stride)
    return mel_spectrogram(magnitudes(sound, windows), baseline.front_end, windows)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Return settings drawn from `hp` (keras_tuner.HyperParameters) as changes of `baseline`, the default point."""
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
            model |= draw_logarithmic(hp, {"compression": (1e2, 1e5)}, start)
        pooling = choose(hp, "model.feature_pooling", FEATURE_POOLING, start.feature_pooling)
        model["feature_pooling"] = pooling
        with hp.conditional_scope("model.feature_pooling", ["l2", "max"]):
            model |= draw(hp, "model", {"pool_size": (2, 4)}, start)
    return {"model": model, **shared_space(hp, baseline)}
