"""Sizes of the work; the defaults take some minutes on two cores."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `python -m benchmarks.run` can change.

    Attributes
    ----------
    workspace
        Folder for datasets and recordings made here and removed at the end: on a disk, for cold reads.
    recordings
        Folder of recordings to ingest; tracks are synthesised where it does not exist.
    repeats
        Turns of each contestant.
    loader_mb
        Megabytes of float16 frames to read windows from; the peer's float32 patches take twice as much.
    patches
        Sequences of 256 frames that the front end is given.
    tracks
        Whole tracks for the Bag of Tones.
    ingest_minutes
        Minutes of sound to ingest of each format.
    items, factors, k
        Tracks to rank, width of their factors, and length of the lists.
    playlists, permutations
        Of the overlap.
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
    playlists: int = 11_333
    permutations: int = 100
