"""Synthesis of a track from its style: chords, melody, bass and drums over a noise floor."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.data.demo.instruments import (
    RELEASE_S,
    Signal,
    coloured_noise,
    db_to_amplitude,
    synthesise_hat,
    synthesise_kick,
    synthesise_snare,
    synthesise_tone,
)
from cs_keras.data.demo.style import Style
from cs_keras.errors import ConfigError

BEATS_PER_BAR = 4
STEPS_PER_BEAT = 4  # the drum grid: sixteenth notes
STEPS_PER_BAR = BEATS_PER_BAR * STEPS_PER_BEAT
RMS = 0.12  # of the finished track, before its small random change of level
MAX_LEVEL_CHANGE_DB = 1.0
ECHO_GAIN = 0.25
REST_PROBABILITY = 0.15  # of a melody note
MELODY_LEVEL = 0.8  # RMS relative to the chords
KICK_PATTERNS = {"half-time": (0,), "backbeat": (0, 8), "four on the floor": (0, 4, 8, 12)}
SNARE_PATTERNS = {"half-time": (8,), "backbeat": (4, 12), "four on the floor": (4, 12)}


@dataclass(frozen=True)
class Score:
    """Chords of a track.

    `scale` has the semitones of the mode above its tonic, ascending, shape (7,); `tonic_midi` is the pitch of
    the tonic below the chords; `degrees` are the scale degrees (0 to 6) of each beat's chord, shape (n_beats,),
    for the beats that begin within the track. A chord lasts `chord_beats`.
    """

    beat_s: float
    n_beats: int
    scale: npt.NDArray[np.int64]
    tonic_midi: int
    degrees: npt.NDArray[np.int64]
    chord_beats: int

    def pitch(self, degree: int) -> int:
        """Return the MIDI pitch of a scale degree, which may be beyond one octave."""
        octave, step = divmod(int(degree), len(self.scale))
        return self.tonic_midi + 12 * octave + int(self.scale[step])


def synthesise(style: Style, duration_s: float, sample_rate: int, rng: np.random.Generator) -> Signal:
    """Render a track; `rng` is the source of key, chords, melody and drum fills.

    Returns mono samples within [-1, 1], shape (round(duration_s * sample_rate),), float32; the RMS is the same
    for every style up to about 1 dB. Raises ConfigError if there would be no sample.
    """
    if not (sample_rate >= 1 and 1 <= duration_s * sample_rate < np.inf):
        raise ConfigError(f"A track needs at least one sample. Received: {duration_s} s at {sample_rate} Hz.")
    n_samples = round(duration_s * sample_rate)
    score = _compose(style, duration_s, rng)
    tonal = _unit_rms(_render_chords(style, score, n_samples, sample_rate))
    tonal += MELODY_LEVEL * _unit_rms(_render_melody(style, score, n_samples, sample_rate, rng))
    delay = round(0.75 * score.beat_s * sample_rate)  # a dotted eighth note
    tonal[delay:] += ECHO_GAIN * tonal[: max(n_samples - delay, 0)]
    mix = tonal + style.bass_level * _unit_rms(_render_bass(style, score, n_samples, sample_rate, rng))
    mix += style.drum_level * _unit_rms(_render_drums(style, score, n_samples, sample_rate, rng))
    noise = _unit_rms(coloured_noise(n_samples, rng))
    mix = _unit_rms(mix) + db_to_amplitude(style.noise_level_db) * noise
    level = RMS * db_to_amplitude(rng.uniform(-MAX_LEVEL_CHANGE_DB, MAX_LEVEL_CHANGE_DB))
    return np.asarray(np.tanh(level * _unit_rms(mix)), dtype=np.float32)  # soft limiting


def _compose(style: Style, duration_s: float, rng: np.random.Generator) -> Score:
    """Choose a key, a mode and a loop of four chords that starts on the tonic."""
    beat_s = 60 / style.tempo_bpm
    n_beats = int(np.ceil(duration_s / beat_s))
    # Seven neighbours on the circle of fifths make a mode; each fifth flatwards darkens it.
    scale = np.sort(7 * (np.arange(7) - round(style.mode_flats)) % 12)
    chord_beats = 2 ** round(np.log2(style.chord_beats))
    loop = np.concatenate([[0], rng.choice(np.arange(1, 6), size=3, replace=False)])
    degrees = loop[np.arange(n_beats) // chord_beats % len(loop)]
    tonic_midi = round(style.register_midi) - 4 + int(rng.integers(-5, 6))
    return Score(beat_s, n_beats, scale, tonic_midi, degrees, chord_beats)


def _render_chords(style: Style, score: Score, n_samples: int, sample_rate: int) -> Signal:
    """Render triads, struck again when they change or have decayed."""
    strike_beats = int(
        np.clip(2 ** np.floor(np.log2(2 * style.decay_s / score.beat_s + 1)), 1, score.chord_beats)
    )
    duration_s = strike_beats * score.beat_s + RELEASE_S

    @functools.cache
    def chord(degree: int) -> Signal:
        pitches = [score.pitch(degree + third) for third in (0, 2, 4)]
        root, third, fifth = (synthesise_tone(style, pitch, duration_s, sample_rate) for pitch in pitches)
        return root + third + fifth

    out = np.zeros(n_samples, np.float32)
    for beat in range(0, score.n_beats, strike_beats):
        _add(out, chord(int(score.degrees[beat])), beat * score.beat_s * sample_rate)
    return out


def _render_melody(
    style: Style, score: Score, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> Signal:
    """Render a one-bar motif that walks along the scale and follows the chords, with rests and vibrato."""
    steps = _metrical_steps(style.onsets_per_beat / 2, rng)
    motif = np.cumsum(rng.integers(-2, 3, size=len(steps)))
    motif -= motif[0]  # each bar starts on the root of its chord
    duration_s = 1.2 * BEATS_PER_BAR * score.beat_s / len(steps)
    vibrato = style.vibrato_cents
    tone = functools.cache(
        lambda pitch: synthesise_tone(style, pitch, duration_s, sample_rate, vibrato_cents=vibrato)
    )
    out = np.zeros(n_samples, np.float32)
    for bar_step in range(0, score.n_beats * STEPS_PER_BEAT, STEPS_PER_BAR):
        is_played = rng.random(len(steps)) > REST_PROBABILITY
        for step, interval in zip(bar_step + steps[is_played], motif[is_played], strict=True):
            chord = score.degrees[min(step // STEPS_PER_BEAT, score.n_beats - 1)]
            pitch = score.pitch((chord + interval) % 7 + 7)  # folded into one octave
            _add(out, tone(pitch), step / STEPS_PER_BEAT * score.beat_s * sample_rate)
    return out


def _render_bass(
    style: Style, score: Score, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> Signal:
    """Render the chord's root, now and then its fifth, between MIDI 31 and 42, once or twice a beat."""
    notes_per_beat = 2 if style.onsets_per_beat >= 2 else 1
    duration_s = score.beat_s / notes_per_beat
    fifths = rng.random(BEATS_PER_BAR * notes_per_beat) < 0.2
    tone = functools.cache(lambda pitch: synthesise_tone(style, pitch, duration_s, sample_rate))
    out = np.zeros(n_samples, np.float32)
    for note in range(score.n_beats * notes_per_beat):
        degree = score.degrees[note // notes_per_beat] + (4 if fifths[note % len(fifths)] else 0)
        pitch = 31 + (score.pitch(degree) - 31) % 12
        _add(out, tone(pitch), note * duration_s * sample_rate)
    return out


def _render_drums(
    style: Style, score: Score, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> Signal:
    """Render kick, snare and hi-hat on a grid of sixteenth notes, with a fill every fourth bar."""
    density = style.onsets_per_beat
    family = "half-time" if density < 1 else "backbeat" if density < 2 else "four on the floor"
    grid = np.zeros((3, score.n_beats * STEPS_PER_BEAT), np.float32)  # velocities of kick, snare and hi-hat
    steps = np.arange(grid.shape[1])
    ghosts = np.flatnonzero(rng.random(STEPS_PER_BAR) < 0.04 * density)
    grid[0, np.isin(steps % STEPS_PER_BAR, ghosts)] = 0.5
    grid[0, np.isin(steps % STEPS_PER_BAR, KICK_PATTERNS[family])] = 1
    grid[1, np.isin(steps % STEPS_PER_BAR, SNARE_PATTERNS[family])] = 1
    grid[1, (steps % (4 * STEPS_PER_BAR) >= 4 * STEPS_PER_BAR - 4) & (rng.random(len(steps)) < 0.5)] = 0.7
    grid[2, np.isin(steps % STEPS_PER_BAR, _metrical_steps(density, rng))] = 0.6
    grid *= rng.uniform(0.8, 1, grid.shape).astype(np.float32)
    out = np.zeros(n_samples, np.float32)
    for velocities, drum in zip(grid, (synthesise_kick, synthesise_snare, synthesise_hat), strict=True):
        sound = drum(sample_rate, rng)
        for step in np.flatnonzero(velocities):
            _add(out, velocities[step] * sound, step / STEPS_PER_BEAT * score.beat_s * sample_rate)
    return out


def _metrical_steps(onsets_per_beat: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Choose a bar's steps in the order of their metrical weight: bar, half, beats, eighths, sixteenths."""
    weight = np.gcd(np.arange(STEPS_PER_BAR), STEPS_PER_BAR)
    order = np.lexsort((rng.random(STEPS_PER_BAR), -weight))  # equal weights in random order
    n_steps = max(round(BEATS_PER_BAR * onsets_per_beat), 1)
    return np.sort(order[:n_steps])


def _add(out: Signal, sound: Signal, onset_samples: float) -> None:
    onset = round(onset_samples)
    part = out[onset : onset + len(sound)]
    part += sound[: len(part)]


def _unit_rms(signal: Signal) -> Signal:
    rms = np.sqrt(np.mean(np.square(signal)))
    return np.asarray(signal / max(rms, 1e-9), dtype=np.float32)
