"""Read frames of shards as verified byte ranges: positioned reads from a disk, concurrent requests from a bucket.

Nothing is mapped into memory: a process holds only the frames in use, however much it has read.
"""

import dataclasses
import math
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_choice
from cs_keras.data.shards import BLOCK_FRAMES, Frames, Shard, blocks_of, first_altered, read_shard
from cs_keras.errors import StorageError
from cs_keras.storage import remote
from cs_keras.storage.cache import Cache, CacheConfig, CachedFile
from cs_keras.storage.location import is_remote
from cs_keras.storage.open_files import OpenFile, OpenFiles
from cs_keras.storage.remote import RemoteConfig

ALIGNMENT = 64  # bytes; TensorFlow's own
COALESCED_BLOCKS = (
    8  # a smaller gap between two ranges costs less than another request: a quarter of a megabyte
)
REQUEST_BLOCKS = 64  # two megabytes; longer ranges are fetched in parts, concurrently


@dataclasses.dataclass(frozen=True)
class ReadConfig:
    """Settings of reading; they do not change what is read.

    Attributes
    ----------
    remote
        Concurrent requests, attempts, and time-out.
    cache
        Cache of frames of remote shards; None: no cache.
    reader
        Reader of windows: ``ranges``, this module; or ``tfio``: tensorflow-io, which reads only local float32
        shards and compares no checksums.
    """

    remote: RemoteConfig = RemoteConfig()
    cache: CacheConfig | None = None
    reader: str = "ranges"

    def __post_init__(self) -> None:
        check_choice("reader", self.reader, ("ranges", "tfio"))


@dataclasses.dataclass(frozen=True)
class FrameRange:
    """Frames to read: their shard, the first one, and a contiguous array for them, (n_frames, frame_size)."""

    shard: "OpenShard"
    first: int
    out: Frames


class OpenShard:
    """A shard being read, with flags of the verified blocks; `cached` is the cache of a remote shard's blocks."""

    def __init__(self, shard: Shard, cached: CachedFile | None = None) -> None:
        self.header = dataclasses.replace(shard, tracks=(), left_out={})  # saves memory for a million tracks
        self.cached = cached
        self.is_remote = is_remote(shard.path)
        self.verified = np.zeros(len(shard.block_crc32), np.bool_)
        self.frame_bytes = shard.shape[1] * shard.dtype.itemsize

    def offset(self, frame: int) -> int:
        """Return the byte of the file at which a frame begins."""
        return (self.header.offset or 0) + frame * self.frame_bytes

    def empty_blocks(self, start: int, stop: int) -> Frames:
        """Return an uninitialised array for the blocks from `start` to before `stop`."""
        n_frames = min(stop * BLOCK_FRAMES, self.header.shape[0]) - start * BLOCK_FRAMES
        return np.empty((n_frames, self.header.shape[1]), self.header.dtype)

    def altered(self, block: int) -> StorageError:
        """Return the error that names the tracks in an altered block."""
        first, last = block * BLOCK_FRAMES, (block + 1) * BLOCK_FRAMES
        inside = [
            repr(track.track_id)
            for track in read_shard(self.header.path).tracks
            if track.first_frame < last and first < track.first_frame + track.n_frames
        ]
        tracks = f"Track{'s' * (len(inside) > 1)} {' and '.join(inside)}"
        return StorageError(
            f"{tracks} in {self.header.path} {'have' if len(inside) > 1 else 'has'} changed since written; delete "
            "the shard and repeat `cs-keras ingest`."
        )


class FrameReader:
    """Reads frame ranges; thread-safe."""

    def __init__(self, config: ReadConfig) -> None:
        self._config = config
        self._cache = Cache(config.cache) if config.cache else None
        self._files = OpenFiles(os.O_RDONLY)
        self._lock = threading.Lock()
        self._requests: ThreadPoolExecutor | None = None

    def open(self, shard: Shard) -> OpenShard:
        """Return a shard to read from."""
        if self._cache is None or not is_remote(shard.path):
            return OpenShard(shard)
        identity = f"{shard.path} {shard.attributes['checksum']} {shard.dtype} {shard.shape}"
        return OpenShard(shard, self._cache.open(identity))

    def read(self, ranges: Sequence[FrameRange]) -> None:
        """Fill the arrays of `ranges`.

        Raises StorageError when a shard cannot be read, or its frames do not have the checksums they were
        written with.
        """
        for wanted in ranges:
            if not wanted.shard.is_remote:
                self._read_local(wanted)
        if any(wanted.shard.is_remote for wanted in ranges):
            self._read_remote([wanted for wanted in ranges if wanted.shard.is_remote])

    def prefetch(self, shard: OpenShard, first: int, n_frames: int) -> None:
        """Start reading frames of a local shard ahead, while others are being copied.

        Raises StorageError when the shard cannot be opened.
        """
        if hasattr(os, "posix_fadvise"):
            start, stop = blocks_of(first, n_frames)
            begin, n_bytes = (
                shard.offset(start * BLOCK_FRAMES),
                (stop - start) * BLOCK_FRAMES * shard.frame_bytes,
            )
            os.posix_fadvise(self._file(shard).descriptor, begin, n_bytes, os.POSIX_FADV_WILLNEED)

    def pool(self) -> ThreadPoolExecutor:
        """Return the threads that make requests."""
        with self._lock:
            self._requests = self._requests or ThreadPoolExecutor(self._config.remote.in_flight, "request")
            return self._requests

    def _read_local(self, wanted: FrameRange) -> None:
        shard, first, out = wanted.shard, wanted.first, wanted.out
        start, stop = blocks_of(first, len(out))
        if shard.verified[start:stop].all():
            _pread(self._file(shard), shard, first, out)
            return
        blocks = shard.empty_blocks(start, stop)
        _pread(self._file(shard), shard, start * BLOCK_FRAMES, blocks)
        bad = first_altered(shard.header, start, blocks)
        if bad is not None:
            raise shard.altered(bad)
        shard.verified[start:stop] = True
        out[:] = blocks[first - start * BLOCK_FRAMES :][: len(out)]

    def _file(self, shard: OpenShard) -> OpenFile:
        try:
            return self._files.get(shard.header.path)  # type: ignore[arg-type]
        except OSError as error:
            raise StorageError(f"Cannot read {shard.header.path}: {error.strerror}.") from error

    def _read_remote(self, ranges: Sequence[FrameRange]) -> None:
        runs = []
        for group in coalesce(ranges):
            start = blocks_of(group[0].first, 1)[0]
            stop = max(blocks_of(wanted.first, len(wanted.out))[1] for wanted in group)
            runs.append((group, start, group[0].shard.empty_blocks(start, stop)))
        n = REQUEST_BLOCKS * BLOCK_FRAMES
        parts = [
            (group[0].shard, start + i // BLOCK_FRAMES, blocks[i : i + n])
            for group, start, blocks in runs
            for i in range(0, len(blocks), n)
        ]
        pool = self.pool()
        requests = [pool.submit(self._fetch, *part) for part in parts if not _read_cached(*part)]
        try:
            for request in requests:
                request.result()
        except BaseException:  # the other results are not needed any more
            for request in requests:
                request.cancel()
            raise
        for group, start, blocks in runs:
            for wanted in group:
                wanted.out[:] = blocks[wanted.first - start * BLOCK_FRAMES :][: len(wanted.out)]

    def _fetch(self, shard: OpenShard, start: int, blocks: Frames) -> None:
        frames, bad = _fetch_blocks(shard, start, blocks, self._config.remote)
        if bad is not None:
            raise shard.altered(bad)
        blocks[:] = frames
        if shard.cached:
            shard.cached.write(start * BLOCK_FRAMES * shard.frame_bytes, memoryview(blocks.data).cast("B"))


def read_unverified(shard: Shard, first: int, n_frames: int) -> Frames:
    """Return frames as stored now, shape (n_frames, frame_size), for callers that compare checksums.

    Frames from a bucket that do not match their checksums are requested again, in case only the response was
    altered. Raises StorageError when they cannot be read.
    """
    opened = OpenShard(shard)
    if is_remote(shard.path):
        start, stop = blocks_of(first, n_frames)
        blocks = opened.empty_blocks(start, stop)
        if blocks.size:
            blocks, _ = _fetch_blocks(opened, start, blocks)
        return blocks[first - start * BLOCK_FRAMES :][:n_frames]
    out = np.empty((n_frames, shard.shape[1]), shard.dtype)
    try:
        _pread(OpenFile(shard.path, os.O_RDONLY), opened, first, out)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"Cannot read {shard.path}: {error.strerror}.") from error
    return out


def coalesce(ranges: Sequence[FrameRange]) -> list[list[FrameRange]]:
    """Group ranges to fetch together: neighbours in a shard, with small gaps; empty ones are left out."""
    groups: list[list[FrameRange]] = []
    reached = 0
    for wanted in sorted(ranges, key=lambda r: (id(r.shard), r.first)):
        if not len(wanted.out):
            continue
        start, stop = blocks_of(wanted.first, len(wanted.out))
        same = bool(groups) and groups[-1][0].shard is wanted.shard
        if same and start <= reached + COALESCED_BLOCKS:
            groups[-1].append(wanted)
            reached = max(reached, stop)
        else:
            groups.append([wanted])
            reached = stop
    return groups


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Frames:
    """Return an uninitialised array at an address that TensorFlow uses without copying: a multiple of 64 bytes."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(n_bytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    aligned: Frames = raw[start : start + n_bytes].view(dtype).reshape(shape)
    return aligned


def _fetch_blocks(
    shard: OpenShard, start: int, blocks: Frames, settings: RemoteConfig | None = None
) -> tuple[Frames, int | None]:
    """Return frames of the shape of `blocks` from block `start` on, and the first altered block, if any."""
    received: list[tuple[Frames, int | None]] = []

    def check(content: bytes) -> None:
        frames = np.frombuffer(content, blocks.dtype).reshape(blocks.shape)
        received[:] = [(frames, first_altered(shard.header, start, frames))]
        if received[0][1] is not None:
            raise remote.BadResponseError(
                "the received frames do not have the checksums they were written with"
            )

    path: Any = shard.header.path
    begin = shard.offset(start * BLOCK_FRAMES)
    try:
        remote.fetch(path, begin, begin + len(blocks) * shard.frame_bytes, check, settings)
    except FileNotFoundError as error:
        raise StorageError(f"There is no shard {path}.") from error
    except StorageError as error:
        if not isinstance(error.__cause__, remote.BadResponseError) or not received:
            raise
    return received[0]


def _pread(file: OpenFile, shard: OpenShard, first: int, out: Frames) -> None:
    """Fill `out` with frames from `first` on, without reading anything else of the file."""
    start = shard.offset(first)
    view = memoryview(out.data).cast("B") if out.size else memoryview(b"")
    while view:
        n_read = os.preadv(file.descriptor, [view], start)
        if not n_read:
            raise StorageError(f"{shard.header.path} has become shorter while it was read.")
        view, start = view[n_read:], start + n_read


def _read_cached(shard: OpenShard, start: int, blocks: Frames) -> bool:
    """Fill `blocks` from the cached file; return whether all of them were there with their checksums."""
    if not shard.cached or not blocks.size:
        return False
    offset = start * BLOCK_FRAMES * shard.frame_bytes
    if not shard.cached.read(offset, memoryview(blocks.data).cast("B")):
        return False
    return first_altered(shard.header, start, blocks) is None
