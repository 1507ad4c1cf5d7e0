import librosa
import numpy as np
import pytest

from cs_keras.audio import spectrogram
from cs_keras.audio.settings import AudioConfig
from cs_keras.audio.spectrogram import MagnitudeSpectrogram
from tests.audio.sounds import noise, tone

SETTINGS = {
    "default": AudioConfig(),
    "hamming": AudioConfig(window="hamming"),
    "small": AudioConfig(n_fft=64, hop_length=16),
    "no power of two": AudioConfig(n_fft=1000, hop_length=250),
}
SOUNDS = {"tone": tone(1000), "noise": noise(20_000), "one frame": noise(1024), "silence": noise(5000) * 0}


def by_librosa(samples, audio):
    window = librosa.filters.get_window(audio.window, audio.n_fft, fftbins=True)
    stft = librosa.stft(samples, n_fft=audio.n_fft, hop_length=audio.hop_length, window=window, center=False)
    return np.abs(stft).T


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("sound", SOUNDS)
def test_it_equals_librosa_without_centring(settings, sound):
    audio, samples = SETTINGS[settings], SOUNDS[sound]
    magnitude = MagnitudeSpectrogram(audio, "float32")(samples)
    assert magnitude.dtype == np.float32
    assert magnitude.shape == (audio.n_frames(len(samples)), audio.n_bins)
    # Float32 FFTs of 1,024 samples round to about 1e-6 of the largest bin, here at most 256.
    np.testing.assert_allclose(magnitude, by_librosa(samples, audio), rtol=1e-5, atol=3e-4)


def test_a_tone_in_the_middle_of_a_bin_peaks_there_at_half_its_amplitude_times_the_window_sum():
    audio = AudioConfig()
    magnitude = MagnitudeSpectrogram(audio, "float32")(tone(100 * 22050 / 1024, amplitude=0.25))
    assert (magnitude.argmax(axis=1) == 100).all()
    # A Hann window of 1,024 sums to 512; the tone's samples are rounded to float32.
    np.testing.assert_allclose(magnitude[:, 100], 0.25 / 2 * 512, rtol=1e-5)


def test_float16_is_float32_rounded_once():
    exact = MagnitudeSpectrogram(AudioConfig(), "float32")(noise(20_000))
    stored = MagnitudeSpectrogram(AudioConfig())(noise(20_000))
    assert stored.dtype == np.float16
    assert np.array_equal(stored, exact.astype(np.float16))
    loud = exact > 6.2e-5  # below lie float16's subnormals, of which there is no bound in dB
    error_db = 20 * np.log10(stored[loud].astype(np.float64) / exact[loud])
    assert np.abs(error_db).max() <= 20 * np.log10(1 + 2**-11)  # half a unit of 11 bits: 0.0042 dB


def test_magnitudes_beyond_float16_become_its_largest_number():
    magnitude = MagnitudeSpectrogram(AudioConfig())(tone(1000, amplitude=1e6))
    assert magnitude.max() == np.finfo(np.float16).max
    assert np.isfinite(magnitude).all()


@pytest.mark.parametrize("n_samples", [1024, 1024 + 6 * 512, 1024 + 7 * 512, 1024 + 14 * 512 + 100])
def test_blocks_do_not_change_a_bit(monkeypatch, n_samples):
    samples, transform = noise(n_samples), MagnitudeSpectrogram(AudioConfig(), "float32")
    whole = transform(samples)
    monkeypatch.setattr(spectrogram, "BLOCK_FRAMES", 7)
    assert np.array_equal(transform(samples), whole)
