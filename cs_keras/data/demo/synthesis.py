"""From a style to sound: chords, melody, bass and drums over a noise floor.

A harmonic tone is Moorer's discrete summation formula: its partials n = 1 .. N, of amplitudes r^(n - 1), are summed
in closed form, so a note costs four sinusoids however many partials it has. As r falls over time, high partials
die first.

J. A. Moorer, "The Synthesis of Complex Audio Spectra by Means of Discrete Summation Formulas", JAES 24(9), 1976.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from cs_keras.data.demo.style import Style
from cs_keras.errors import ConfigError

Signal = npt.NDArray[np.float32]

BEATS_PER_BAR = 4
STEPS_PER_BEAT = 4  # the drum grid: sixteenth notes
STEPS_PER_BAR = BEATS_PER_BAR * STEPS_PER_BEAT
RMS = 0.12  # of the finished track, before its small random change of level
MAX_LEVEL_CHANGE_DB = 1.0
RELEASE_S = 0.02
VIBRATO_HZ = 5.5
ECHO_GAIN = 0.25
MELODY_LEVEL = 0.8  # RMS relative to the chords
KICK_PATTERNS = {"half-time": (0,), "backbeat": (0, 8), "four on the floor": (0, 4, 8, 12)}
SNARE_PATTERNS = {"half-time": (8,), "backbeat": (4, 12), "four on the floor": (4, 12)}


@dataclass(frozen=True)
class Score:
    """When a track's chords change and which pitches they hold.

    Parameters
    ----------
    beat_s : float
        Duration of a beat, in seconds.
    n_beats : int
        Beats that begin within the track.
    scale : ndarray, shape (7,), int
        Semitones of the mode above its tonic, ascending.
    tonic_midi : int
        MIDI pitch of the tonic below the chords.
    degrees : ndarray, shape (n_beats,), int
        Degree (0 to 6) of the scale on which each beat's chord is built.
    chord_beats : int
        Beats a chord lasts.
    """

    beat_s: float
    n_beats: int
    scale: npt.NDArray[np.int64]
    tonic_midi: int
    degrees: npt.NDArray[np.int64]
    chord_beats: int

    def pitch(self, degree: int) -> int:
        """MIDI pitch of a scale degree, which may lie beyond one octave."""
        octave, step = divmod(int(degree), len(self.scale))
        return self.tonic_midi + 12 * octave + int(self.scale[step])


def synthesise(style: Style, duration_s: float, sample_rate: int, rng: np.random.Generator) -> Signal:
    """Render a track.

    Parameters
    ----------
    style : Style
    duration_s : float
        Seconds.
    sample_rate : int
        Hz.
    rng : numpy.random.Generator
        Decides key, chords, melody and drum fills; its state alone makes two renderings of a style differ.

    Returns
    -------
    ndarray, shape (round(duration_s * sample_rate),), float32
        Mono samples within [-1, 1], at an RMS that is the same for every style up to 1 dB.

    Raises
    ------
    ConfigError
        If the duration or the sample rate is not positive.
    """
    n_samples = round(duration_s * sample_rate)
    if n_samples < 1 or sample_rate < 1:
        raise ConfigError(f"A track needs at least one sample. Received: {duration_s} s at {sample_rate} Hz")
    score = _compose(style, duration_s, rng)
    tonal = _unit_rms(_render_chords(style, score, n_samples, sample_rate))
    tonal += MELODY_LEVEL * _unit_rms(_render_melody(style, score, n_samples, sample_rate, rng))
    delay = round(0.75 * score.beat_s * sample_rate)  # a dotted eighth note
    tonal[delay:] += ECHO_GAIN * tonal[: max(n_samples - delay, 0)]
    mix = tonal + style.bass_level * _unit_rms(_render_bass(style, score, n_samples, sample_rate, rng))
    mix += style.drum_level * _unit_rms(_render_drums(style, score, n_samples, sample_rate, rng))
    noise = _unit_rms(_pink_noise(n_samples, rng))
    mix = _unit_rms(mix) + _gain(style.noise_level_db) * noise
    level = RMS * _gain(rng.uniform(-MAX_LEVEL_CHANGE_DB, MAX_LEVEL_CHANGE_DB))
    return np.tanh(level * _unit_rms(mix))  # soft limiting


def _compose(style: Style, duration_s: float, rng: np.random.Generator) -> Score:
    """Choose a key, a mode and a loop of four chords that starts on the tonic."""
    beat_s = 60 / style.tempo_bpm
    n_beats = int(np.ceil(duration_s / beat_s))
    # Seven neighbours on the circle of fifths make a mode; each fifth flatwards darkens it, Lydian to Phrygian.
    scale = np.sort(7 * (np.arange(7) - round(style.mode_flats)) % 12)
    chord_beats = 2 ** round(np.log2(style.chord_beats))
    loop = np.concatenate([[0], rng.choice(np.arange(1, 6), size=3, replace=False)])
    degrees = loop[np.arange(n_beats) // chord_beats % len(loop)]
    tonic_midi = round(style.register_midi) - 4 + int(rng.integers(-5, 6))
    return Score(beat_s, n_beats, scale, tonic_midi, degrees, chord_beats)


def _render_chords(style: Style, score: Score, n_samples: int, sample_rate: int) -> Signal:
    """Render triads, struck anew whenever they change or have died away."""
    strike_beats = int(
        np.clip(2 ** np.floor(np.log2(2 * style.decay_s / score.beat_s + 1)), 1, score.chord_beats)
    )
    duration_s = strike_beats * score.beat_s + RELEASE_S
    chords: dict[int, Signal] = {}
    out = np.zeros(n_samples, np.float32)
    for beat in range(0, score.n_beats, strike_beats):
        degree = int(score.degrees[beat])
        if degree not in chords:
            pitches = [score.pitch(degree + third) for third in (0, 2, 4)]
            tones = [_tone(style, pitch, duration_s, sample_rate) for pitch in pitches]
            chords[degree] = tones[0] + tones[1] + tones[2]
        _add(out, chords[degree], beat * score.beat_s * sample_rate)
    return out


def _render_melody(
    style: Style, score: Score, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> Signal:
    """Render a one-bar motif that walks along the scale and follows the chords, with rests and vibrato."""
    notes_per_beat = style.onsets_per_beat / 2
    n_notes = int(np.ceil(score.n_beats * notes_per_beat))
    motif = np.cumsum(rng.integers(-2, 3, size=max(round(BEATS_PER_BAR * notes_per_beat), 2)))
    motif -= motif[0]  # each repetition starts on the root of its chord
    rests = rng.random(n_notes) < 0.15
    tones: dict[int, Signal] = {}
    out = np.zeros(n_samples, np.float32)
    for note in np.flatnonzero(~rests):
        onset_steps = round(note / notes_per_beat * STEPS_PER_BEAT)  # on the nearest sixteenth note
        chord = score.degrees[min(onset_steps // STEPS_PER_BEAT, score.n_beats - 1)]
        pitch = score.pitch((chord + motif[note % len(motif)]) % 7 + 7)  # folded into one octave
        if pitch not in tones:
            duration_s = 1.2 * score.beat_s / notes_per_beat
            tones[pitch] = _tone(style, pitch, duration_s, sample_rate, vibrato_cents=style.vibrato_cents)
        _add(out, tones[pitch], onset_steps / STEPS_PER_BEAT * score.beat_s * sample_rate)
    return out


def _render_bass(
    style: Style, score: Score, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> Signal:
    """Render the chord's root, now and then its fifth, between MIDI 31 and 42, once or twice a beat."""
    notes_per_beat = 2 if style.onsets_per_beat >= 2 else 1
    duration_s = score.beat_s / notes_per_beat
    fifths = rng.random(BEATS_PER_BAR * notes_per_beat) < 0.2
    tones: dict[int, Signal] = {}
    out = np.zeros(n_samples, np.float32)
    for note in range(score.n_beats * notes_per_beat):
        degree = score.degrees[note // notes_per_beat] + (4 if fifths[note % len(fifths)] else 0)
        pitch = 31 + (score.pitch(degree) - 31) % 12
        if pitch not in tones:
            tones[pitch] = _tone(style, pitch, duration_s, sample_rate)
        _add(out, tones[pitch], note * duration_s * sample_rate)
    return out


def _render_drums(
    style: Style, score: Score, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> Signal:
    """Render kick, snare and hi-hat on a grid of sixteenth notes, with ghost kicks and a fill every fourth bar."""
    density = style.onsets_per_beat
    family = "half-time" if density < 1 else "backbeat" if density < 2 else "four on the floor"
    kick, snare, hat = (drum(sample_rate, rng) for drum in (_kick, _snare, _hat))
    grid = np.zeros((3, score.n_beats * STEPS_PER_BEAT), np.float32)  # velocities of kick, snare and hi-hat
    steps = np.arange(grid.shape[1])
    ghosts = np.flatnonzero(rng.random(STEPS_PER_BAR) < 0.04 * density)
    grid[0, np.isin(steps % STEPS_PER_BAR, ghosts)] = 0.5
    grid[0, np.isin(steps % STEPS_PER_BAR, KICK_PATTERNS[family])] = 1
    grid[1, np.isin(steps % STEPS_PER_BAR, SNARE_PATTERNS[family])] = 1
    grid[1, (steps % (4 * STEPS_PER_BAR) >= 4 * STEPS_PER_BAR - 4) & (rng.random(len(steps)) < 0.5)] = 0.7
    hats = np.unique(np.round(np.arange(0, len(steps), STEPS_PER_BEAT / density)).astype(int))
    grid[2, hats[hats < len(steps)]] = 0.6
    grid *= rng.uniform(0.8, 1, grid.shape).astype(np.float32)
    out = np.zeros(n_samples, np.float32)
    for velocities, sound in zip(grid, (kick, snare, hat), strict=True):
        for step in np.flatnonzero(velocities):
            _add(out, velocities[step] * sound, step / STEPS_PER_BEAT * score.beat_s * sample_rate)
    return out


def _kick(sample_rate: int, rng: np.random.Generator) -> Signal:
    """Render a sine that sweeps from 160 to 45 Hz within 0.3 s."""
    time_s = _times(0.3, sample_rate)
    phase = 2 * np.pi * (45 * time_s + 115 * 0.03 * (1 - np.exp(-time_s / 0.03)))
    return (np.sin(phase) * np.exp(-time_s / 0.09)).astype(np.float32)


def _snare(sample_rate: int, rng: np.random.Generator) -> Signal:
    """Render decaying noise over a short tone at 185 Hz."""
    time_s = _times(0.25, sample_rate)
    noise = rng.standard_normal(len(time_s), np.float32) * np.exp(-time_s / 0.06)
    return (0.45 * noise + 0.6 * np.sin(2 * np.pi * 185 * time_s) * np.exp(-time_s / 0.04)).astype(np.float32)


def _hat(sample_rate: int, rng: np.random.Generator) -> Signal:
    """Render very short noise, differentiated twice so that only its highs remain."""
    time_s = _times(0.08, sample_rate)
    noise = np.diff(rng.standard_normal(len(time_s) + 2, np.float32), n=2)
    return (0.3 * noise * np.exp(-time_s / 0.018)).astype(np.float32)


def _tone(
    style: Style, pitch_midi: int, duration_s: float, sample_rate: int, *, vibrato_cents: float = 0.0
) -> Signal:
    """Render one note with the style's brightness, attack and decay, at unit amplitude of its first partial.

    Its N partials lie below the Nyquist frequency; r falls as the note decays (see the module).
    """
    hz = 440 * 2 ** ((pitch_midi - 69) / 12)
    n_partials = max(int(sample_rate / 2 / hz) - 1, 1)
    time_s = _times(duration_s, sample_rate)
    cycles = hz * time_s
    if vibrato_cents:
        depth = hz * (2 ** (vibrato_cents / 1200) - 1) / (2 * np.pi * VIBRATO_HZ)
        cycles += depth * (1 - np.cos(2 * np.pi * VIBRATO_HZ * time_s))
    angle = (2 * np.pi * (cycles % 1)).astype(np.float32)
    fall = np.exp(-time_s / (2 * style.decay_s)).astype(np.float32)
    ratio = np.float32(_gain(style.partial_slope_db)) * (0.4 + 0.6 * fall)
    last = ratio**n_partials
    total = (
        np.sin(angle) - last * np.sin((n_partials + 1) * angle) + last * ratio * np.sin(n_partials * angle)
    )
    total /= 1 - 2 * ratio * np.cos(angle) + ratio**2
    total *= fall**2 * _edges(len(time_s), style.attack_s, sample_rate)
    return np.asarray(total, dtype=np.float32)


def _edges(n_samples: int, attack_s: float, sample_rate: int) -> Signal:
    """Shape a note: linear rise over the attack and linear fall over the release; neither takes more than half the note."""
    envelope = np.ones(n_samples, np.float32)
    n_attack, n_release = (min(round(s * sample_rate), n_samples // 2) for s in (attack_s, RELEASE_S))
    envelope[:n_attack] = np.linspace(0, 1, n_attack, endpoint=False)
    envelope[n_samples - n_release :] *= np.linspace(1, 0, n_release)
    return envelope


def _pink_noise(n_samples: int, rng: np.random.Generator) -> Signal:
    """Render noise that falls by 6 dB per octave in its lows and is flat in its highs."""
    white = rng.standard_normal(n_samples, np.float32)
    return np.asarray(white + lfilter([0.1], [1, -0.98], white), dtype=np.float32)


def _times(duration_s: float, sample_rate: int) -> npt.NDArray[np.float64]:
    return np.arange(max(round(duration_s * sample_rate), 2)) / sample_rate


def _add(out: Signal, sound: Signal, onset_samples: float) -> None:
    onset = round(onset_samples)
    part = out[onset : onset + len(sound)]
    part += sound[: len(part)]


def _unit_rms(signal: Signal) -> Signal:
    rms = np.sqrt(np.mean(np.square(signal)))
    return np.asarray(signal / max(rms, 1e-9), dtype=np.float32)


def _gain(level_db: float) -> float:
    return float(10 ** (level_db / 20))
