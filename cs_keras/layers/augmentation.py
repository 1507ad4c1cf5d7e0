"""Changes of sound that training varies and prediction leaves alone: gain, tempo, masks on the mel spectrogram."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("cs_keras")
class RandomGain(keras.layers.Layer):  # type: ignore[misc]
    """Multiply each sequence of magnitudes by a gain of its own, in training alone.

    Input and output shape (batch, frames, n_bins), float32. Gains are uniform in decibels of sound pressure.

    Parameters
    ----------
    max_db
        Gains lie between minus and plus this.
    """

    def __init__(self, max_db: float, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.max_db = max_db
        self._seeds = keras.random.SeedGenerator()

    def call(self, magnitude: Any, training: bool = False) -> Any:
        """Return `magnitude`, amplified when `training`."""
        if not training:
            return magnitude
        shape = (ops.shape(magnitude)[0], 1, 1)
        gain_db = keras.random.uniform(shape, -self.max_db, self.max_db, "float32", self._seeds)
        return magnitude * ops.power(10.0, gain_db / 20.0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return `input_shape`."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {"name": self.name, "max_db": self.max_db}


@keras.saving.register_keras_serializable("cs_keras")
class TimeStretch(keras.layers.Layer):  # type: ignore[misc]
    """Make each sequence slower or faster by a share of its own, in training alone; pitch stays.

    Input and output shape (batch, frames, n_bins), magnitudes, float32. A frame is interpolated in a straight line
    between the two that it falls between. Slower, a sequence ends before its sound does, and begins anywhere that
    leaves enough; faster, the sound runs out, and is continued by its mirror image, as much at the beginning and at
    the end as chance has it.

    Parameters
    ----------
    max_change
        Speeds are uniform from 1 minus to 1 plus this; below 1.
    """

    def __init__(self, max_change: float, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.max_change = max_change
        self._seeds = keras.random.SeedGenerator()

    def call(self, magnitude: Any, training: bool = False) -> Any:
        """Return `magnitude`, stretched when `training`."""
        if not training:
            return magnitude
        uniform = keras.random.uniform((2, ops.shape(magnitude)[0], 1), dtype="float32", seed=self._seeds)
        speed = 1.0 + self.max_change * (2.0 * uniform[0] - 1.0)
        last = magnitude.shape[1] - 1
        place = last * (1.0 - speed) * uniform[1] + speed * ops.arange(last + 1, dtype="float32")
        place = last - ops.abs(last - ops.abs(place))
        before = ops.floor(place)
        share = (place - before)[:, :, None]
        frames = [
            tf.gather(magnitude, ops.cast(ops.minimum(number, last), "int32"), batch_dims=1)
            for number in (before, before + 1.0)
        ]
        return (1.0 - share) * frames[0] + share * frames[1]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return `input_shape`."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {"name": self.name, "max_change": self.max_change}


@keras.saving.register_keras_serializable("cs_keras")
class SpectrogramMasks(keras.layers.Layer):  # type: ignore[misc]
    """Hide random stretches of time and bands of each mel spectrogram behind its mean, in training alone.

    Park et al. 2019, "SpecAugment", section 2, without time warping: a mask's width is uniform from 0 to the
    widest, its place uniform among those where it fits; masks may overlap. Input and output shape (batch, frames,
    n_mels, 1), float32.

    Parameters
    ----------
    n_time_masks, max_time_frames
        Masks over all bands of a sequence, and frames that each hides at most.
    n_mel_masks, max_mels
        Masks over all its frames, and mel bands that each hides at most.
    """

    def __init__(
        self,
        n_time_masks: int,
        max_time_frames: int,
        n_mel_masks: int,
        max_mels: int,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(dtype="float32", name=name)
        self.n_time_masks, self.max_time_frames = n_time_masks, max_time_frames
        self.n_mel_masks, self.max_mels = n_mel_masks, max_mels
        self._seeds = keras.random.SeedGenerator()

    def call(self, spectrogram: Any, training: bool = False) -> Any:
        """Return `spectrogram`, masked when `training`."""
        if not training:
            return spectrogram
        batch, frames, mels, _ = ops.shape(spectrogram)
        hidden = ops.logical_or(
            self._stretches(batch, frames, self.n_time_masks, self.max_time_frames)[:, :, None, None],
            self._stretches(batch, mels, self.n_mel_masks, self.max_mels)[:, None, :, None],
        )
        return ops.where(hidden, ops.mean(spectrogram, axis=(1, 2, 3), keepdims=True), spectrogram)

    def _stretches(self, batch: Any, length: int, n: int, widest: int) -> Any:
        """Say which of `length` places lie in one of `n` random stretches, shape (batch, length), bool."""
        if not n:
            return ops.zeros((batch, length), "bool")
        uniform = keras.random.uniform((2, batch, n, 1), dtype="float32", seed=self._seeds)
        width = ops.floor(uniform[0] * (min(widest, length) + 1))
        start = ops.floor(uniform[1] * (length - width + 1))
        place = ops.arange(length, dtype="float32")
        return ops.any(ops.logical_and(place >= start, place < start + width), axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return `input_shape`."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {
            "name": self.name,
            "n_time_masks": self.n_time_masks,
            "max_time_frames": self.max_time_frames,
            "n_mel_masks": self.n_mel_masks,
            "max_mels": self.max_mels,
        }
