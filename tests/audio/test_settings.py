import pytest

from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError


def test_the_defaults_give_the_513_bins_and_43_frames_a_second_of_the_thesis():
    audio = AudioConfig()
    assert audio.n_bins == 513
    assert audio.frames_per_second == 22050 / 512


@pytest.mark.parametrize(
    ("n_samples", "n_frames"),
    [(0, 0), (1, 0), (1023, 0), (1024, 1), (1535, 1), (1536, 2), (1024 + 99 * 512, 100)],
)
def test_frames_are_the_whole_windows_that_fit(n_samples, n_frames):
    assert AudioConfig().n_frames(n_samples) == n_frames


@pytest.mark.parametrize("hop_length", [1, 3, 16])
def test_the_number_of_frames_is_that_of_counting_them(hop_length):
    audio = AudioConfig(n_fft=16, hop_length=hop_length)
    for n_samples in range(100):
        counted = len(range(0, n_samples - 16 + 1, hop_length))
        assert audio.n_frames(n_samples) == counted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate": 3999}, "audio.sample_rate must be 4000 to 384000. Received: 3999"),
        ({"sample_rate": 400_000}, "audio.sample_rate"),
        ({"n_fft": 8}, "audio.n_fft must be 16 to 65536. Received: 8"),
        ({"hop_length": 0}, "audio.hop_length must be 1 to 1024. Received: 0"),
        ({"hop_length": 1025}, "audio.hop_length must be 1 to 1024. Received: 1025"),
        ({"window": "kaiser"}, "audio.window must be one of hann, hamming. Received: 'kaiser'"),
        ({"mixdown": "left"}, "audio.mixdown must be one of mean, sum. Received: 'left'"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        AudioConfig(**changes)
