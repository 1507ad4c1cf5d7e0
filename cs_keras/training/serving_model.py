"""A trained model as one TensorFlow graph, from a recording's samples or frames to its factors."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cs_keras.audio.decode import MIN_FRAMES
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.selection import select_sequences
from cs_keras.data.windows import SequenceConfig, usable_range
from cs_keras.factors.scaling import Scaler


@dataclasses.dataclass(frozen=True, eq=False)
class ServingConfig:
    """Settings for applying a model to a recording.

    Frames are rounded to `dtype`, as in the dataset. `sequence` is None where the model takes a whole recording.
    """

    audio: AudioConfig
    dtype: str
    sequence: SequenceConfig | None
    scaler: Scaler


class ServingModel(tf.Module):  # type: ignore[misc]
    """Predicts factors of recordings of any length; save it with `endpoints` as signatures.

    Windows of a recording are those of `cs_keras.data.windows.prediction_windows`, and its factors the mean over
    them, in the space of the factors that the model was trained on. `model` maps frames, shape (batch, frames,
    frame_size), to scaled factors, (batch, n_factors).
    """

    def __init__(self, model: keras.Model, serving: ServingConfig) -> None:
        super().__init__()
        self._serving = serving
        # A partial instead of the model: TensorFlow would store a model attribute and expect it when loading.
        self._model: Callable[[Any], Any] = functools.partial(model, training=False)
        self.weights = [weight.value for weight in model.weights]
        samples = tf.TensorSpec([None], tf.float32, name="waveform")
        rate = tf.TensorSpec([], tf.int32, name="sample_rate")
        frames = tf.TensorSpec([None, serving.audio.frame_size], tf.float32, name=serving.audio.content)
        self.endpoints = {
            "audio": tf.function(self._from_audio, input_signature=[samples]),
            "audio_at": tf.function(self._from_audio_at, input_signature=[samples, rate]),
            "frames": tf.function(self._from_frames, input_signature=[frames]),
        }

    def _from_audio(self, waveform: Any) -> dict[str, Any]:
        """Return the factors of mono samples, shape (n_samples,), at the sample rate of the settings."""
        audio = self._serving.audio
        needed = audio.n_fft + (MIN_FRAMES - 1) * audio.hop_length
        least = tf.debugging.Assert(
            tf.size(waveform) >= needed, [f"Expected at least {needed} samples. Received:", tf.size(waveform)]
        )
        with tf.control_dependencies([least]):
            frames = _hops(waveform, audio) if audio.holds_waveforms else _magnitudes(waveform, audio)
        limit = tf.constant(np.finfo(self._serving.dtype).max, tf.float32)
        stored = tf.cast(tf.clip_by_value(frames, -limit, limit), self._serving.dtype)
        return self._from_frames(tf.cast(stored, tf.float32))

    def _from_audio_at(self, waveform: Any, sample_rate: Any) -> dict[str, Any]:
        """Return what `_from_audio` does; samples at any other rate are refused."""
        expected = self._serving.audio.sample_rate
        same = tf.debugging.Assert(
            tf.equal(sample_rate, expected), [f"Expected samples at {expected} Hz. Received:", sample_rate]
        )
        with tf.control_dependencies([same]):
            return self._from_audio(tf.identity(waveform))

    def _from_frames(self, frames: Any) -> dict[str, Any]:
        """Return the factors of a recording's frames, shape (n_frames, frame_size)."""
        sequence, scaler = self._serving.sequence, self._serving.scaler
        if sequence is None:
            scaled = self._model(frames[tf.newaxis])[0]
        else:
            scaled = self._mean_over_windows(frames, sequence)
        return {"factors": scaled * scaler.scale + scaler.offset}

    def _mean_over_windows(self, frames: Any, sequence: SequenceConfig) -> Any:
        n_frames, length = tf.shape(frames)[0], sequence.excerpt_frames
        filled = tf.pad(frames, [[0, tf.maximum(length - n_frames, 0)], [0, 0]])

        def predict(start: Any) -> Any:
            window = tf.ensure_shape(filled[start : start + length], (length, None))[tf.newaxis]
            n_left = tf.cast(n_frames - start, tf.int64)[tf.newaxis]
            return self._model(select_sequences(window, n_left, sequence))[0]

        starts = window_starts(n_frames, sequence, self._serving.audio)
        spec = tf.TensorSpec(self._serving.scaler.offset.shape, tf.float32)
        outputs = tf.map_fn(predict, starts, fn_output_signature=spec)
        return tf.cast(tf.reduce_mean(tf.cast(outputs, tf.float64), axis=0), tf.float32)


def _hops(waveform: Any, audio: AudioConfig) -> Any:
    """Return samples as frames of a hop each, shape (n_frames, hop_length), as `WaveformFrames` does."""
    n_frames = tf.size(waveform) // audio.hop_length
    return tf.reshape(waveform[: n_frames * audio.hop_length], (n_frames, audio.hop_length))


def _magnitudes(waveform: Any, audio: AudioConfig) -> Any:
    """Return magnitude frames, shape (n_frames, n_bins), as `MagnitudeSpectrogram` does."""
    window = {"hann": tf.signal.hann_window, "hamming": tf.signal.hamming_window}[audio.window]
    return tf.abs(tf.signal.stft(waveform, audio.n_fft, audio.hop_length, window_fn=window))


def window_starts(n_frames: Any, sequence: SequenceConfig, audio: AudioConfig) -> Any:
    """Return the first frame of each window, shape (n_windows,), int32, as `prediction_windows` has them.

    `n_frames`, the length of the recording, is a scalar tensor, int32.
    """
    # Skipped frames grow with the length up to a limit. They are read from a table, as TensorFlow may divide by a
    # constant differently from NumPy, and one frame more or less changes the window.
    longest = sequence.excerpt_frames + math.ceil(
        (sequence.skip_start_s + sequence.skip_end_s) * audio.frames_per_second
    )
    lengths = np.arange(longest + 1)
    first, usable = usable_range(lengths, sequence, audio)
    row = tf.minimum(n_frames, longest)
    start = tf.gather(first.astype(np.int32), row)
    n_usable = n_frames - tf.gather((lengths - usable).astype(np.int32), row)
    length = sequence.excerpt_frames
    count = tf.maximum(1, -(-n_usable // length))
    latest = tf.maximum(n_usable - length, 0)
    return start + tf.minimum(tf.range(count) * length, latest)
