"""The audible style of a track: twelve musical quantities, and the genres that artists are drawn around."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_range
from cs_keras.errors import ConfigError

MAX_STANDARDISED = 2.0  # a dimension's range maps to -2 .. 2, for a standard deviation of about one


def _dimension(low: float, high: float, *, log: bool = False) -> Any:
    return field(metadata={"low": low, "high": high, "log": log})


@dataclass(frozen=True)
class Style:
    """Audible style of a track: a point in twelve dimensions; ConfigError for values outside their ranges.

    Attributes
    ----------
    tempo_bpm
        Beats per minute, 60 to 180; a bar has four beats.
    onsets_per_beat
        Density of the rhythm, 0.5 to 4: hi-hats per beat; the melody has half as many notes. Below 1 the
        drums are half-time, below 2 a backbeat, from 2 four on the floor.
    drum_level
        RMS of the drums relative to the chords, 0 to 1.5.
    bass_level
        RMS of the bass line relative to the chords, 0 to 1.5.
    register_midi
        MIDI pitch around which the chords lie, 50 to 76; the melody lies an octave above.
    mode_flats
        Mode of the scale as steps flatwards from Lydian, 0 to 5: Lydian, major, Mixolydian, Dorian, minor,
        Phrygian; rounded.
    chord_beats
        Beats from one chord to the next, 2 to 8; rounded to a power of two.
    partial_slope_db
        Brightness: level of each harmonic partial relative to the one below, -16 to -2 dB.
    attack_s
        Time a note takes to reach its peak, 0.003 to 0.3 s.
    decay_s
        Time constant of a note's decay, 0.12 to 3 s.
    vibrato_cents
        Peak deviation of the melody's pitch, 0 to 60 cents.
    noise_level_db
        RMS of the noise floor relative to the music, -60 to -12 dB.
    """

    tempo_bpm: float = _dimension(60, 180, log=True)
    onsets_per_beat: float = _dimension(0.5, 4, log=True)
    drum_level: float = _dimension(0, 1.5)
    bass_level: float = _dimension(0, 1.5)
    register_midi: float = _dimension(50, 76)
    mode_flats: float = _dimension(0, 5)
    chord_beats: float = _dimension(2, 8, log=True)
    partial_slope_db: float = _dimension(-16, -2)
    attack_s: float = _dimension(0.003, 0.3, log=True)
    decay_s: float = _dimension(0.12, 3, log=True)
    vibrato_cents: float = _dimension(0, 60)
    noise_level_db: float = _dimension(-60, -12)

    def __post_init__(self) -> None:
        for dimension in fields(self):
            low, high = dimension.metadata["low"], dimension.metadata["high"]
            check_range(dimension.name, getattr(self, dimension.name), low, high)

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of the dimensions, in the order of `to_vector`."""
        return tuple(dimension.name for dimension in fields(Style))

    def to_vector(self) -> npt.NDArray[np.float64]:
        """Return the standardised style, shape (n_dims,), float64.

        Each dimension's range is mapped to -2 .. 2, on a logarithmic scale for times, rates and durations.
        """
        low, high, is_log = _ranges()
        values = np.array([getattr(self, name) for name in self.names()], dtype=np.float64)
        values[is_log] = np.log(values[is_log])
        return MAX_STANDARDISED * (2 * (values - low) / (high - low) - 1)

    @staticmethod
    def from_vector(vector: npt.ArrayLike) -> "Style":
        """Return the style of a standardised vector, shape (n_dims,), clipped to -2 .. 2.

        Raises ConfigError if the vector has another shape or is not finite.
        """
        names = Style.names()
        vector = np.asarray(vector, dtype=np.float64)
        if vector.shape != (len(names),) or not np.isfinite(vector).all():
            raise ConfigError(f"A style vector must hold {len(names)} finite numbers. Received: {vector}")
        low, high, is_log = _ranges()
        values = (
            low + (high - low) * (vector.clip(-MAX_STANDARDISED, MAX_STANDARDISED) / MAX_STANDARDISED + 1) / 2
        )
        values[is_log] = np.exp(values[is_log])
        bounds = [(dimension.metadata["low"], dimension.metadata["high"]) for dimension in fields(Style)]
        # exp(log(x)) may exceed x by one rounding
        return Style(*np.clip(values, *np.transpose(bounds)).tolist())


def _ranges() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    is_log = np.array([dimension.metadata["log"] for dimension in fields(Style)])
    ends = np.array(
        [[dimension.metadata[end] for dimension in fields(Style)] for end in ("low", "high")], float
    )
    ends[:, is_log] = np.log(ends[:, is_log])
    return ends[0], ends[1], is_log


def style_matrix(styles: Sequence[Style]) -> npt.NDArray[np.float32]:
    """Return the `Style.to_vector` of each style, shape (len(styles), n_dims), float32."""
    return np.stack([style.to_vector() for style in styles]).astype(np.float32)


# As in Style: bpm, onsets, drums, bass, register, flats, chord beats, slope, attack, decay, vibrato, noise.
GENRES: dict[str, Style] = {
    "ambient": Style(72, 0.6, 0.1, 0.4, 62, 1.5, 7.5, -9, 0.22, 2.4, 8, -24),
    "techno": Style(134, 3.2, 1.3, 1.2, 54, 4.2, 6.5, -5, 0.006, 0.22, 4, -32),
    "house": Style(122, 2.4, 1.0, 1.0, 63, 3.2, 4.0, -7, 0.01, 0.4, 8, -44),
    "drum and bass": Style(170, 3.4, 1.3, 1.3, 60, 3.8, 6.0, -8, 0.03, 0.9, 10, -30),
    "folk": Style(98, 1.4, 0.25, 0.35, 60, 1.4, 3.2, -5.5, 0.005, 0.8, 24, -48),
    "chamber": Style(80, 1.1, 0.05, 0.5, 66, 2.0, 3.0, -8, 0.09, 1.6, 46, -54),
    "lo-fi": Style(82, 1.7, 0.75, 0.8, 58, 3.2, 4.0, -12, 0.015, 0.6, 14, -18),
    "noise rock": Style(146, 2.0, 1.1, 0.9, 55, 4.0, 2.6, -2.8, 0.008, 1.2, 18, -15),
}
