"""A dataset folder opened for reading: its settings, its track table, and windows of frames."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras import tfio
from cs_keras.data.reader import FrameRange, FrameReader, OpenShard, ReadConfig, aligned_empty
from cs_keras.data.schema import (
    SHARDS_FOLDER,
    DatasetInfo,
    Tracks,
    assign_split,
    dataset_digest,
    factors_names,
    read_info,
    read_tracks,
)
from cs_keras.data.shards import BLOCK_FRAMES, Frames, Shard, read_shard
from cs_keras.data.windows import Windows
from cs_keras.errors import AudioError, ConfigError, CsKerasError, DataError, StorageError
from cs_keras.storage.location import Location, is_remote, list_file_sizes

VERIFIED_FRAMES = 512 * BLOCK_FRAMES  # read at a time: sixteen megabytes


class Dataset:
    """A dataset folder, local or behind a URL, as written by `cs_keras.data.schema.write_dataset`.

    Shards are opened when first read. Frames are compared with their checksums when they are first read from a
    disk, and at every read from elsewhere. Tracks are split by their folds, or by a named split.

    Raises StorageError when the folder is not a dataset or a shard of it is missing, DataError when its tables
    are not valid or it has no such split, and ConfigError when the reader cannot read this dataset.
    """

    def __init__(
        self, folder: Location, reading: ReadConfig | None = None, split_name: str | None = None
    ) -> None:
        self.folder = folder
        self.info: DatasetInfo = read_info(folder)
        self.tracks: Tracks = read_tracks(folder, split_name)
        self._names, self._shard_of = np.unique(self.tracks.strings("shard"), return_inverse=True)
        self._by_shard = np.argsort(self._shard_of, kind="stable")
        self._first = self.tracks.numbers("first_frame")
        self.n_frames: npt.NDArray[np.int64] = self.tracks.numbers("n_frames")
        self._sizes = list_file_sizes(folder / SHARDS_FOLDER)
        for name in filter(None, self._names.tolist()):  # tracks without audio are in none
            if name.removeprefix(f"{SHARDS_FOLDER}/") not in self._sizes:
                raise StorageError(
                    f"Dataset {folder} lacks its shard {name}; repeat `cs-keras ingest` to write it again."
                )
        self.reading = reading or ReadConfig()
        if self.reading.reader == "tfio":
            self._check_tfio()
        self._reader = FrameReader(self.reading)
        self._shards: dict[int, Future[OpenShard]] = {}
        self._lock = threading.Lock()
        self._is_in_memory = False  # likely in the page cache
        self.error: CsKerasError | None = None  # the last error, which TensorFlow would hide

    def __len__(self) -> int:
        return len(self.tracks)

    def __repr__(self) -> str:
        """Return the folder, the number of tracks, the shape of what `read_track` returns, and names of factors."""
        n_frames = self.n_frames[self.n_frames > 0]
        lengths = "0" if not len(n_frames) else "-".join(map(str, sorted({n_frames.min(), n_frames.max()})))
        # Nothing is read from a bucket to show an object.
        factors = "" if self.is_remote else f", factors={factors_names(self.folder)}"
        shape, content = f"({lengths}, {self.info.audio.frame_size})", self.info.audio.content
        return (
            f"Dataset({str(self.folder)!r}, n_tracks={len(self)}, track_shape={shape}, content={content!r}, "
            f"dtype={self.info.dtype!r}{factors})"
        )

    def use_split(self, name: str | None) -> None:
        """Split the tracks by a named split; None for their folds. DataError is raised when there is none."""
        self.tracks = assign_split(self.folder, self.tracks, name)

    @property
    def is_remote(self) -> bool:
        """True for a dataset behind a URL."""
        return is_remote(self.folder)

    @property
    def n_bytes(self) -> int:
        """Bytes of all frames."""
        return int(self.n_frames.sum()) * self.info.audio.frame_size * np.dtype(self.info.dtype).itemsize

    @property
    def digest(self) -> str:
        """SHA-256 over tables, named split and audio, which changes whenever training on them could."""
        return dataset_digest(self.info, self.tracks)

    def read_track(self, row: int) -> Frames:
        """Return all frames of one track, shape (n_frames, frame_size), as stored; AudioError without any."""
        if not self.n_frames[row]:
            raise AudioError(f"Track {str(self.tracks.ids[row])!r} of {self.folder} has no audio.")
        out = aligned_empty((int(self.n_frames[row]), self.info.audio.frame_size), self.info.dtype)
        (shard,) = self._open_shards([int(self._shard_of[row])])
        self._read([FrameRange(shard, int(self._first[row]), out)])
        return out

    def prefetch(self, windows: Windows, frames: int) -> None:
        """Start reading windows that are needed soon ahead from the disk; does nothing for a bucket."""
        if self.is_remote or self._is_in_memory:
            return
        n_frames = np.minimum(frames, self.n_frames[windows.row] - windows.start)
        first = self._first[windows.row] + windows.start
        shards = self._open_shards(self._shard_of[windows.row].tolist())
        for located in zip(shards, first.tolist(), n_frames.tolist(), strict=True):
            self._reader.prefetch(*located)

    def read_windows(self, windows: Windows, frames: int) -> npt.NDArray[Any]:
        """Return windows of frames, shape (n_windows, frames, frame_size), in the dtype on disk.

        A track that ends inside its window is followed by zeros.
        """
        out = aligned_empty((len(windows), frames, self.info.audio.frame_size), self.info.dtype)
        shards = self._open_shards(self._shard_of[windows.row].tolist())
        ranges = []
        for window, shard, row, start in zip(
            out, shards, windows.row.tolist(), windows.start.tolist(), strict=True
        ):
            n = min(frames, int(self.n_frames[row]) - start)
            window[n:] = 0
            ranges.append(FrameRange(shard, int(self._first[row]) + start, window[:n]))
        self._read(ranges)
        return out

    def locate_windows(self, windows: Windows, frames: int) -> tuple[npt.NDArray[Any], ...]:
        """Return path of the shard (bytes), its shape, first and last frame (exclusive) of each window."""
        shards = [shard.header for shard in self._open_shards(self._shard_of[windows.row].tolist())]
        first = self._first[windows.row] + windows.start
        last = first + np.minimum(frames, self.n_frames[windows.row] - windows.start)
        paths = np.array([str(shard.path).encode() for shard in shards])
        return paths, np.array([shard.shape for shard in shards], np.int64).reshape(-1, 2), first, last

    def verify(self, on_track: Callable[[int], None] = lambda n_tracks: None) -> None:
        """Read every frame once and verify its checksum; `on_track` is called with the number of tracks read since.

        Raises StorageError when frames were altered; the message names the track and its shard.
        """
        n_tracks = np.bincount(self._shard_of).tolist()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for n, _ in zip(n_tracks, pool.map(self._verify_shard, range(len(n_tracks))), strict=True):
                on_track(n)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._is_in_memory = self.n_bytes <= memory // 2

    def _verify_shard(self, number: int) -> None:
        if not self._names[number]:
            return
        (shard,) = self._open_shards([number])
        n_frames, frame_size = shard.header.shape
        for first in range(0, n_frames, VERIFIED_FRAMES):
            out = np.empty((min(VERIFIED_FRAMES, n_frames - first), frame_size), shard.header.dtype)
            self._read([FrameRange(shard, first, out)])

    def _check_tfio(self) -> None:
        if self.is_remote:
            raise ConfigError(
                f"tensorflow-io would load remote shards whole; {self.folder} needs another reader."
            )
        if self.info.dtype == "float16":
            raise ConfigError(
                f"tensorflow-io cannot read float16, which {self.folder} holds; ingest with --dtype float32, or "
                "take the default reader."
            )
        tfio.check_available("The reader tfio")

    def _read(self, ranges: list[FrameRange]) -> None:
        try:
            self._reader.read(ranges)
        except CsKerasError as error:
            self.error = error
            raise

    def _open_shards(self, numbers: list[int]) -> list[OpenShard]:
        """Return open shards; headers of new ones are read concurrently, each once."""
        with self._lock:
            for number in numbers:
                if number not in self._shards:
                    self._shards[number] = self._reader.pool().submit(self._open, number)
            opening = [self._shards[number] for number in numbers]
        try:
            return [future.result() for future in opening]
        except CsKerasError as error:
            self.error = error
            with self._lock:  # so that transient errors are retried
                self._shards = {n: f for n, f in self._shards.items() if not (f.done() and f.exception())}
            raise

    def _open(self, number: int) -> OpenShard:
        name = str(self._names[number])
        if not name:
            raise AudioError(f"Dataset {self.folder} has no audio for one of the tracks to read.")
        shard = read_shard(self.folder / name, self._sizes[name.removeprefix(f"{SHARDS_FOLDER}/")])
        self._check(number, name, shard)
        return self._reader.open(shard)

    def _check(self, number: int, name: str, shard: Shard) -> None:
        expected = (self.info.audio.frame_size, np.dtype(self.info.dtype))
        if (shard.shape[1], shard.dtype) != expected:
            raise DataError(
                f"Shard {name} of {self.folder} does not fit the dataset: expected {expected[0]} "
                f"{'samples' if self.info.audio.holds_waveforms else 'bins'} as {expected[1]}. "
                f"Received: {shard.shape[1]} as {shard.dtype}."
            )
        found = {"shards": shard.attributes["checksum"], "headers": shard.rest_checksum}
        if any(
            getattr(self.info, kind).get(name) not in (None, checksum) for kind, checksum in found.items()
        ):
            raise StorageError(
                f"Shard {name} of {self.folder} has another checksum than at ingest; delete it and repeat "
                "`cs-keras ingest`."
            )
        inside = {(track.track_id, track.first_frame, track.n_frames) for track in shard.tracks}
        first, last = np.searchsorted(self._shard_of, [number, number + 1], sorter=self._by_shard)
        for row in self._by_shard[first:last].tolist():
            track_id = self.tracks.table["track_id"][row].as_py()
            track = (track_id, int(self._first[row]), int(self.n_frames[row]))
            if track not in inside:
                raise DataError(
                    f"Shard {name} of {self.folder} does not fit the track table, by which it holds track "
                    f"{track[0]!r}, {track[2]} frames from frame {track[1]} on."
                )
