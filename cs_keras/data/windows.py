"""Windows of tracks: random crops for training, fixed windows for prediction.

A window is a sequence, or where sequences are selected, the longer excerpt that a sequence is selected from.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import OMIT_IF_DEFAULT, check_choice, check_range

MAX_SKIP_S = 86_400.0
SELECTIONS = ("random", "energy", "entropy", "novelty")
SELECTIONS_BY_SPECTRUM = ("entropy", "novelty")  # which samples do not have
Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class SequenceConfig:
    """Length of a model's input, seconds to skip of each track, and which sequences of it are used.

    Attributes
    ----------
    frames
        Frames in a sequence; 256 are 5.94 s at the default audio settings.
    skip_start_s, skip_end_s
        Seconds to skip at each end, such as intro and outro. Skips are reduced in proportion for tracks that are
        too short for them and one sequence.
    select
        ``random``: in training, random sequences; in prediction, sequences that cover the track. ``energy``,
        ``entropy`` or ``novelty``: in both, of each such excerpt of `select_from` sequences, the sequence of the
        most energy, spectral entropy or spectral flux.
    select_from
        Length of an excerpt that one sequence is selected from, in sequences: with 2, half of a track is used.
    """

    frames: int = 256
    skip_start_s: float = 0.0
    skip_end_s: float = 0.0
    select: str = dataclasses.field(default="random", metadata=OMIT_IF_DEFAULT)
    select_from: int = dataclasses.field(default=2, metadata=OMIT_IF_DEFAULT)

    def __post_init__(self) -> None:
        check_range("sequence.frames", self.frames, 1)
        check_range("sequence.skip_start_s", self.skip_start_s, 0, MAX_SKIP_S)
        check_range("sequence.skip_end_s", self.skip_end_s, 0, MAX_SKIP_S)
        check_choice("sequence.select", self.select, SELECTIONS)
        check_range("sequence.select_from", self.select_from, 2)

    @property
    def excerpt_frames(self) -> int:
        """Frames to read for one sequence."""
        return self.frames if self.select == "random" else self.frames * self.select_from


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of tracks: track table rows, and first frames counted from the track's first, (n_windows,), int64."""

    row: Integers
    start: Integers

    def __len__(self) -> int:
        return len(self.row)

    def batch(self, number: int, size: int) -> "Windows":
        """Return batch `number` of `size` windows; the last may be smaller."""
        chosen = slice(number * size, (number + 1) * size)
        return Windows(self.row[chosen], self.start[chosen])


def usable_range(n_frames: Integers, config: SequenceConfig, audio: AudioConfig) -> tuple[Integers, Integers]:
    """Return first usable frame and number of usable frames of tracks of `n_frames`, shape (n_tracks,) each."""
    skips = np.array([config.skip_start_s, config.skip_end_s]) * audio.frames_per_second
    wanted = skips.sum()
    spare = np.maximum(n_frames - config.excerpt_frames, 0)
    share = np.minimum(spare, wanted) / wanted if wanted else np.zeros(len(n_frames))
    first = np.floor(share * skips[0]).astype(np.int64)
    last = np.floor(share * skips[1]).astype(np.int64)
    return first, n_frames - first - last


def prediction_windows(
    rows: Integers, n_frames: Integers, config: SequenceConfig, audio: AudioConfig
) -> Windows:
    """Cover tracks, given by their `rows` and lengths in frames, shape (n_tracks,), with consecutive windows.

    The last window ends with the usable part and may overlap the one before: only tracks shorter than a window
    are padded.
    """
    first, usable = usable_range(n_frames, config, audio)
    length = config.excerpt_frames
    counts = np.maximum(1, -(-usable // length))
    index = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    latest = np.repeat(np.maximum(usable - length, 0), counts)
    start = np.repeat(first, counts) + np.minimum(index * length, latest)
    return Windows(np.repeat(rows, counts), start)


def training_windows(
    rows: Integers,
    n_frames: Integers,
    config: SequenceConfig,
    audio: AudioConfig,
    rng: np.random.Generator,
) -> Windows:
    """Draw one epoch's crops in random order: from each track as many as fit without overlap.

    Crops start at any frame. See `prediction_windows` for the parameters.
    """
    first, usable = usable_range(n_frames, config, audio)
    length = config.excerpt_frames
    counts = np.maximum(1, usable // length)
    room = np.repeat(np.maximum(usable - length, 0) + 1, counts)
    start = np.repeat(first, counts) + np.floor(rng.random(counts.sum()) * room).astype(np.int64)
    order = rng.permutation(len(start))
    return Windows(np.repeat(rows, counts)[order], start[order])
