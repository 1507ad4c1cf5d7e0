"""Magnitude frames to decibel mel frames, inside the model and so on the GPU: Kapre layers only."""

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Iterator
from typing import Any

import kapre
import keras
from keras import ops

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import OMIT_IF_DEFAULT, check_choice, check_range
from cs_keras.errors import ConfigError
from cs_keras.layers.waveform import audio_input

BAND_NORMALIZATION = "normalize_bands"


@dataclasses.dataclass(frozen=True)
class FrontEndConfig:
    """Settings of the decibel mel spectrogram; the defaults are those of the reference thesis (Pohl 2019).

    Attributes
    ----------
    n_mels
        Mel bands (Slaney's scale and normalisation, as librosa's default).
    f_min, f_max
        Lowest and highest frequency of the mel bands, in Hz; an f_max of None is half the sample rate.
    order
        ``db_mel``: decibels of the magnitudes, then the filterbank, as the thesis; ``mel_db``: the usual order.
    amin
        Smallest magnitude, applied before the logarithm.
    dynamic_range_db
        Decibels below the loudest value of the same input at which levels are clipped. Kapre's decibel is
        ``10 log10`` of its input, so 80 dB here are 160 dB of sound pressure when the input is magnitudes.
    normalize
        Whether each mel band is standardised afterwards, by its mean and variance over train tracks. Both are
        weights of the model. For networks that are trained on mel spectrograms; off in the thesis.
    """

    n_mels: int = 128
    f_min: float = 0.0
    f_max: float | None = None
    order: str = "db_mel"
    amin: float = 1e-10
    dynamic_range_db: float = 80.0
    normalize: bool = dataclasses.field(default=False, metadata=OMIT_IF_DEFAULT)

    def __post_init__(self) -> None:
        check_range("front_end.n_mels", self.n_mels, 1)
        check_range("front_end.f_min", self.f_min, 0)
        check_choice("front_end.order", self.order, ("db_mel", "mel_db"))
        if not self.amin > 0 or not self.dynamic_range_db > 0:
            raise ConfigError("front_end.amin and front_end.dynamic_range_db must be above 0.")
        if self.f_max is not None and self.f_max <= self.f_min:
            raise ConfigError(f"front_end.f_max must lie above f_min = {self.f_min}. Received: {self.f_max}.")


@keras.saving.register_keras_serializable("cs_keras")
class Decibel(kapre.MagnitudeToDecibel):  # type: ignore[misc]
    """Kapre's decibels in half its passes over memory, which take most of a front end's time.

    Levels below the range are clipped before the logarithm, together with ``amin``.
    """

    def call(self, x: Any) -> Any:
        """Return ``10 log10(x / max(ref_value, amin))``, shape as `x`, clipped below each input's peak."""
        peak = ops.max(x, axis=tuple(range(1, len(x.shape))), keepdims=True)
        floor = ops.maximum(peak * 10.0 ** (-self.dynamic_range / 10.0), self.amin)
        level = ops.log(ops.maximum(x, floor)) * (10.0 / math.log(10.0))
        reference = max(self.ref_value, self.amin)
        return level if reference == 1.0 else level - 10.0 * math.log10(reference)


def mel_spectrogram(magnitude: Any, config: FrontEndConfig, audio: AudioConfig, suffix: str = "") -> Any:
    """Return the decibel mel spectrogram, shape (batch, frames, n_mels, 1), float32, of magnitude frames.

    `magnitude` is a Keras tensor, shape (batch, frames, n_bins), any float dtype. Computes in float32 under any
    dtype policy: 80 dB do not fit into float16. `suffix` is that of the layers' names, where a network has
    several front ends.

    Raises ConfigError when f_max lies above half the sample rate.
    """
    f_max = audio.sample_rate / 2 if config.f_max is None else config.f_max
    if f_max > audio.sample_rate / 2:
        raise ConfigError(
            f"front_end.f_max must be at most half the sample rate, {audio.sample_rate / 2} Hz. Received: {f_max}."
        )
    if config.f_min >= f_max:
        raise ConfigError(f"front_end.f_min must lie below f_max = {f_max}. Received: {config.f_min}.")
    decibel = Decibel(
        ref_value=1.0,
        amin=config.amin,
        dynamic_range=config.dynamic_range_db,
        dtype="float32",
        name=f"decibel{suffix}",
    )
    mel = mel_filterbank(audio, config.n_mels, config.f_min, f_max, f"mel{suffix}")
    x = keras.layers.Reshape((-1, audio.n_bins, 1), dtype="float32", name=f"channel{suffix}")(magnitude)
    return mel(decibel(x)) if config.order == "db_mel" else decibel(mel(x))


def build_front_end(
    audio: AudioConfig | None = None, *, frames: int | None = None, **settings: Any
) -> keras.Model:
    """Build the front end as a layer for a model of your own: frames of a dataset to decibel mel bands.

    Input shape (batch, frames, n_bins), any float dtype: Fourier magnitudes; of a dataset that stores samples,
    (batch, frames, hop_length). Output shape (batch, frames, n_mels, 1), float32, in dB: ``10 log10`` of the
    input. It has no trainable weights, is computed on the GPU, and is saved inside the model.

    Parameters
    ----------
    audio
        Settings of the frames: ``open_dataset(folder).info.audio``; None for the defaults, 22,050 Hz and windows
        of 1,024 samples every 512.
    frames
        Frames of a sequence; None for any number.
    settings
        Those of `FrontEndConfig`, such as ``n_mels=96``; `normalize` is only for `run_baselines`, which fits it.

    Raises
    ------
    ConfigError
        When a setting is out of range, or `normalize` is given.
    TypeError
        When there is no such setting.

    Examples
    --------
    >>> import keras
    >>> import cs_keras as cs
    >>> front_end = cs.build_front_end(frames=256, n_mels=96, f_max=8000.0)
    >>> front_end.input_shape, front_end.output_shape
    ((None, 256, 513), (None, 256, 96, 1))
    >>> model = keras.Sequential([front_end, keras.layers.Conv2D(8, 3), keras.layers.GlobalMaxPooling2D()])
    >>> model.output_shape
    (None, 8)
    """
    if frames is not None:
        check_range("frames", frames, 1)
    audio = audio or AudioConfig()
    inputs, magnitude = audio_input(frames, audio)
    config = FrontEndConfig(**settings)
    if config.normalize:
        raise ConfigError(
            "normalize needs statistics of train tracks, which run_baselines fits; leave it out."
        )
    return keras.Model(inputs, mel_spectrogram(magnitude, config, audio), name="front_end")


def normalize_bands(x: Any, config: FrontEndConfig) -> Any:
    """Standardise the mel bands of `x`, shape (batch, frames, n_mels, 1), if ``config.normalize``.

    Until the layer `BAND_NORMALIZATION` is fitted, by `cs_keras.training.band_statistics`, it changes nothing.
    """
    if not config.normalize:
        return x
    return keras.layers.Normalization(axis=2, dtype="float32", name=BAND_NORMALIZATION)(x)


def mel_filterbank(
    audio: AudioConfig, n_mels: int, f_min: float, f_max: float, name: str
) -> kapre.ApplyFilterbank:
    """Return the layer from shape (batch, frames, n_bins, 1) to (batch, frames, n_mels, 1), float32."""
    with narrow_bands():
        return kapre.ApplyFilterbank(
            type="mel",
            filterbank_kwargs={
                "sample_rate": audio.sample_rate,
                "n_freq": audio.n_bins,
                "n_mels": n_mels,
                "f_min": f_min,
                "f_max": f_max,
            },
            data_format="channels_last",
            dtype="float32",
            name=name,
        )


@contextlib.contextmanager
def narrow_bands() -> Iterator[None]:
    """Ignore the warning about mel bands narrower than a short window's bins: those bands stay 0."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Empty filters detected", UserWarning)
        yield
