"""What is played rather than how it sounds: notes by basic-pitch, tempo and rhythm by librosa, one vector a track.

basic-pitch (Bittner et al. 2022, ICASSP; PyPI package ``basic-pitch`` 0.4.0, Apache 2.0) gives for each frame of
1/86 s and each of the 88 keys of a piano the probability that a note sounds, and that one begins. Its ONNX network
is run on windows of 2 s that overlap by 30 frames, 15 of which are left out on either side, as its authors do. The
tonic is the one whose major or minor key profile (Krumhansl & Kessler 1982) correlates most with the pitch classes.
"""

import importlib.util
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt

from cs_keras.encoders import Vectors, sha256
from cs_keras.encoders.onnx_file import open_session
from cs_keras.errors import DataError, StorageError

SAMPLE_RATE = 22_050
HOP = 256
WINDOW = 2 * SAMPLE_RATE - HOP  # samples
OVERLAP = 30  # frames
FRAMES_PER_S = 86
LOWEST_MIDI = 21  # A0
SOUNDS, BEGINS = 0.3, 0.5  # thresholds of the package
TOGETHER_S = 0.05  # notes that begin within it are one onset
OUTPUTS = ["StatefulPartitionedCall:1", "StatefulPartitionedCall:2"]  # notes that sound, and that begin
WEIGHTS = Path("saved_models", "icassp_2022", "nmp.onnx")

MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])

NAMES = (
    *("polyphony", "silent_share", "notes_per_s", "note_s"),
    *("onsets_per_s", "log_interval_s", "interval_variation"),
    *("register_midi", "register_std", "low_midi", "high_midi", "span"),
    *(f"degree_{semitones}" for semitones in range(12)),
    *("major", "minor", "mode"),
    *("log2_tempo", "pulse_clarity", "onset_strength", "onset_strength_std"),
)


class NotesEncoder:
    """Features called `NAMES` of a whole recording; see `cs_keras.encoders.Encoder`.

    Raises StorageError when the network of basic-pitch is neither given nor installed, DataError when it is
    another.
    """

    sample_rate = SAMPLE_RATE
    n_features = len(NAMES)
    pooling: tuple[str, ...] = ("mean",)  # there is one vector

    def __init__(self, weights: str | None = None) -> None:
        path = find_network(weights)
        self._session = open_session(path)
        outputs = {output.name for output in self._session.get_outputs()}
        if not outputs.issuperset(OUTPUTS):
            raise DataError(
                f"{path} is not basic-pitch's network: its outputs are {', '.join(sorted(outputs))}."
            )
        self._input = self._session.get_inputs()[0].name
        self.digest = sha256(path)

    def encode(self, waveform: Vectors) -> Vectors:
        """Return the features of a mono `waveform`, shape (n_samples,), as one row, (1, n_features)."""
        sounding, beginning = self.transcribe(waveform)
        return np.concatenate([describe_notes(sounding, beginning), describe_rhythm(waveform)])[np.newaxis]

    def transcribe(self, waveform: Vectors) -> tuple[Vectors, Vectors]:
        """Return the probabilities that notes sound, and that they begin, each of shape (n_frames, 88)."""
        hop = WINDOW - OVERLAP * HOP
        n = -(-(len(waveform) + OVERLAP * HOP // 2) // hop)
        before = OVERLAP * HOP // 2
        padded = np.pad(waveform, (before, max(0, (n - 1) * hop + WINDOW - before - len(waveform))))
        windows = [padded[first : first + WINDOW, np.newaxis] for first in range(0, n * hop, hop)]
        outputs = [self._session.run(OUTPUTS, {self._input: window[np.newaxis]}) for window in windows]
        n_frames = len(waveform) * FRAMES_PER_S // SAMPLE_RATE
        inside = slice(OVERLAP // 2, -(OVERLAP // 2))
        sounding, beginning = (
            np.concatenate([one[kind][0, inside] for one in outputs])[:n_frames] for kind in (0, 1)
        )
        return sounding, beginning


def describe_notes(sounding: Vectors, beginning: Vectors) -> Vectors:
    """Return the features from ``polyphony`` to ``mode``, shape (27,), float32.

    Parameters
    ----------
    sounding, beginning
        Probabilities that notes sound and begin, each of shape (n_frames, 88), with `FRAMES_PER_S` frames.
    """
    active = np.where(sounding > SOUNDS, sounding, 0).astype(np.float64)
    is_active, seconds = active > 0, max(len(active), 1) / FRAMES_PER_S
    before, after = np.zeros((2, *beginning.shape), np.float32)
    before[1:], after[:-1] = beginning[:-1], beginning[1:]
    onsets = (beginning > BEGINS) & (beginning > before) & (beginning >= after)
    n_notes = int(onsets.sum())
    times = np.flatnonzero(onsets.any(axis=1)) / FRAMES_PER_S
    times = times[np.diff(times, prepend=-np.inf) > TOGETHER_S]
    intervals = np.diff(times) if len(times) > 1 else np.array([seconds])
    weights, keys = active.sum(axis=0), LOWEST_MIDI + np.arange(active.shape[1])
    total = weights.sum()
    shares = weights / total if total else np.full(len(keys), 1 / len(keys))
    mean = shares @ keys
    low, high = (float(keys[np.searchsorted(np.cumsum(shares), level)]) for level in (0.05, 0.95))
    classes = np.bincount(keys % 12, shares, 12).astype(np.float64)
    tonic, major, minor = find_tonic(classes)
    features = [
        is_active.sum(axis=1).mean() if len(active) else 0,
        1 - is_active.any(axis=1).mean() if len(active) else 1,
        n_notes / seconds,
        is_active.sum() / FRAMES_PER_S / max(n_notes, 1),
        len(times) / seconds,
        np.log(np.median(intervals)),
        intervals.std() / intervals.mean(),
        *(mean, np.sqrt(shares @ np.square(keys - mean)), low, high, high - low),
        *np.roll(classes, -tonic),
        *(major, minor, major - minor),
    ]
    return np.array(features, np.float32)


def find_tonic(classes: npt.NDArray[np.float64]) -> tuple[int, float, float]:
    """Return the tonic, 0 for C, and the best correlations with a major and with a minor key profile.

    `classes` has shape (12,), the share of each pitch class from C; correlations are 0 where all shares are equal.
    """
    centred = classes - classes.mean()
    length = np.linalg.norm(centred)
    if length < 1e-9:
        return 0, 0.0, 0.0
    by_mode = []
    for profile in (MAJOR, MINOR):
        own = (profile - profile.mean()) / np.linalg.norm(profile - profile.mean())
        by_mode.append([centred @ np.roll(own, tonic) / length for tonic in range(12)])
    correlations = np.array(by_mode)
    best = correlations.max(axis=1)
    return int(correlations[best.argmax()].argmax()), float(best[0]), float(best[1])


def describe_rhythm(waveform: Vectors) -> Vectors:
    """Return the features from ``log2_tempo`` on, shape (4,), float32, of a waveform at `SAMPLE_RATE`."""
    strength = librosa.onset.onset_strength(y=waveform, sr=SAMPLE_RATE)
    tempo = librosa.feature.tempo(onset_envelope=strength, sr=SAMPLE_RATE)[0]
    correlation = librosa.autocorrelate(strength - strength.mean(), max_size=len(strength) // 2)
    slowest, fastest = (round(60 / bpm * SAMPLE_RATE / 512) for bpm in (240, 40))
    pulses = correlation[slowest:fastest]
    clarity = pulses.max() / correlation[0] if len(pulses) and correlation[0] > 0 else 0.0
    return np.array([np.log2(tempo), clarity, strength.mean(), strength.std()], np.float32)


def find_network(weights: str | None) -> Path:
    """Return the path of basic-pitch's ONNX network: `weights`, or in that folder, or else in the package.

    Raises StorageError when the package is needed and not installed.
    """
    given = Path(weights) if weights else None
    if given is None:
        spec = importlib.util.find_spec("basic_pitch")
        if spec is None or spec.origin is None:
            raise StorageError(
                "The network of basic-pitch is not installed: `make basic-pitch`, or `pip install --no-deps "
                "basic-pitch==0.4.0`, or name its file nmp.onnx by --weights."
            )
        given = Path(spec.origin).parent
    return given / WEIGHTS if given.is_dir() else given
