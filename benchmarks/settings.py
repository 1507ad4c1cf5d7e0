"""Sizes of the benchmarks; the defaults take some minutes on two cores."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Settings:
    """Options of `python -m benchmarks.run`.

    Attributes
    ----------
    workspace
        Folder for temporary datasets and recordings; on a disk, for cold reads.
    recordings
        Folder of recordings to ingest; tracks are synthesised if it does not exist.
    repeats
        Repetitions of each measurement.
    loader_mb
        Megabytes of float16 frames from which windows are read; the peer's float32 patches take twice as much.
    patches
        Number of sequences of 256 frames for the front end.
    tracks
        Number of whole tracks for Bag of Tones.
    ingest_minutes
        Minutes of audio to ingest per format.
    items, factors, k
        Number of tracks to rank, number of their factors, and length of the lists.
    permutations
        Number of permutations of a test.
    """

    workspace: Path
    recordings: Path = Path("../shared/data/audio")
    repeats: int = 5
    loader_mb: int = 1024
    patches: int = 128
    tracks: int = 4
    ingest_minutes: float = 12.0
    items: int = 11_333
    factors: int = 200
    k: int = 501
    permutations: int = 999
