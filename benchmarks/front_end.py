"""Magnitudes to decibel mel bands: the front end compared with plain TensorFlow, and with librosa.

Plain TensorFlow is a product and a logarithm, without and with the dynamic range, which takes two more passes over
the magnitudes: one for the peak of each patch, and one that clips to it.
"""

import functools
from collections.abc import Iterator

import keras
import librosa
import numpy as np
import tensorflow as tf

from benchmarks.comparison import Comparison, Line, best_seconds
from benchmarks.settings import Settings
from cs_keras.audio.settings import AudioConfig
from cs_keras.layers.front_end import FrontEndConfig, mel_spectrogram

TOPIC = "front end"
AUDIO = AudioConfig()
FRAMES = 256
BATCH_SIZE = 32
FLOOR = 1e-3  # minimum of the noise: within the dynamic range, which the plain product does not apply
TOLERANCE_DB = 0.01  # float32 logarithms of three libraries, summed over 513 bins


def measure(settings: Settings) -> Iterator[Line]:
    batches = [magnitudes(BATCH_SIZE, seed) for seed in range(max(1, settings.patches // BATCH_SIZE))]
    for order in ("db_mel", "mel_db"):
        yield from _one_order(order, batches, settings.repeats)


def magnitudes(n: int, seed: int) -> np.ndarray:
    """Return noise with a falling spectrum as in music, shape (n, frames, n_bins), float32."""
    rng = np.random.default_rng(seed)
    slope = 10.0 / (1 + np.arange(AUDIO.n_bins, dtype=np.float32))
    return (rng.random((n, FRAMES, AUDIO.n_bins), np.float32) + FLOOR) * slope


def _one_order(order: str, batches: list[np.ndarray], repeats: int) -> Iterator[Line]:
    config = FrontEndConfig(order=order)
    magnitude = keras.Input((None, AUDIO.n_bins))
    model = keras.Model(magnitude, mel_spectrogram(magnitude, config, AUDIO))
    front_end = tf.function(lambda x: model(x, training=False))
    filterbank = librosa.filters.mel(sr=AUDIO.sample_rate, n_fft=AUDIO.n_fft, n_mels=config.n_mels)
    bare, clipped = (_bare(order, filterbank, config, clips) for clips in (False, True))
    tensors = [tf.constant(batch) for batch in batches]
    transposed = [np.ascontiguousarray(batch.swapaxes(1, 2)) for batch in batches]
    expected = _by_librosa(order, transposed[0], config).swapaxes(1, 2)
    np.testing.assert_allclose(front_end(tensors[0])[..., 0], expected, atol=TOLERANCE_DB)
    for plain in (bare, clipped):
        np.testing.assert_allclose(plain(tensors[0]), expected, atol=TOLERANCE_DB)

    def run(function: tf.types.experimental.GenericFunction) -> None:
        for x in tensors:
            function(x).numpy()

    turns = (
        lambda: run(front_end),
        lambda: run(bare),
        lambda: run(clipped),
        lambda: [_by_librosa(order, batch, config) for batch in transposed],
    )
    rates = [len(batches) * BATCH_SIZE / seconds for seconds in best_seconds(turns, repeats)]
    yield Comparison(
        TOPIC, f"front end, {order}", rates[0], rates[1], "patches/s", "TensorFlow matmul + log", 0.85
    )
    yield Comparison(TOPIC, f"front end, {order}", rates[0], rates[2], "patches/s", "the same, dynamic range")
    yield Comparison(TOPIC, f"front end, {order}", rates[0], rates[3], "patches/s", "librosa", 1.5)


def _bare(
    order: str, filterbank: np.ndarray, config: FrontEndConfig, clips: bool
) -> tf.types.experimental.GenericFunction:
    """Return the minimal computation: one product and one logarithm, and if it `clips`, the dynamic range."""
    weights = tf.constant(filterbank.T)
    scale = tf.constant(10 / np.log(10), tf.float32)

    def floor(x: tf.Tensor) -> tf.Tensor:
        peak = tf.reduce_max(x, [1, 2], keepdims=True) if clips else 0.0
        return tf.maximum(peak * 10 ** (-config.dynamic_range_db / 10), config.amin)

    @tf.function
    def db_mel(x: tf.Tensor) -> tf.Tensor:
        return tf.tensordot(tf.math.log(tf.maximum(x, floor(x))), weights * scale, 1)

    @tf.function
    def mel_db(x: tf.Tensor) -> tf.Tensor:
        mel = tf.tensordot(x, weights, 1)
        return tf.math.log(tf.maximum(mel, floor(mel))) * scale

    return db_mel if order == "db_mel" else mel_db


def _by_librosa(order: str, batch: np.ndarray, config: FrontEndConfig) -> np.ndarray:
    """Return decibel mel bands, shape (n, n_mels, frames), of magnitudes, shape (n, n_bins, frames), by librosa.

    The mel filterbank is computed once per batch; the dynamic range is that of each patch.
    """
    mel = functools.partial(
        librosa.feature.melspectrogram, sr=AUDIO.sample_rate, n_fft=AUDIO.n_fft, n_mels=config.n_mels
    )
    decibel = functools.partial(librosa.power_to_db, amin=config.amin, top_db=config.dynamic_range_db)
    if order == "db_mel":
        return mel(S=np.stack([decibel(patch) for patch in batch]))
    return np.stack([decibel(patch) for patch in mel(S=batch)])
