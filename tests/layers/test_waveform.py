"""Magnitudes that a network makes of samples are those that an ingest of the same recording stores."""

import dataclasses

import keras
import librosa
import numpy as np
import pytest

from cs_keras.audio.settings import AudioConfig
from cs_keras.audio.spectrogram import MagnitudeSpectrogram
from cs_keras.audio.waveform import WaveformFrames
from cs_keras.layers.waveform import audio_input, magnitudes

AUDIOS = {
    "default": AudioConfig(content="waveform"),
    "hamming": AudioConfig(window="hamming", content="waveform"),
    "a quarter": AudioConfig(n_fft=256, hop_length=64, content="waveform"),
    "hop no divisor": AudioConfig(n_fft=1000, hop_length=300, content="waveform"),
}
EVERY_AUDIO = pytest.mark.parametrize("audio", AUDIOS.values(), ids=AUDIOS)
ATOL = 2e-4  # of magnitudes up to 100: float32 sums over a window, in another order


def music_like(n_samples, seed=0):
    """Noise with a few partials, in [-1, 1], float32."""
    random = np.random.default_rng(seed)
    time = np.arange(n_samples) / 22050
    tones = sum(np.sin(2 * np.pi * hz * time + hz) for hz in (110, 440, 1320, 5000))
    return (0.2 * tones + 0.05 * random.standard_normal(n_samples)).clip(-1, 1).astype(np.float32)


def magnitudes_of(samples, audio, frames=None):
    """Return the magnitudes that a network computes from one window of samples, shape (n_frames, n_bins)."""
    waveform = WaveformFrames(audio, "float32")(samples)
    sound, magnitude = audio_input(frames, audio)
    return keras.Model(sound, magnitude)(waveform[np.newaxis], training=False).numpy()[0]


@EVERY_AUDIO
@pytest.mark.parametrize("frames", [None, 40])
def test_magnitudes_equal_those_that_ingest_stores(audio, frames):
    samples = music_like(40 * audio.hop_length)
    found = magnitudes_of(samples, audio, frames)
    as_stored = dataclasses.replace(audio, content="magnitude")
    expected = MagnitudeSpectrogram(as_stored, "float32")(samples)
    assert found.shape == (40, audio.n_bins)
    assert len(expected) == as_stored.n_frames(len(samples)) == 40 - -(-audio.n_fft // audio.hop_length) + 1
    np.testing.assert_allclose(found[: len(expected)], expected, atol=ATOL)


@EVERY_AUDIO
def test_it_is_librosas_transform_of_samples_followed_by_silence(audio):
    samples = music_like(40 * audio.hop_length)
    padded = np.pad(samples, (0, audio.n_fft))
    expected = np.abs(
        librosa.stft(
            padded,
            n_fft=audio.n_fft,
            hop_length=audio.hop_length,
            window=audio.window,
            center=False,
        )
    ).T
    np.testing.assert_allclose(magnitudes_of(samples, audio), expected[:40], atol=ATOL)


def test_magnitudes_pass_unchanged():
    sound, magnitude = audio_input(24, AudioConfig())
    assert sound is magnitude and sound.shape == (None, 24, 513) and sound.name == "magnitude"
    sound, magnitude = audio_input(24, AudioConfig(content="waveform"))
    assert sound.shape == (None, 24, 512) and sound.name == "waveform" and magnitude.shape == (None, 24, 513)


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "n_frames"), [(4096, 2048, 6), (256, 256, 48), (1024, 700, 18)]
)
def test_other_windows_than_the_datasets_are_possible(n_fft, hop_length, n_frames):
    audio = AudioConfig(content="waveform")
    other = dataclasses.replace(audio, n_fft=n_fft, hop_length=hop_length)
    sound = keras.Input((24, 512))
    model = keras.Model(sound, magnitudes(sound, other, "_other"))
    samples = music_like(24 * 512)
    found = model(samples.reshape(1, 24, 512), training=False).numpy()[0]
    assert model.output_shape == (None, n_frames, n_fft // 2 + 1) and len(found) == n_frames
    padded = np.pad(samples, (0, n_fft))
    expected = np.abs(librosa.stft(padded, n_fft=n_fft, hop_length=hop_length, center=False)).T[:n_frames]
    np.testing.assert_allclose(found, expected, atol=1e-3)  # windows four times as long: sums as much larger


def test_float16_costs_what_its_eleven_bits_do():
    audio = AudioConfig(content="waveform")
    for gain in (1.0, 1e-2):  # however soft the sound
        samples = gain * music_like(100 * 512)
        stored = WaveformFrames(audio)(samples).astype(np.float64).ravel()
        noise = stored - samples[: stored.size]
        ratio_db = 10 * np.log10(np.square(samples).mean() / np.square(noise).mean())
        # Rounding is uniform over a step of 2**-10 of the power of two below a sample: about 74 dB.
        assert 72 < ratio_db < 76


def test_it_survives_saving(tmp_path):
    audio = AUDIOS["a quarter"]
    model = keras.Model(*audio_input(None, audio))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for frames in (20, 33):
        x = np.random.default_rng(0).normal(size=(2, frames, 64)).astype(np.float32)
        assert np.array_equal(loaded(x), model(x))


def test_it_computes_in_float32_under_any_policy():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras.Model(*audio_input(20, AUDIOS["a quarter"]))
    finally:
        keras.config.set_dtype_policy("float32")
    exact = keras.Model(*audio_input(20, AUDIOS["a quarter"]))
    x = np.random.default_rng(0).normal(size=(2, 20, 64)).astype(np.float32)
    assert np.array_equal(model(x), exact(x))
