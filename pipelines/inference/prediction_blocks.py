"""Blocks of tracks to predict: sources of frames, and files of factors."""

import collections
import contextlib
import dataclasses
import itertools
import re
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cs_keras.audio.decode import load_mono
from cs_keras.audio.file_checksum import file_checksum
from cs_keras.audio.settings import AudioConfig
from cs_keras.audio.waveform import frame_extractor
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.shards import Frames
from cs_keras.errors import AudioError, CsKerasError, StorageError
from cs_keras.factors.arrays import read_arrays, write_arrays
from cs_keras.progress import Advance
from cs_keras.runs import digest, remove_temporaries
from cs_keras.storage.location import Location, is_remote, list_files, remove
from pipelines.inference.trained_run import Matrix, TrainedRun, track_function

_PART_NAME = re.compile(r"part-\d{6,}-[0-9a-f]{16}\.npz")


@dataclasses.dataclass(frozen=True)
class Block:
    """Tracks that are predicted together.

    Attributes
    ----------
    number
        Position among the blocks.
    plan
        Digest of model, ids and audio when the block was planned.
    track_ids
        Ids of the tracks.
    items
        Item of the source for each track.
    """

    number: int
    plan: str
    track_ids: tuple[str, ...]
    items: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Name of the file for the block's factors."""
        return f"part-{self.number:06d}-{self.plan[:16]}.npz"


class Source(Protocol):
    """A source of frames, which is pickled for workers."""

    def open(self) -> "OpenSource":
        """Open the source in this process."""


class OpenSource(Protocol):
    """A source that is open for reading."""

    def identify(self, items: Sequence[Any]) -> Any:
        """Return JSON-ready values that change whenever the audio of `items` does."""

    def read(self, item: Any) -> Frames:
        """Return the frames of a track, shape (n_frames, frame_size); AudioError means that it is left out."""


@dataclasses.dataclass(frozen=True)
class DatasetTracks:
    """Tracks of a dataset; an item is a row of its track table."""

    folder: Location
    reading: ReadConfig | None = None

    def open(self) -> OpenSource:
        """Return an open dataset."""
        return _OpenDataset(Dataset(self.folder, self.reading))


class _OpenDataset:
    def __init__(self, dataset: Dataset) -> None:
        self.read, self._digest = dataset.read_track, dataset.digest

    def identify(self, items: Sequence[int]) -> Any:
        return [self._digest, *items]


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Audio files; an item is a path. Frames are computed with the audio settings of the model."""

    audio: AudioConfig
    dtype: str
    decoder: str

    def open(self) -> OpenSource:
        """Return a reader of audio files."""
        return _OpenRecordings(self)


class _OpenRecordings:
    def __init__(self, settings: Recordings) -> None:
        self._settings = settings
        self._make_frames = frame_extractor(settings.audio, settings.dtype)

    def identify(self, items: Sequence[Path]) -> Any:
        return [self._settings.decoder, *(file_checksum(path) for path in items)]

    def read(self, item: Path) -> Frames:
        return self._make_frames(load_mono(item, self._settings.audio, self._settings.decoder))


@dataclasses.dataclass(frozen=True, eq=False)
class BlockMaker:
    """Predicts blocks of tracks, in any process; see `pipelines.beam.protocols.PartMaker`.

    Attributes
    ----------
    run
        Run with the model.
    source
        Source of frames.
    folder
        Folder for one file per block.
    threads
        Number of threads that read tracks ahead of the model.
    """

    run: TrainedRun
    source: Source
    folder: Location
    threads: int

    def names(self) -> Collection[str]:
        """List the files in the folder."""
        return list_files(self.folder)

    def is_made(self, part: Block) -> bool:
        """Return whether a block's file is valid; its name identifies model and tracks."""
        try:
            self.read(part)
        except CsKerasError:
            return False
        return True

    def open(self, advance: Advance = lambda n_tracks: None) -> Callable[[Block], None]:
        """Load model and source; return a function that predicts a block and calls `advance` for each track."""
        return _OpenMaker(self, advance)

    def read(self, part: Block) -> dict[str, Any]:
        """Return a block's ``track_ids``, ``scaled_factors``, ``left_out`` and ``reasons``."""
        return read_arrays(self.folder / part.name)


class _OpenMaker:
    def __init__(self, maker: BlockMaker, advance: Advance) -> None:
        self._maker, self._advance = maker, advance
        self._source, self._predict = maker.source.open(), track_function(maker.run)

    def __call__(self, block: Block) -> None:
        if block.plan != plan_digest(block.track_ids, block.items, self._maker.run, self._source):
            raise StorageError(
                f"The worker {socket.gethostname()} found other tracks of {block.name} than this command: expected "
                "the same files at the same paths, as on a shared file system."
            )
        scaled: dict[str, Matrix] = {}
        left_out: dict[str, str] = {}
        outcomes = _read_ahead(self._source, block.items, self._maker.threads)
        for track_id, outcome in zip(block.track_ids, outcomes, strict=True):
            if isinstance(outcome, AudioError):
                left_out[track_id] = str(outcome)
            else:
                scaled[track_id] = self._predict(outcome)
            self._advance(1)
        n_factors = len(self._maker.run.signature.scaler.offset)
        arrays = {
            "track_ids": np.array(list(scaled), np.str_),
            "scaled_factors": np.array(list(scaled.values()), np.float32).reshape(-1, n_factors),
            "left_out": np.array(list(left_out), np.str_),
            "reasons": np.array(list(left_out.values()), np.str_),
        }
        write_arrays(self._maker.folder / block.name, arrays, {})


def plan_digest(track_ids: Sequence[str], items: Sequence[Any], run: TrainedRun, source: OpenSource) -> str:
    """Return a digest of everything that decides the factors of a block."""
    return digest([run.digest, list(track_ids), source.identify(items)])


def remove_parts(folder: Location) -> None:
    """Remove the blocks' files, and their folder if nothing else is in it."""
    for name in list_files(folder):
        if _PART_NAME.fullmatch(name):
            remove(folder / name)
    if not is_remote(folder):
        remove_temporaries(folder)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _read_ahead(source: OpenSource, items: Sequence[Any], threads: int) -> Iterator[Frames | AudioError]:
    """Yield the frames of each item in order, reading ahead with `threads` threads."""

    def read(item: Any) -> Frames | AudioError:
        try:
            return source.read(item)
        except AudioError as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        waiting: collections.deque[Future[Frames | AudioError]] = collections.deque()
        rest = iter(items)
        try:
            waiting.extend(pool.submit(read, item) for item in itertools.islice(rest, threads))
            while waiting:
                outcome = waiting.popleft().result()
                waiting.extend(pool.submit(read, item) for item in itertools.islice(rest, 1))
                yield outcome
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
