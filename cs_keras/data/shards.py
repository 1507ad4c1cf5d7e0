"""Shards: HDF5 files whose magnitudes are one contiguous, time-major block: any window is one byte range."""

import dataclasses
import hashlib
import io
import json
import math
import mmap
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import DataError, StorageError
from cs_keras.runs import atomic_write

Frames = npt.NDArray[Any]
SHARD_VERSION = 1
ALIGNMENT = 64  # bytes; TensorFlow's own


@dataclasses.dataclass(frozen=True)
class ShardTrack:
    """Where a track lies in its shard, and the CRC-32 of its bytes."""

    track_id: str
    first_frame: int
    n_frames: int
    crc32: int


@dataclasses.dataclass(frozen=True)
class Shard:
    """What a reader must know of a shard to read byte ranges of it without the HDF5 library.

    Attributes
    ----------
    path
        The file.
    offset
        Byte at which the block starts; None when the shard holds no frames.
    dtype
        Of the magnitudes, little-endian.
    shape
        (n_frames, n_bins).
    tracks
        In the order of their frames.
    attributes
        ``schema_version``, ``audio`` (JSON), ``checksum`` (BLAKE2b-128 of the block), and the writer's own.
    left_out
        Ids of tracks that were to be in the shard and could not be used, with the reasons.
    """

    path: Path
    offset: int | None
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    tracks: tuple[ShardTrack, ...]
    attributes: dict[str, Any]
    left_out: dict[str, str]


def write_shard(
    path: Path,
    tracks: Sequence[tuple[str, Frames]],
    audio: AudioConfig,
    dtype: str = "float16",
    attributes: dict[str, str] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> None:
    """Write a shard atomically; the same input gives the same bytes.

    Parameters
    ----------
    path
        Of the file to write.
    tracks
        Pairs of track id and magnitudes, shape (n_frames, n_bins).
    audio
        What the magnitudes were made with.
    dtype
        ``float16`` or ``float32``.
    attributes
        More text attributes to store.
    left_out
        Ids of tracks that could not be used, with the reasons.

    Raises
    ------
    DataError
        When a track's shape or values cannot be stored: the message names it.
    StorageError
        When the file cannot be written.
    """
    stored = np.dtype(dtype).newbyteorder("<")
    blocks = [_checked(track_id, frames, audio, stored) for track_id, frames in tracks]
    lengths = [len(block) for block in blocks]
    checksum = hashlib.blake2b(digest_size=16)
    for block in blocks:
        checksum.update(block.data)
    buffer = io.BytesIO()  # one sequential write at the end, which a bucket takes as well as a disk
    with h5py.File(buffer, "w", libver=("v110", "v110")) as file:
        magnitude = file.create_dataset("magnitude", (sum(lengths), audio.n_bins), stored)
        first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        for start, block in zip(first, blocks, strict=False):
            magnitude[start : start + len(block)] = block
        index = file.create_group("tracks")
        index.create_dataset("track_id", data=_bytes(track_id for track_id, _ in tracks))
        index.create_dataset("first_frame", data=first[:-1])
        index.create_dataset("n_frames", data=np.array(lengths, dtype=np.int64))
        index.create_dataset(
            "crc32", data=np.array([zlib.crc32(block.data) for block in blocks], dtype=np.uint32)
        )
        absent = file.create_group("left_out")
        for name, texts in (("track_id", (left_out or {}).keys()), ("reason", (left_out or {}).values())):
            absent.create_dataset(name, data=_bytes(texts))
        file.attrs["schema_version"] = SHARD_VERSION
        file.attrs["audio"] = json.dumps(config.to_dict(audio))
        file.attrs["checksum"] = checksum.hexdigest()
        for name, value in (attributes or {}).items():
            file.attrs[name] = value
    with atomic_write(path) as out:
        out.write(buffer.getbuffer())


def read_shard(path: Path) -> Shard:
    """Read a shard's header: a few small reads, none of the block.

    Raises
    ------
    StorageError
        When the file is missing, not HDF5, or cut short.
    DataError
        When it is HDF5 but not a shard: another version, chunked or compressed, or without its track table.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _header(path, file)
    except FileNotFoundError as error:
        raise StorageError(f"There is no shard {path}.") from error
    except OSError as error:
        raise StorageError(
            f"{path} is not a whole HDF5 file; make it again with `cs-keras ingest`."
        ) from error
    except (KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is not a cs-keras shard: {error}.") from error


def verify_track(track: ShardTrack, frames: Frames) -> bool:
    """Tell whether a track's stored frames, shape (n_frames, n_bins), have the checksum they were written with."""
    return zlib.crc32(np.ascontiguousarray(frames).data) == track.crc32


def open_block(shard: Shard) -> Frames:
    """Return a read-only memory map of a local shard's block, shape (n_frames, n_bins)."""
    if shard.offset is None:
        return np.zeros(shard.shape, shard.dtype)
    return np.memmap(shard.path, shard.dtype, "r", shard.offset, shard.shape)


def read_ahead(block: Frames, first: int, n_frames: int) -> None:
    """Ask the system to read just these frames of a block from disk now, while others are being copied.

    Without it every page fault at a new place reads as far ahead as the disk's setting says, often megabytes where
    a window has a quarter of one.
    """
    if isinstance(block, np.memmap) and hasattr(mmap, "MADV_WILLNEED"):
        size = block.strides[0]
        start = block.offset % mmap.ALLOCATIONGRANULARITY + first * size
        page = start // mmap.PAGESIZE * mmap.PAGESIZE
        block.base.madvise(mmap.MADV_WILLNEED, page, start - page + n_frames * size)  # type: ignore[union-attr]


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> Frames:
    """Return an array of any content at an address that TensorFlow takes over without copying: 64 bytes."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(n_bytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    aligned: Frames = raw[start : start + n_bytes].view(dtype).reshape(shape)
    return aligned


def _header(path: Path, file: h5py.File) -> Shard:
    version = file.attrs.get("schema_version")
    if version != SHARD_VERSION:
        raise DataError(f"{path} has shard version {version!r}; this release reads {SHARD_VERSION}.")
    magnitude = file["magnitude"]
    if magnitude.chunks is not None or magnitude.compression is not None or magnitude.ndim != 2:
        raise DataError(f"{path}: dataset 'magnitude' must be one contiguous block of two dimensions.")
    offset = magnitude.id.get_offset()
    size = path.stat().st_size
    if offset is not None and size < offset + magnitude.nbytes:
        raise StorageError(
            f"{path} is cut short: {offset + magnitude.nbytes} bytes expected, {size} are there."
        )
    index = file["tracks"]
    columns = (index[name][()].tolist() for name in ("track_id", "first_frame", "n_frames", "crc32"))
    tracks = tuple(ShardTrack(i.decode(), a, n, crc) for i, a, n, crc in zip(*columns, strict=True))
    if any(
        track.first_frame < 0 or track.first_frame + track.n_frames > magnitude.shape[0] for track in tracks
    ):
        raise DataError(f"{path}: its track table points outside its {magnitude.shape[0]} frames.")
    attributes = {name: value for name, value in file.attrs.items()}
    absent = (file["left_out"][name][()].tolist() for name in ("track_id", "reason"))
    left_out = {track_id.decode(): reason.decode() for track_id, reason in zip(*absent, strict=True)}
    return Shard(path, offset, magnitude.dtype, magnitude.shape, tracks, attributes, left_out)


def _bytes(texts: Iterable[str]) -> npt.NDArray[np.bytes_]:
    """Return text as fixed-width UTF-8, which any HDF5 viewer shows."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    return np.array(encoded, dtype=f"S{max(map(len, encoded), default=1)}")


def _checked(track_id: str, frames: Frames, audio: AudioConfig, stored: np.dtype[Any]) -> Frames:
    if frames.ndim != 2 or frames.shape[1] != audio.n_bins:
        raise DataError(
            f"Magnitudes of track {track_id!r} must have shape (n_frames, {audio.n_bins}). "
            f"Received: {frames.shape}."
        )
    if not np.isfinite(frames).all() or (frames < 0).any():
        raise DataError(f"Magnitudes of track {track_id!r} must be finite and not negative.")
    if len(frames) and frames.max() > np.finfo(stored).max:
        raise DataError(
            f"Magnitudes of track {track_id!r} reach {frames.max():g}, more than {stored.name} can hold; "
            "store them as float32."
        )
    return np.ascontiguousarray(frames, dtype=stored)
