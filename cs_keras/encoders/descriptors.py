"""Harmony and rhythm of a recording by librosa, one vector a track; no network, and nothing to install.

``harmony`` describes a constant-Q spectrum: its mean over time, which intervals lie above the bass in any key, and
how long chords last, by the similarity of chroma at lags. ``rhythm`` describes a decibel mel spectrogram in a low,
a middle and a high band: autocorrelation of onset strength at lags (Grosche, Müller and Kurth 2010), strength of
modulations by rate (Pampalk, Rauber and Merkl 2002), and how fast levels rise and fall.
"""

import hashlib
from collections.abc import Callable

import librosa
import numpy as np
import numpy.typing as npt

from cs_keras.encoders import Vectors

SAMPLE_RATE = 22_050
RANGE_DB = 60.0  # levels are clipped below the loudest less that
SHORTEST = SAMPLE_RATE  # samples; silence follows shorter recordings

LOWEST_MIDI, N_SEMITONES, N_BASS = 28, 84, 24  # E1 to E8; the bass lies below E3
CHROMA_HOP = 1024
CHORD_LAGS_S = np.geomspace(0.25, 6, 14)

N_MELS = 40
BANDS = (slice(0, 6), slice(6, 26), slice(26, N_MELS))  # to about 0.5, 3 and 11 kHz
MEL_HOP = 256
ONSET_LAGS_S = np.geomspace(0.1, 2.4, 24)
MODULATIONS_HZ = np.array([0.5, 1, 2, 4, 8, 16, 32])
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)

Doubles = npt.NDArray[np.float64]


class DescriptorEncoder:
    """Features of a whole recording, those of one of `DESCRIBE`; see `cs_keras.encoders.Encoder`."""

    sample_rate = SAMPLE_RATE
    pooling: tuple[str, ...] = ("mean",)  # there is one vector

    def __init__(self, name: str) -> None:
        self._describe = DESCRIBE[name]
        self.n_features = len(self._describe(np.zeros(0, np.float32)))
        self.digest = hashlib.sha256(f"{name} 1".encode()).hexdigest()  # the version, as there are no weights

    def encode(self, waveform: Vectors) -> Vectors:
        """Return the features of a mono `waveform`, shape (n_samples,), as one row, (1, n_features)."""
        return self._describe(waveform)[np.newaxis]


def describe_harmony(waveform: Vectors) -> Vectors:
    """Return the features of ``harmony``, shape (152,), float32, of a waveform at `SAMPLE_RATE`."""
    spectrum = librosa.cqt(
        _lengthen(waveform),
        sr=SAMPLE_RATE,
        hop_length=CHROMA_HOP,
        fmin=librosa.midi_to_hz(LOWEST_MIDI),
        n_bins=N_SEMITONES,
    )
    power = np.square(np.abs(spectrum)).astype(np.float64)
    levels, bass, above = _decibels(power), _chroma(power[:N_BASS]), _chroma(power[N_BASS:])
    mean_bass, mean_above = bass.mean(axis=1, keepdims=True), above.mean(axis=1, keepdims=True)
    root = int(mean_bass.argmax())
    chroma = librosa.util.normalize(_chroma(power), norm=2)
    lags = np.rint(CHORD_LAGS_S * SAMPLE_RATE / CHROMA_HOP).astype(int)
    features: list[Doubles] = [
        levels.reshape(N_SEMITONES // 2, -1).mean(axis=1),
        levels.std(axis=1).reshape(N_SEMITONES // 4, -1).mean(axis=1),
        _shares(count_intervals(bass, above)),
        _shares(count_intervals(mean_bass, mean_above)),
        _shares(count_intervals(mean_above, mean_above)[1:7]),
        _shares(np.roll(mean_bass[:, 0], -root)),
        _shares(np.roll(mean_above[:, 0], -root)),
        np.array([_similarity(chroma, lag) for lag in lags]),
        autocorrelate(_novelty(chroma), lags),
        _slopes(levels, 2, levels > -RANGE_DB / 2),
    ]
    return np.concatenate(features).astype(np.float32)


def describe_rhythm(waveform: Vectors) -> Vectors:
    """Return the features of ``rhythm``, shape (138,), float32, of a waveform at `SAMPLE_RATE`."""
    power = librosa.feature.melspectrogram(
        y=_lengthen(waveform), sr=SAMPLE_RATE, n_fft=1024, hop_length=MEL_HOP, n_mels=N_MELS
    )
    levels, rate = _decibels(power.astype(np.float64)), SAMPLE_RATE / MEL_HOP
    lags, hann = np.rint(ONSET_LAGS_S * rate).astype(int), np.hanning(7) / 3
    features: list[Doubles] = []
    for band in BANDS:
        level = levels[band].mean(axis=0, keepdims=True)
        strength = np.maximum(np.diff(levels[band], axis=1), 0).mean(axis=0)
        features += [
            np.log1p([strength.mean(), strength.std()]),
            autocorrelate(np.convolve(strength, hann, mode="same"), lags),
            measure_modulations(levels[band], rate),
            _slopes(level, 8),
            _slopes(level, 2),
        ]
    return np.concatenate(features).astype(np.float32)


DESCRIBE: dict[str, Callable[[Vectors], Vectors]] = {"harmony": describe_harmony, "rhythm": describe_rhythm}


def count_intervals(low: Doubles, high: Doubles) -> Doubles:
    """Return how strongly each interval, 0 to 11 semitones, lies above `low` in `high`, shape (12,).

    `low` and `high` are chroma, shape (12, n_frames). A transposition of both changes nothing.
    """
    return np.array([(low * np.roll(high, -interval, axis=0)).sum() for interval in range(12)])


def autocorrelate(series: Doubles, lags: npt.NDArray[np.int64]) -> Doubles:
    """Return the correlation of `series`, shape (n,), with itself after each lag; 0 for lags of its length."""
    centred = series - series.mean()
    variance = max(float(np.square(centred).mean()), 1e-12)
    return np.array(
        [np.mean(centred[lag:] * centred[:-lag]) / variance if lag < len(series) else 0.0 for lag in lags]
    )


def measure_modulations(levels: Doubles, rate: float) -> Doubles:
    """Return log(1 + effective value in dB) of the modulation between each two of `MODULATIONS_HZ`.

    `levels` has shape (n_bands, n_frames), `rate` is that of frames, in Hz.
    """
    centred, n_frames = levels - levels.mean(axis=1, keepdims=True), levels.shape[1]
    power = 2 * np.square(np.abs(np.fft.rfft(centred, axis=1)) / n_frames).mean(axis=0)
    octave = np.digitize(np.fft.rfftfreq(n_frames, 1 / rate), MODULATIONS_HZ)
    n_octaves = len(MODULATIONS_HZ) - 1
    return np.asarray(np.log1p(np.sqrt(np.bincount(octave, power, n_octaves + 2)[1 : n_octaves + 1])))


def _lengthen(waveform: Vectors) -> Vectors:
    return np.pad(waveform, (0, max(0, SHORTEST - len(waveform))))


def _decibels(power: Doubles) -> Doubles:
    """Return levels relative to the loudest, from -`RANGE_DB` to 0 however quiet the recording; of silence -100."""
    peak = max(float(power.max()), float(np.finfo(np.float64).tiny))
    return np.asarray(librosa.power_to_db(power / peak, top_db=RANGE_DB))


def _chroma(power: Doubles) -> Doubles:
    """Return the sum over octaves from E, shape (12, n_frames)."""
    return np.asarray(power.reshape(-1, 12, power.shape[1]).sum(axis=0))


def _shares(values: Doubles) -> Doubles:
    return np.asarray(values / max(float(values.sum()), 1e-12))


def _similarity(chroma: Doubles, lag: int) -> float:
    """Return the mean cosine of normalised `chroma` after `lag` frames; 0 for lags of its length."""
    n = chroma.shape[1] - lag
    return float((chroma[:, lag:] * chroma[:, :n]).sum() / n) if n > 0 else 0.0


def _novelty(chroma: Doubles, n: int = 4) -> Doubles:
    """Return one minus the cosine of the mean chroma of the `n` frames before and after each frame."""
    sums = np.cumsum(np.pad(chroma, ((0, 0), (n, n)), mode="edge"), axis=1)
    means = librosa.util.normalize(sums[:, n:] - sums[:, :-n], norm=2)
    return np.asarray(1 - (means[:, n:] * means[:, :-n]).sum(axis=0))


def _slopes(levels: Doubles, n: int, where: npt.NDArray[np.bool_] | None = None) -> Doubles:
    """Return `QUANTILES` of the changes of `levels` over `n` frames, of those that begin or end at `where`."""
    change = levels[:, n:] - levels[:, :-n]
    if where is not None:
        change = change[where[:, n:] | where[:, :-n]]
    return np.quantile(change, QUANTILES) if change.size else np.zeros(len(QUANTILES))
