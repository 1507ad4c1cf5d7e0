"""What a style says must be found in the sound, by librosa."""

from dataclasses import replace

import librosa
import numpy as np
import pytest

from cs_keras.data.demo.style import GENRES, Style
from cs_keras.data.demo.synthesis import _compose, _metrical_steps, synthesise
from cs_keras.errors import ConfigError

SAMPLE_RATE = 22050
PLAIN = Style(
    tempo_bpm=100,
    onsets_per_beat=2,
    drum_level=0,
    bass_level=0,
    register_midi=60,
    mode_flats=1,
    chord_beats=4,
    partial_slope_db=-9,
    attack_s=0.01,
    decay_s=1,
    vibrato_cents=0,
    noise_level_db=-60,
)


def render(style: Style, seed: int = 0, duration_s: float = 8.0) -> np.ndarray:
    return synthesise(style, duration_s, SAMPLE_RATE, np.random.default_rng(seed))


@pytest.mark.parametrize("genre", GENRES)
def test_samples_are_finite_and_bounded(genre: str) -> None:
    samples = render(GENRES[genre])
    assert samples.dtype == np.float32 and samples.shape == (8 * SAMPLE_RATE,)
    assert np.isfinite(samples).all() and np.abs(samples).max() <= 1
    # The level is set before soft limiting, which takes up to about 0.5 dB more.
    level_db = 20 * np.log10(np.sqrt(np.mean(samples.astype(float) ** 2)) / 0.12)
    assert -1.6 < level_db < 1.1


def test_same_generator_state_same_samples() -> None:
    assert np.array_equal(render(PLAIN, 3), render(PLAIN, 3))
    assert not np.array_equal(render(PLAIN, 3), render(PLAIN, 4))


@pytest.mark.parametrize("tempo_bpm", [92.0, 118.0, 140.0])
def test_tempo_is_recovered(tempo_bpm: float) -> None:
    samples = render(replace(GENRES["house"], tempo_bpm=tempo_bpm), duration_s=16)
    estimate = librosa.beat.beat_track(y=samples, sr=SAMPLE_RATE)[0].item()
    # A lag of one 512-sample frame is 23 ms, 5 % of a beat at 140 BPM.
    assert estimate == pytest.approx(tempo_bpm, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_brightness_raises_the_spectral_centroid(seed: int) -> None:
    centroids = [
        librosa.feature.spectral_centroid(
            y=render(replace(PLAIN, partial_slope_db=slope), seed), sr=SAMPLE_RATE
        ).mean()
        for slope in (-15.0, -9.0, -3.0)
    ]
    assert centroids == sorted(centroids) and centroids[2] > 1.5 * centroids[0]


@pytest.mark.parametrize("seed", range(3))
def test_register_moves_the_pitch_by_as_many_semitones(seed: int) -> None:
    def spectrum(register_midi: float) -> np.ndarray:
        samples = render(replace(PLAIN, register_midi=register_midi, noise_level_db=-60), seed)
        constant_q = librosa.cqt(samples, sr=SAMPLE_RATE, fmin=librosa.midi_to_hz(36), n_bins=72)
        return np.abs(constant_q).mean(axis=1)  # one bin per semitone

    low, high = spectrum(56), spectrum(66)
    shifts = np.arange(20)
    likeness = [np.corrcoef(low[: 72 - shift], high[shift:])[0, 1] for shift in shifts]
    assert shifts[np.argmax(likeness)] == 10


def test_noise_raises_flatness() -> None:
    flatness = [
        librosa.feature.spectral_flatness(y=render(replace(PLAIN, noise_level_db=level))).mean()
        for level in (-60.0, -36.0, -12.0)
    ]
    assert flatness == sorted(flatness) and flatness[2] > 5 * flatness[0]


def test_drums_raise_onset_strength() -> None:
    quiet, loud = (
        librosa.onset.onset_strength(y=render(replace(PLAIN, drum_level=level)), sr=SAMPLE_RATE).max()
        for level in (0.0, 1.5)
    )
    assert loud > 1.5 * quiet


def test_modes_are_the_diatonic_ones() -> None:
    scales = {
        flats: _compose(replace(PLAIN, mode_flats=flats), 8, np.random.default_rng(0)).scale.tolist()
        for flats in range(6)
    }
    assert scales[0] == [0, 2, 4, 6, 7, 9, 11]  # Lydian
    assert scales[1] == [0, 2, 4, 5, 7, 9, 11]  # major
    assert scales[4] == [0, 2, 3, 5, 7, 8, 10]  # minor
    assert scales[5] == [0, 1, 3, 5, 7, 8, 10]  # Phrygian


def test_metrical_steps_fill_the_bar_from_the_strongest() -> None:
    rng = np.random.default_rng(0)
    assert _metrical_steps(0.5, rng).tolist() == [0, 8]
    assert _metrical_steps(1, rng).tolist() == [0, 4, 8, 12]
    assert _metrical_steps(2, rng).tolist() == list(range(0, 16, 2))
    assert _metrical_steps(4, rng).tolist() == list(range(16))


@pytest.mark.parametrize("end", [-2.0, 2.0])
@pytest.mark.parametrize("sample_rate", [8000, 44100])
def test_corners_of_the_style_space(end: float, sample_rate: int) -> None:
    style = Style.from_vector(np.full(12, end))
    samples = synthesise(style, 3.0, sample_rate, np.random.default_rng(0))
    assert len(samples) == 3 * sample_rate and np.isfinite(samples).all() and np.abs(samples).max() <= 1


def test_shortest_track_and_none() -> None:
    assert synthesise(PLAIN, 0.001, SAMPLE_RATE, np.random.default_rng(0)).shape == (22,)
    for duration_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="at least one sample"):
            synthesise(PLAIN, duration_s, SAMPLE_RATE, np.random.default_rng(0))
