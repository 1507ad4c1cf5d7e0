"""Sounds of the demo music: a harmonic tone, three drums and noise.

A harmonic tone is Moorer's discrete summation formula: its partials n = 1 .. N, of amplitudes r^(n - 1), are
summed in closed form, so a note costs four sinusoids however many partials it has. As r falls over time, high
partials die first.

Signals are mono, of shape (n_samples,), float32; sample rates are in Hz. The three drums have one signature.

J. A. Moorer, "The Synthesis of Complex Audio Spectra by Means of Discrete Summation Formulas", Journal of the
Audio Engineering Society 24(9), 1976.
"""

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from cs_keras.data.demo.style import Style

Signal = npt.NDArray[np.float32]

RELEASE_S = 0.02
VIBRATO_HZ = 5.5


def synthesise_kick(sample_rate: int, rng: np.random.Generator) -> Signal:
    """Render a sine that sweeps from 160 to 45 Hz within 0.3 s."""
    time_s = _times(0.3, sample_rate)
    phase = 2 * np.pi * (45 * time_s + 115 * 0.03 * (1 - np.exp(-time_s / 0.03)))
    return np.asarray(np.sin(phase) * np.exp(-time_s / 0.09), dtype=np.float32)


def synthesise_snare(sample_rate: int, rng: np.random.Generator) -> Signal:
    """Render decaying noise over a short tone at 185 Hz."""
    time_s = _times(0.25, sample_rate)
    noise = rng.standard_normal(len(time_s), np.float32) * np.exp(-time_s / 0.06)
    sound = 0.45 * noise + 0.6 * np.sin(2 * np.pi * 185 * time_s) * np.exp(-time_s / 0.04)
    return np.asarray(sound, dtype=np.float32)


def synthesise_hat(sample_rate: int, rng: np.random.Generator) -> Signal:
    """Render very short noise, differentiated twice so that only its highs remain."""
    time_s = _times(0.08, sample_rate)
    noise = np.diff(rng.standard_normal(len(time_s) + 2, np.float32), n=2)
    return np.asarray(0.3 * noise * np.exp(-time_s / 0.018), dtype=np.float32)


def synthesise_tone(
    style: Style, pitch_midi: int, duration_s: float, sample_rate: int, *, vibrato_cents: float = 0.0
) -> Signal:
    """Render one note with the style's brightness, attack and decay; `duration_s` includes the release.

    Partials end below the Nyquist frequency. `vibrato_cents` is the peak deviation of the pitch upwards and
    downwards. The result has shape (n_samples,); its first partial has at most the level of a sine of amplitude
    1.
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
    ratio = np.float32(db_to_amplitude(style.partial_slope_db)) * (0.4 + 0.6 * fall)
    last = ratio**n_partials
    total = (
        np.sin(angle) - last * np.sin((n_partials + 1) * angle) + last * ratio * np.sin(n_partials * angle)
    )
    total /= 1 - 2 * ratio * np.cos(angle) + ratio**2
    total *= fall**2 * _edges(len(time_s), style.attack_s, sample_rate)
    return np.asarray(total, dtype=np.float32)


def coloured_noise(n_samples: int, rng: np.random.Generator) -> Signal:
    """Render noise that falls by 6 dB per octave in its lows and is flat in its highs."""
    white = rng.standard_normal(n_samples, np.float32)
    return np.asarray(white + lfilter([0.1], [1, -0.98], white), dtype=np.float32)


def db_to_amplitude(level_db: float) -> float:
    """Convert a level in dB to a factor of amplitude."""
    return float(10 ** (level_db / 20))


def _edges(n_samples: int, attack_s: float, sample_rate: int) -> Signal:
    """Shape a note: linear rise and release, neither longer than half the note."""
    envelope = np.ones(n_samples, np.float32)
    n_attack, n_release = (min(round(s * sample_rate), n_samples // 2) for s in (attack_s, RELEASE_S))
    envelope[:n_attack] = np.linspace(0, 1, n_attack, endpoint=False)
    envelope[n_samples - n_release :] *= np.linspace(1, 0, n_release)
    return envelope


def _times(duration_s: float, sample_rate: int) -> npt.NDArray[np.float64]:
    return np.arange(max(round(duration_s * sample_rate), 2)) / sample_rate
