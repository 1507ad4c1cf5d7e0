"""Augmentation in training: gain, time stretch, masks on the mel spectrogram."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops


class Augmentation(keras.layers.Layer):  # type: ignore[misc]
    """A layer that changes its input in training alone; the output has the shape of the input, float32.

    Subclasses implement ``augment(x)`` and draw random numbers with ``seed=self._seeds``.
    """

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self._seeds = keras.random.SeedGenerator()

    def call(self, x: Any, training: bool = False) -> Any:
        """Return `x`, augmented when `training`."""
        return self.augment(x) if training else x

    def augment(self, x: Any) -> Any:
        """Return `x`, changed at random."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return `input_shape`."""
        return input_shape


@keras.saving.register_keras_serializable("cs_keras")
class RandomGain(Augmentation):
    """Multiply each sequence of magnitudes, shape (batch, frames, n_bins), by a gain of its own.

    Gains are uniform in decibels of sound pressure, from minus to plus `max_db`.
    """

    def __init__(self, max_db: float, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.max_db = max_db

    def augment(self, x: Any) -> Any:
        """Return `x`, amplified."""
        shape = (ops.shape(x)[0], 1, 1)
        gain_db = keras.random.uniform(shape, -self.max_db, self.max_db, "float32", self._seeds)
        return x * ops.power(10.0, gain_db / 20.0)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name, "max_db": self.max_db}


@keras.saving.register_keras_serializable("cs_keras")
class TimeStretch(Augmentation):
    """Change the tempo of each sequence of magnitudes, shape (batch, frames, n_bins); pitch stays.

    Speeds are uniform from 1 minus to 1 plus `max_change`, below 1. Frames are interpolated linearly. A slower
    sequence covers less audio and starts at a random frame that leaves enough; a faster one covers more than
    there is, and is continued by its mirror image at both ends, in a random proportion.
    """

    def __init__(self, max_change: float, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.max_change = max_change

    def augment(self, x: Any) -> Any:
        """Return `x`, stretched."""
        uniform = keras.random.uniform((2, ops.shape(x)[0], 1), dtype="float32", seed=self._seeds)
        speed = 1.0 + self.max_change * (2.0 * uniform[0] - 1.0)
        last = x.shape[1] - 1
        position = last * (1.0 - speed) * uniform[1] + speed * ops.arange(last + 1, dtype="float32")
        position = last - ops.abs(last - ops.abs(position))
        before = ops.floor(position)
        share = (position - before)[:, :, None]
        frames = [
            tf.gather(x, ops.cast(ops.minimum(number, last), "int32"), batch_dims=1)
            for number in (before, before + 1.0)
        ]
        return (1.0 - share) * frames[0] + share * frames[1]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name, "max_change": self.max_change}


@keras.saving.register_keras_serializable("cs_keras")
class SpectrogramMasks(Augmentation):
    """Replace random spans of time and of bands of each mel spectrogram by its mean.

    Input shape (batch, frames, n_mels, 1).

    Park et al. 2019, "SpecAugment", section 2, without time warping: a mask's width is uniform from 0 to the
    widest (`max_time_frames` over all bands, `max_mels` over all frames), its position uniform where it fits;
    masks may overlap.
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
        super().__init__(name=name)
        self.n_time_masks, self.max_time_frames = n_time_masks, max_time_frames
        self.n_mel_masks, self.max_mels = n_mel_masks, max_mels

    def augment(self, x: Any) -> Any:
        """Return `x`, masked."""
        batch, frames, mels, _ = ops.shape(x)
        masked = ops.logical_or(
            self._draw_masks(batch, frames, self.n_time_masks, self.max_time_frames)[:, :, None, None],
            self._draw_masks(batch, mels, self.n_mel_masks, self.max_mels)[:, None, :, None],
        )
        return ops.where(masked, ops.mean(x, axis=(1, 2, 3), keepdims=True), x)

    def _draw_masks(self, batch: Any, length: int, n: int, widest: int) -> Any:
        """Return the union of `n` random spans, shape (batch, length), bool."""
        if not n:
            return ops.zeros((batch, length), "bool")
        uniform = keras.random.uniform((2, batch, n, 1), dtype="float32", seed=self._seeds)
        width = ops.floor(uniform[0] * (min(widest, length) + 1))
        start = ops.floor(uniform[1] * (length - width + 1))
        position = ops.arange(length, dtype="float32")
        return ops.any(ops.logical_and(position >= start, position < start + width), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        names = ("name", "n_time_masks", "max_time_frames", "n_mel_masks", "max_mels")
        return {name: getattr(self, name) for name in names}
