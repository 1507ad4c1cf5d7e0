"""Short copies of recordings, for pages that travel."""

import io
from pathlib import Path

import soundfile

from cs_keras.audio.decode import load_mono
from cs_keras.audio.settings import AudioConfig

EXCERPT_S = 20
EXCERPT_RATE = 22_050  # Hz, one of the rates that MP3 allows


def encode_excerpt(path: Path) -> bytes:
    """Return the middle of a recording, at most `EXCERPT_S`, as mono MP3. AudioError if it cannot be decoded."""
    samples = load_mono(path, AudioConfig(sample_rate=EXCERPT_RATE))
    length = EXCERPT_S * EXCERPT_RATE
    start = max(0, (len(samples) - length) // 2)
    file = io.BytesIO()
    soundfile.write(file, samples[start : start + length], EXCERPT_RATE, format="MP3")
    return file.getvalue()
