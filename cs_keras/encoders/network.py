"""An encoder that is a Keras network on consecutive windows of magnitudes."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras.audio.settings import AudioConfig
from cs_keras.audio.spectrogram import MagnitudeSpectrogram
from cs_keras.data.windows import SequenceConfig, prediction_windows

Vectors = npt.NDArray[np.float32]


class NetworkEncoder:
    """A network from windows of magnitudes, shape (batch, frames, n_bins), to features, (batch, n_features).

    Windows cover a track as `cs_keras.data.windows.prediction_windows` has it; a track shorter than one is
    followed by silence. With `pads`, half a window of silence precedes and follows the samples, as librosa centres
    windows.
    """

    pooling: tuple[str, ...] = ("mean", "std")

    def __init__(
        self, network: keras.Model, audio: AudioConfig, digest: str, batch_size: int, pads: bool = False
    ) -> None:
        self.audio, self.digest, self.sample_rate = audio, digest, audio.sample_rate
        _, self._frames, _ = network.input_shape
        self.n_features = int(network.output_shape[-1])
        self._batch_size, self._pads = batch_size, pads
        self._spectrogram = MagnitudeSpectrogram(audio, "float32")
        # One signature for all batch sizes: graphs for different sizes could round differently.
        self._apply = tf.function(
            lambda x: network(x, training=False),
            input_signature=[tf.TensorSpec((None, self._frames, audio.n_bins), tf.float32)],
            autograph=False,
        ).get_concrete_function()

    def encode(self, waveform: Vectors) -> Vectors:
        """Return features, shape (n_windows, n_features), of a mono `waveform`, shape (n_samples,)."""
        half = self.audio.n_fft // 2 if self._pads else 0
        samples = np.pad(waveform.astype(np.float32), half)
        magnitude = self._spectrogram(np.pad(samples, (0, max(0, self.audio.n_fft - len(samples)))))
        outputs = [self._apply(tf.constant(batch)).numpy() for batch in self._batches(magnitude)]
        return np.concatenate(outputs)

    def _batches(self, magnitude: npt.NDArray[Any]) -> Iterator[Vectors]:
        length = np.array([len(magnitude)])
        starts = prediction_windows(
            np.zeros(1, np.int64), length, SequenceConfig(self._frames), self.audio
        ).start
        for first in range(0, len(starts), self._batch_size):
            chosen = starts[first : first + self._batch_size].tolist()
            batch = np.zeros((len(chosen), self._frames, magnitude.shape[1]), np.float32)
            for window, start in zip(batch, chosen, strict=True):
                part = magnitude[start : start + self._frames]
                window[: len(part)] = part
            yield batch
