"""Frames of shards as byte ranges, verified: from a disk by positioned reads, from a bucket by concurrent requests.

Nothing is mapped into memory, so a process stays as small as what it holds, whatever it has read.
"""

import dataclasses
import math
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from upath import UPath

from cs_keras.config import check_choice
from cs_keras.data.shards import BLOCK_FRAMES, Frames, Shard, blocks_of, first_altered, read_shard
from cs_keras.errors import StorageError
from cs_keras.storage import remote
from cs_keras.storage.cache import Cache, CacheConfig, CachedFile
from cs_keras.storage.location import is_remote
from cs_keras.storage.open_files import OpenFile, OpenFiles
from cs_keras.storage.remote import RemoteConfig

ALIGNMENT = 64  # bytes; TensorFlow's own
COALESCED_BLOCKS = 8  # fewer between two ranges cost less than another request: a quarter of a megabyte
REQUEST_BLOCKS = 64  # two megabytes; longer ranges are fetched in parts, side by side


@dataclasses.dataclass(frozen=True)
class ReadConfig:
    """How frames are fetched; nothing here changes what is read.

    Attributes
    ----------
    remote
        Requests at a time, tries, and time-out.
    cache
        Where to keep frames of remote shards; None: nowhere.
    reader
        Of windows: ``ranges``, which is what this module does; or ``tfio``: tensorflow-io, which reads only local
        float32 shards and compares no checksums.
    """

    remote: RemoteConfig = RemoteConfig()
    cache: CacheConfig | None = None
    reader: str = "ranges"

    def __post_init__(self) -> None:
        check_choice("reader", self.reader, ("ranges", "tfio"))


@dataclasses.dataclass(frozen=True)
class FrameRange:
    """Frames to be read: of which shard, from which on, and into what, shape (n_frames, frame_size), contiguous."""

    shard: "OpenShard"
    first: int
    out: Frames


class OpenShard:
    """A shard being read, and which of its blocks were found to be as they were written.

    Parameters
    ----------
    shard
        Its header.
    kept
        For a remote one, the local file that keeps its blocks.
    """

    def __init__(self, shard: Shard, kept: CachedFile | None = None) -> None:
        self.header = dataclasses.replace(
            shard, tracks=(), left_out={}
        )  # a million tracks stay out of memory
        self.kept = kept
        self.is_remote = is_remote(shard.path)
        self.verified = np.zeros(len(shard.block_crc32), np.bool_)

    def range_of(self, first: int, n_frames: int) -> tuple[int, int]:
        """Return the bytes of the file that hold these frames: the first, and the one after the last."""
        frame_bytes = self.header.shape[1] * self.header.dtype.itemsize
        start = (self.header.offset or 0) + first * frame_bytes
        return start, start + n_frames * frame_bytes

    def empty_blocks(self, start: int, stop: int) -> Frames:
        """Return room for the blocks from `start` to before `stop`."""
        n_frames = min(stop * BLOCK_FRAMES, self.header.shape[0]) - start * BLOCK_FRAMES
        return np.empty((n_frames, self.header.shape[1]), self.header.dtype)

    def altered(self, block: int) -> StorageError:
        """Return the error that names the tracks in a block that is not as it was written."""
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
    """Reads stretches of frames; safe to use from several threads.

    Parameters
    ----------
    config
        How remote ones are fetched.
    """

    def __init__(self, config: ReadConfig) -> None:
        self._config = config
        self._cache = Cache(config.cache) if config.cache else None
        self._descriptors = OpenFiles(os.O_RDONLY)
        self._lock = threading.Lock()
        self._requests: ThreadPoolExecutor | None = None

    def open(self, shard: Shard) -> OpenShard:
        """Return a shard to read from."""
        if self._cache is None or not is_remote(shard.path):
            return OpenShard(shard)
        identity = f"{shard.path} {shard.attributes['checksum']} {shard.dtype} {shard.shape}"
        return OpenShard(shard, self._cache.open(identity))

    def read(self, stretches: Sequence[FrameRange]) -> None:
        """Fill the stretches.

        Raises
        ------
        StorageError
            When a shard cannot be read, or holds frames that are not as they were written.
        """
        local = [stretch for stretch in stretches if not stretch.shard.is_remote]
        for stretch in local:
            self._read_local(stretch)
        if len(local) < len(stretches):
            self._read_remote([stretch for stretch in stretches if stretch.shard.is_remote])

    def prefetch(self, shard: OpenShard, first: int, n_frames: int) -> None:
        """Have the disk begin to read frames of a local shard: just those, and while others are being copied.

        Raises
        ------
        StorageError
            When the shard cannot be opened.
        """
        if hasattr(os, "posix_fadvise"):
            start, stop = blocks_of(first, n_frames)
            begin, end = shard.range_of(start * BLOCK_FRAMES, (stop - start) * BLOCK_FRAMES)
            descriptor = self._descriptor(shard)
            os.posix_fadvise(descriptor.number, begin, end - begin, os.POSIX_FADV_WILLNEED)

    def _read_local(self, stretch: FrameRange) -> None:
        shard, first, out = stretch.shard, stretch.first, stretch.out
        start, stop = blocks_of(first, len(out))
        if shard.verified[start:stop].all():
            _pread(self._descriptor(shard), shard, first, out)
            return
        blocks = shard.empty_blocks(start, stop)
        _pread(self._descriptor(shard), shard, start * BLOCK_FRAMES, blocks)
        bad = first_altered(shard.header, start, blocks)
        if bad is not None:
            raise shard.altered(bad)
        shard.verified[start:stop] = True
        out[:] = blocks[first - start * BLOCK_FRAMES :][: len(out)]

    def _descriptor(self, shard: OpenShard) -> OpenFile:
        try:
            return self._descriptors.get(shard.header.path)  # type: ignore[arg-type]
        except OSError as error:
            raise StorageError(f"Cannot read {shard.header.path}: {error.strerror}.") from error

    def _read_remote(self, stretches: Sequence[FrameRange]) -> None:
        runs = [_Run(group) for group in coalesce(stretches)]
        parts = [part for run in runs for part in run.parts()]
        pool = self.pool()
        requests = [pool.submit(self._fetch, *part) for part in parts if not _read_kept(*part)]
        try:
            for request in requests:
                request.result()
        except BaseException:  # nobody waits for the others any more
            for request in requests:
                request.cancel()
            raise
        for run in runs:
            run.assign_by_shard()

    def _fetch(self, shard: OpenShard, start: int, blocks: Frames) -> None:
        bad: list[int] = []

        def check(content: bytes) -> None:
            frames = np.frombuffer(content, blocks.dtype).reshape(blocks.shape)
            altered = first_altered(shard.header, start, frames)
            if altered is not None:
                bad.append(altered)
                raise remote.BadResponseError("frames came that are not those that were written")

        begin, end = shard.range_of(start * BLOCK_FRAMES, len(blocks))
        path: Any = shard.header.path
        try:
            content = remote.fetch(path, begin, end, check, self._config.remote)
        except FileNotFoundError as error:
            raise StorageError(f"There is no shard {path}.") from error
        except StorageError as error:
            if isinstance(error.__cause__, remote.BadResponseError) and bad:
                raise shard.altered(bad[-1]) from error
            raise
        blocks[:] = np.frombuffer(content, blocks.dtype).reshape(blocks.shape)
        if shard.kept:
            shard.kept.write(begin - (shard.header.offset or 0), memoryview(content))

    def pool(self) -> ThreadPoolExecutor:
        """Return the threads that make requests, as many as may be in flight."""
        with self._lock:
            self._requests = self._requests or ThreadPoolExecutor(self._config.remote.in_flight, "request")
            return self._requests


class _Run:
    """Neighbouring stretches of one shard, fetched as the blocks from the first to the last of them."""

    def __init__(self, stretches: Sequence[FrameRange]) -> None:
        self._stretches, self._shard = stretches, stretches[0].shard
        self._start = blocks_of(stretches[0].first, 1)[0]
        stop = max(blocks_of(s.first, len(s.out))[1] for s in stretches)
        self._blocks = self._shard.empty_blocks(self._start, stop)

    def parts(self) -> Iterable[tuple[OpenShard, int, Frames]]:
        """Yield what one request fetches: the shard, the first block, and room for it."""
        n_frames = REQUEST_BLOCKS * BLOCK_FRAMES
        for start in range(0, len(self._blocks), n_frames):
            yield self._shard, self._start + start // BLOCK_FRAMES, self._blocks[start : start + n_frames]

    def assign_by_shard(self) -> None:
        """Copy to each stretch what it asked for."""
        for stretch in self._stretches:
            begin = stretch.first - self._start * BLOCK_FRAMES
            stretch.out[:] = self._blocks[begin : begin + len(stretch.out)]


def read_unverified(shard: Shard, first: int, n_frames: int) -> Frames:
    """Return frames as they lie there now, shape (n_frames, frame_size), for whoever compares checksums itself.

    What comes from a bucket and does not fit its checksums is asked for again, in case only the answer was altered.

    Raises
    ------
    StorageError
        When they cannot be read.
    """
    opened = OpenShard(shard)
    if is_remote(shard.path):
        return _fetch_unverified(shard.path, opened, first, n_frames)
    out = np.empty((n_frames, shard.shape[1]), shard.dtype)
    try:
        _pread(OpenFile(shard.path, os.O_RDONLY), opened, first, out)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"Cannot read {shard.path}: {error.strerror}.") from error
    return out


def _fetch_unverified(path: UPath, shard: OpenShard, first: int, n_frames: int) -> Frames:
    start, stop = blocks_of(first, n_frames)
    blocks = shard.empty_blocks(start, stop)
    came: list[bytes] = []

    def check(content: bytes) -> None:
        came[:] = [content]
        if (
            first_altered(shard.header, start, np.frombuffer(content, blocks.dtype).reshape(blocks.shape))
            is not None
        ):
            raise remote.BadResponseError("frames came that are not those that were written")

    if blocks.size:
        try:
            remote.fetch(path, *shard.range_of(start * BLOCK_FRAMES, len(blocks)), check)
        except StorageError as error:
            if not isinstance(error.__cause__, remote.BadResponseError) or not came:
                raise
        blocks = np.frombuffer(came[0], blocks.dtype).reshape(blocks.shape)
    return blocks[first - start * BLOCK_FRAMES :][:n_frames]


def coalesce(stretches: Sequence[FrameRange]) -> list[list[FrameRange]]:
    """Return stretches grouped by what one read fetches: neighbours in a shard, with little between them."""
    groups: list[list[FrameRange]] = []
    reached = 0
    for stretch in sorted(stretches, key=lambda s: (id(s.shard), s.first)):
        if not len(stretch.out):
            continue
        start, stop = blocks_of(stretch.first, len(stretch.out))
        same = bool(groups) and groups[-1][0].shard is stretch.shard
        if same and start <= reached + COALESCED_BLOCKS:
            groups[-1].append(stretch)
            reached = max(reached, stop)
        else:
            groups.append([stretch])
            reached = stop
    return groups


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Frames:
    """Return an array of any content at an address that TensorFlow takes over without copying: 64 bytes."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(n_bytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    aligned: Frames = raw[start : start + n_bytes].view(dtype).reshape(shape)
    return aligned


def _pread(descriptor: OpenFile, shard: OpenShard, first: int, out: Frames) -> None:
    """Fill `out` with frames from `first` on, without touching anything else of the file."""
    start, _ = shard.range_of(first, len(out))
    view = memoryview(out.data).cast("B") if out.size else memoryview(b"")
    while view:
        n_read = os.preadv(descriptor.number, [view], start)
        if not n_read:
            raise StorageError(f"{shard.header.path} has become shorter while it was read.")
        view, start = view[n_read:], start + n_read


def _read_kept(shard: OpenShard, start: int, blocks: Frames) -> bool:
    """Fill `blocks` from the kept file, if all of them are there and as they were written."""
    if not shard.kept or not blocks.size:
        return False
    begin, _ = shard.range_of(start * BLOCK_FRAMES, 0)
    if not shard.kept.read(begin - (shard.header.offset or 0), memoryview(blocks.data).cast("B")):
        return False
    return first_altered(shard.header, start, blocks) is None
