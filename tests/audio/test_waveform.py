"""Samples as frames, and magnitudes computed without TensorFlow."""

import dataclasses

import numpy as np
import pytest

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.audio.spectrogram import MagnitudeSpectrogram
from cs_keras.audio.waveform import WaveformFrames, frame_extractor, magnitude_frames
from cs_keras.errors import ConfigError

WAVEFORM = AudioConfig(content="waveform")


def noise(n_samples):
    return np.random.default_rng(0).uniform(-1, 1, n_samples).astype(np.float32)


@pytest.mark.parametrize(("n_samples", "n_frames"), [(0, 0), (511, 0), (512, 1), (5120, 10), (5631, 10)])
def test_frames_are_the_samples_in_order(n_samples, n_frames):
    samples = noise(n_samples)
    frames = WaveformFrames(WAVEFORM, "float32")(samples)
    assert frames.shape == (n_frames, 512) and frames.dtype == np.float32
    assert np.array_equal(frames.ravel(), samples[: n_frames * 512])
    assert WAVEFORM.n_frames(n_samples) == n_frames


def test_values_beyond_float16_are_clipped():
    frames = WaveformFrames(WAVEFORM)(np.array([1e6, -1e6] * 256, np.float32))
    assert frames.dtype == np.float16 and set(frames.ravel().tolist()) == {65504.0, -65504.0}


def test_the_content_selects_the_frame_extractor():
    assert isinstance(frame_extractor(WAVEFORM, "float16"), WaveformFrames)
    assert isinstance(frame_extractor(AudioConfig(), "float16"), MagnitudeSpectrogram)
    with pytest.raises(
        ConfigError, match="audio.content must be one of magnitude, waveform. Received: 'sound'"
    ):
        AudioConfig(content="sound")


@pytest.mark.parametrize(
    "audio",
    [
        WAVEFORM,
        AudioConfig(window="hamming", content="waveform"),
        AudioConfig(8000, 200, 80, content="waveform"),
    ],
)
@pytest.mark.parametrize("n_frames", [1, 3, 30, 1200])
def test_magnitudes_are_those_of_an_ingest(audio, n_frames):
    samples = noise(n_frames * audio.hop_length)
    found = magnitude_frames(samples.reshape(n_frames, -1), audio)
    as_stored = dataclasses.replace(audio, content="magnitude")
    assert found.shape == (as_stored.n_frames(len(samples)), audio.n_bins)
    if len(found):
        expected = MagnitudeSpectrogram(as_stored, "float32")(samples)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)  # another FFT, in float32


def test_lengths_convert_back_to_samples():
    assert (WAVEFORM.frame_size, AudioConfig().frame_size, WAVEFORM.n_bins) == (512, 513, 513)
    for audio in (WAVEFORM, AudioConfig()):
        assert [audio.n_frames(audio.n_samples(n)) for n in (1, 7)] == [1, 7]
    assert WAVEFORM.duration_s(43) == pytest.approx(43 * 512 / 22050)
    assert AudioConfig().duration_s(43) == pytest.approx((42 * 512 + 1024) / 22050)


def test_settings_written_before_waveforms_stay_equal():
    document = {"sample_rate": 22050, "n_fft": 1024, "hop_length": 512, "window": "hann", "mixdown": "mean"}
    assert config.to_dict(AudioConfig()) == document
    assert config.replace(AudioConfig(), document) == AudioConfig()
    assert config.to_dict(WAVEFORM) == document | {"content": "waveform"}
    assert config.replace(AudioConfig(), config.to_dict(WAVEFORM)) == WAVEFORM
