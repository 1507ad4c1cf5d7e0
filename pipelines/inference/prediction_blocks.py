"""Blocks of tracks: sources of frames, models that are applied to them, and files of the outputs."""

import collections
import contextlib
import dataclasses
import itertools
import re
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cs_keras.audio.decode import load_mono
from cs_keras.audio.file_checksum import file_checksum
from cs_keras.audio.settings import AudioConfig
from cs_keras.audio.waveform import frame_extractor
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.shards import Frames
from cs_keras.errors import AudioError, CsKerasError, StorageError
from cs_keras.factors.arrays import read_arrays, require_arrays, write_arrays
from cs_keras.progress import Advance
from cs_keras.runs import digest, remove_temporaries
from cs_keras.storage.location import Location, is_remote, list_files, remove
from pipelines.inference.track_vectors import Matrix

PART_ARRAYS = ("track_ids", "n_rows", "rows", "left_out", "reasons")  # of a block's file
_PART_NAME = re.compile(r"part-\d{6,}-[0-9a-f]{16}\.npz")


@dataclasses.dataclass(frozen=True)
class Block:
    """Tracks to which a model is applied together: their ids, and the source's item for each.

    `number` is the position among the blocks, `plan` the digest of model, ids and audio when it was planned.
    """

    number: int
    plan: str
    track_ids: tuple[str, ...]
    items: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Name of the file for the block's outputs."""
        return f"part-{self.number:06d}-{self.plan[:16]}.npz"


class OpenSource(NamedTuple):
    """A source that is open for reading.

    `identify` returns JSON-ready values that change whenever the audio of items does. `read` returns the frames of
    one, shape (n_frames, frame_size); AudioError means that the track is left out.
    """

    identify: Callable[[Sequence[Any]], Any]
    read: Callable[[Any], Frames]


class Source(Protocol):
    """A source of frames, which is pickled for workers."""

    def open(self) -> OpenSource:
        """Open the source in this process."""


@dataclasses.dataclass(frozen=True)
class DatasetTracks:
    """Tracks of a dataset; an item is a row of its track table."""

    folder: Location
    reading: ReadConfig | None = None

    def open(self) -> OpenSource:
        """Open the dataset."""
        dataset = Dataset(self.folder, self.reading)
        return OpenSource(lambda rows: [dataset.digest, *rows], dataset.read_track)


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Audio files; an item is a path. Frames are computed with the audio settings of the model."""

    audio: AudioConfig
    dtype: str
    decoder: str

    def open(self) -> OpenSource:
        """Return a reader of audio files."""
        make_frames = frame_extractor(self.audio, self.dtype)
        return OpenSource(
            lambda paths: [self.decoder, *map(file_checksum, paths)],
            lambda path: make_frames(load_mono(path, self.audio, self.decoder)),
        )


class TrackModel(Protocol):
    """A model of one track at a time, which is pickled for workers."""

    @property
    def task(self) -> str:
        """Return the name of the work in progress reports."""

    @property
    def block_tracks(self) -> int:
        """Return the number of tracks in a block."""

    @property
    def identity(self) -> Any:
        """Return JSON-ready values that change whenever outputs may."""

    @property
    def n_outputs(self) -> int:
        """Return the number of outputs."""

    def load(self) -> Callable[[Frames], Matrix]:
        """Load the model in this process; return a function from a track's frames to rows, (n_rows, n_outputs)."""


@dataclasses.dataclass(frozen=True, eq=False)
class BlockMaker:
    """Applies a model to blocks of tracks, to files in `folder`; see `pipelines.beam.protocols.PartMaker`.

    `threads` read tracks ahead of the model.
    """

    model: TrackModel
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
        """Load model and source; return a function that makes a block and calls `advance` for each track."""
        source, apply = self.source.open(), self.model.load()

        def make(block: Block) -> None:
            items = dict(zip(block.track_ids, block.items, strict=True))
            if block.plan != plan_digest(self.model, identify_tracks(source, items)):
                raise StorageError(
                    f"The worker {socket.gethostname()} found other tracks of {block.name} than this command: "
                    "expected the same files at the same paths, as on a shared file system."
                )
            outputs, left_out = apply_to_tracks(apply, source, items, self.threads, advance)
            rows = [np.zeros((0, self.model.n_outputs), np.float32), *outputs.values()]
            arrays = {
                "track_ids": np.array(list(outputs), np.str_),
                "n_rows": np.array([len(one) for one in outputs.values()], np.int64),
                "rows": np.concatenate(rows),
                "left_out": np.array(list(left_out), np.str_),
                "reasons": np.array(list(left_out.values()), np.str_),
            }
            write_arrays(self.folder / block.name, arrays, {})

        return make

    def read(self, part: Block) -> tuple[npt.NDArray[Any], ...]:
        """Return a block's arrays `PART_ARRAYS`."""
        path = self.folder / part.name
        arrays = read_arrays(path)
        require_arrays(arrays, PART_ARRAYS, path)
        return tuple(arrays[name] for name in PART_ARRAYS)


def identify_tracks(source: OpenSource, items: Mapping[str, Any]) -> dict[str, str]:
    """Return a digest of the audio of each track, by id."""
    return {track_id: digest(source.identify([item])) for track_id, item in items.items()}


def plan_digest(model: TrackModel, contents: Mapping[str, str]) -> str:
    """Return a digest of everything that decides the outputs of tracks with these `contents`, by id."""
    return digest([model.identity, list(contents.items())])


def remove_parts(folder: Location) -> None:
    """Remove the blocks' files, and their folder if nothing else is in it."""
    for name in list_files(folder):
        if _PART_NAME.fullmatch(name):
            remove(folder / name)
    if not is_remote(folder):
        remove_temporaries(folder)
        with contextlib.suppress(OSError):
            folder.rmdir()


def apply_to_tracks(
    apply: Callable[[Frames], Matrix],
    source: OpenSource,
    items: Mapping[str, Any],
    threads: int,
    advance: Advance,
) -> tuple[dict[str, Matrix], dict[str, str]]:
    """Apply a function to the frames of tracks, reading ahead; return results, and reasons for others, by id."""
    results: dict[str, Matrix] = {}
    left_out: dict[str, str] = {}
    with read_ahead(source, list(items.values()), threads) as outcomes:
        for track_id, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, AudioError):
                left_out[track_id] = str(outcome)
            else:
                results[track_id] = apply(outcome)
            advance(1)
    return results, left_out


@contextlib.contextmanager
def read_ahead(
    source: OpenSource, items: Sequence[Any], threads: int
) -> Iterator[Iterator[Frames | AudioError]]:
    """Open an iterator over the frames of each item in order, which reads ahead with `threads` threads.

    The threads end with the ``with`` statement, in the caller's thread: joining them from the garbage collector,
    which may run in a thread that is just being started, can block for ever.
    """
    pool = ThreadPoolExecutor(threads)

    def read(item: Any) -> Frames | AudioError:
        try:
            return source.read(item)
        except AudioError as error:
            return error

    def outcomes() -> Iterator[Frames | AudioError]:
        rest = iter(items)
        waiting = collections.deque(pool.submit(read, item) for item in itertools.islice(rest, threads))
        while waiting:
            outcome = waiting.popleft().result()
            waiting.extend(pool.submit(read, item) for item in itertools.islice(rest, 1))
            yield outcome

    try:
        yield outcomes()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
