"""Frames of samples, one hop each; and their magnitudes by SciPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

from cs_keras.audio.settings import AudioConfig

Samples = npt.NDArray[np.float32]
Frames = npt.NDArray[Any]

BLOCK_FRAMES = 1024  # transformed at a time: a few megabytes


def frame_extractor(audio: AudioConfig, dtype: str) -> Callable[[Samples], Frames]:
    """Return a function of a recording's samples, shape (n_samples,), to its frames, ``float16`` or ``float32``."""
    if audio.holds_waveforms:
        return WaveformFrames(audio, dtype)
    from cs_keras.audio.spectrogram import MagnitudeSpectrogram  # imports TensorFlow

    return MagnitudeSpectrogram(audio, dtype)


class WaveformFrames:
    """Cut samples into frames of one hop each; an incomplete last frame is dropped.

    float16 keeps eleven bits of each sample down to 6e-5 of full scale: rounding is noise some 73 dB below the
    signal at any level (``python -m benchmarks.waveform``).
    """

    def __init__(self, audio: AudioConfig, dtype: str = "float16") -> None:
        self._audio, self._dtype = audio, dtype

    def __call__(self, samples: Samples) -> Frames:
        """Return frames, shape (n_frames, hop_length), of `samples`, shape (n_samples,)."""
        n_frames = self._audio.n_frames(len(samples))
        limit = float(np.finfo(self._dtype).max)
        whole = np.clip(samples[: self._audio.n_samples(n_frames)], -limit, limit)
        return whole.astype(self._dtype).reshape(n_frames, self._audio.hop_length)


def magnitude_frames(waveform: Frames, audio: AudioConfig) -> npt.NDArray[np.float32]:
    """Return magnitudes by SciPy, without TensorFlow; equals `cs_keras.audio.spectrogram.MagnitudeSpectrogram`.

    `waveform` has shape (n_frames, hop_length), any float; the result (n_windows, n_bins), float32, whole
    windows only.
    """
    samples = waveform.ravel()
    n_windows = max(0, 1 + (len(samples) - audio.n_fft) // audio.hop_length)
    out = np.empty((n_windows, audio.n_bins), np.float32)
    if not n_windows:
        return out
    window = scipy.signal.get_window(audio.window, audio.n_fft).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, audio.n_fft)[:: audio.hop_length]
    for first in range(0, n_windows, BLOCK_FRAMES):
        block = windows[first : first + BLOCK_FRAMES].astype(np.float32) * window
        out[first : first + BLOCK_FRAMES] = np.abs(scipy.fft.rfft(block, axis=1))
    return out
