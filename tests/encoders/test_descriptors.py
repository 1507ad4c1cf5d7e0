from collections.abc import Callable

import numpy as np
import pytest

from cs_keras.encoders import open_encoder
from cs_keras.encoders.descriptors import (
    CHORD_LAGS_S,
    MODULATIONS_HZ,
    ONSET_LAGS_S,
    SAMPLE_RATE,
    autocorrelate,
    count_intervals,
    describe_harmony,
    describe_rhythm,
    measure_modulations,
)
from cs_keras.errors import ConfigError

TIMES = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
INTERVALS, PROFILES, SIMILAR = slice(63, 75), slice(63, 117), slice(117, 131)  # of harmony


def play(*midi: int) -> np.ndarray:
    return sum(np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * TIMES) for note in midi).astype(np.float32)


def test_harmony_is_that_of_the_chord_in_every_key() -> None:
    """A C major chord over C, and the same two and five semitones higher; then a minor chord."""
    major = describe_harmony(play(36, 60, 64, 67))
    assert set(np.argsort(major[INTERVALS])[-3:]) == {0, 4, 7}
    for semitones in (2, 5):
        transposed = describe_harmony(play(*(note + semitones for note in (36, 60, 64, 67))))
        np.testing.assert_allclose(transposed[PROFILES], major[PROFILES], atol=0.03)  # of shares: sums are 1
    minor = describe_harmony(play(36, 60, 63, 67))
    assert set(np.argsort(minor[INTERVALS])[-3:]) == {0, 3, 7}


def test_chroma_is_similar_within_a_chord_and_again_after_the_loop() -> None:
    """Two chords of a second each, without a common note, in turn."""
    first, second = play(60, 64, 67), play(61, 66, 70)
    similar = describe_harmony(np.where(TIMES % 2 < 1, first, second))[SIMILAR]
    other, loop = (int(np.abs(CHORD_LAGS_S - lag).argmin()) for lag in (1, 2))
    assert similar[0] > 0.7 > 0.5 > similar[other] and similar[loop] > 0.7


def test_onsets_correlate_at_their_interval() -> None:
    clicks, interval = np.zeros(6 * SAMPLE_RATE, np.float32), ONSET_LAGS_S[12]
    noise = np.random.default_rng(0).normal(size=400) * np.exp(-np.arange(400) / 80)
    for start in np.arange(0.1, 5.9, interval):
        clicks[int(start * SAMPLE_RATE) :][:400] += noise
    low, middle, high = describe_rhythm(clicks).reshape(3, -1)[:, 2:26]
    for correlations in (low, middle, high):
        assert correlations[12] == correlations.max() > 0.7


def test_modulations_of_a_sine() -> None:
    """A sine of 10 dB has an effective value of 10 / sqrt(2) dB, all of it between 4 and 8 Hz."""
    levels = 10 * np.sin(2 * np.pi * 5 * np.arange(400) / 80)[np.newaxis] - 30
    found = measure_modulations(np.repeat(levels, 3, axis=0), 80.0)
    expected = np.where(MODULATIONS_HZ[:-1] == 4, np.log1p(10 / np.sqrt(2)), 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_autocorrelation_and_intervals() -> None:
    series = np.random.default_rng(0).normal(size=200)
    found = autocorrelate(np.tile(series, 3), np.array([200, 600]))
    np.testing.assert_allclose(found, [1, 0])
    low, high = np.eye(12)[:, [11]], np.eye(12)[:, [3]]
    np.testing.assert_array_equal(count_intervals(low, high), np.eye(12)[4])


@pytest.mark.parametrize("describe", [describe_harmony, describe_rhythm])
def test_quiet_recordings_have_the_same_features(describe: Callable[[np.ndarray], np.ndarray]) -> None:
    noisy = play(40, 64, 67) * (TIMES % 0.5 < 0.2) + np.random.default_rng(0).normal(size=len(TIMES)) / 100
    expected = describe(noisy.astype(np.float32))
    for factor in (1e-2, 1e-4):
        np.testing.assert_allclose(describe((noisy * factor).astype(np.float32)), expected, atol=2e-3)


@pytest.mark.parametrize("name", ["harmony", "rhythm"])
def test_silence_and_weights(name: str) -> None:
    encoder = open_encoder(name)
    for n_samples in (0, 100, 3 * SAMPLE_RATE):
        features = encoder.encode(np.zeros(n_samples, np.float32))
        assert features.shape == (1, encoder.n_features) and np.isfinite(features).all()
    with pytest.raises(ConfigError, match=f"{name} has no weights"):
        open_encoder(name, "weights.npz")
