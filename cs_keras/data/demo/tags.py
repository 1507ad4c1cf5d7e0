"""Tags of the demo tracks, from the quantities of their style that the sound follows.

A style has no loudness, which synthesis equalises: its dynamics are those of single notes. What a rule names is in
the recording: a rhythm needs drums to play it, and vibrato needs notes that last for a cycle of it.
"""

from collections.abc import Callable

from cs_keras.data.demo.instruments import VIBRATO_HZ
from cs_keras.data.demo.style import Style

AUDIBLE_LEVEL = 0.3  # RMS of drums or bass relative to the chords: -10 dB

TAG_RULES: dict[str, dict[str, Callable[[Style], bool]]] = {
    "tempo": {
        "slow": lambda style: style.tempo_bpm < 85,
        "medium": lambda style: 85 <= style.tempo_bpm < 130,
        "fast": lambda style: style.tempo_bpm >= 130,
    },
    "instruments": {
        "drums": lambda style: style.drum_level >= AUDIBLE_LEVEL,
        "bass": lambda style: style.bass_level >= AUDIBLE_LEVEL,
        "noise": lambda style: style.noise_level_db >= -25,
    },
    "rhythm": {
        "half-time": lambda style: _has_rhythm(style, 0, 1),
        "backbeat": lambda style: _has_rhythm(style, 1, 2),
        "four on the floor": lambda style: _has_rhythm(style, 2, float("inf")),
    },
    "mode": {
        "major": lambda style: round(style.mode_flats) <= 2,  # Lydian, major, Mixolydian: a major third
        "minor": lambda style: round(style.mode_flats) > 2,
    },
    "register": {
        "low": lambda style: style.register_midi < 58,
        "high": lambda style: style.register_midi >= 66,
    },
    "brightness": {
        "dark": lambda style: style.partial_slope_db < -11,
        "bright": lambda style: style.partial_slope_db >= -5,
    },
    "lead": {
        "vocal-like": lambda style: style.vibrato_cents >= 25 and style.decay_s >= 1 / VIBRATO_HZ,
    },
    "dynamics": {
        "plucked": lambda style: style.attack_s < 0.01 and style.decay_s < 0.5,
        "staccato": lambda style: style.decay_s < 0.3,
        "sustained": lambda style: style.decay_s >= 1.5,
        "swelling": lambda style: style.attack_s >= 0.06,
    },
}
"""Whether a style has a tag, by kind and tag."""


def tags_of(style: Style) -> tuple[str, ...]:
    """Return the tags of a style, in the order of `TAG_RULES`: a tempo, a mode, and any others."""
    return tuple(tag for rules in TAG_RULES.values() for tag, has in rules.items() if has(style))


def _has_rhythm(style: Style, low: float, high: float) -> bool:
    """Return whether drums are audible and `onsets_per_beat` is at least `low` and below `high`."""
    return style.drum_level >= AUDIBLE_LEVEL and low <= style.onsets_per_beat < high
