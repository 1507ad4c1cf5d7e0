"""Shards: HDF5 files whose frames are one contiguous, time-major block, so that any window is one byte range.

The rest of the file precedes the block and is read at once. It has a checksum for every 32 frames, so readers can
verify ranges.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import h5py
import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32  # the standard CRC-32, several times as fast
from upath import UPath

from cs_keras import config
from cs_keras.audio.settings import CONTENTS, AudioConfig
from cs_keras.errors import DataError, StorageError
from cs_keras.runs import atomic_write
from cs_keras.storage import remote
from cs_keras.storage.file_views import PartialFile, read_incrementally
from cs_keras.storage.location import Location, file_size, is_remote, require_regular

Frames = npt.NDArray[Any]
SHARD_VERSION = 2
BLOCK_FRAMES = 32  # frames of a checksum: verifying a window of 256 frames reads an eighth more
INDEX = (
    "tracks/track_id",
    "tracks/first_frame",
    "tracks/n_frames",
    "tracks/crc32",
    "block_crc32",
    "left_out/track_id",
    "left_out/reason",
)
HEAD_BYTES = 1 << 16  # contains everything but the frames, except in very large shards


@dataclasses.dataclass(frozen=True)
class ShardTrack:
    """Position of a track in its shard, and the CRC-32 of its bytes."""

    track_id: str
    first_frame: int
    n_frames: int
    crc32: int


@dataclasses.dataclass(frozen=True)
class Shard:
    """Header of a shard: enough to read byte ranges of it without the HDF5 library.

    `offset` is the first byte of the block, None without frames; `shape` is (n_frames, frame_size), `dtype`
    little-endian; `tracks` are in the order of their frames. `block_crc32` has the CRC-32 of each block of
    `BLOCK_FRAMES` frames, shape (n_blocks,), uint32; `rest_checksum` is the BLAKE2b-128 of the file without the
    block. `attributes` are ``schema_version``, ``audio`` (JSON), ``checksum`` (BLAKE2b-128 of the block), and
    the writer's own. `left_out` has the reason by id of each track that could not be used.
    """

    path: Location
    offset: int | None
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    tracks: tuple[ShardTrack, ...]
    block_crc32: npt.NDArray[np.uint32] = dataclasses.field(compare=False)  # rest_checksum covers it
    rest_checksum: str
    attributes: dict[str, Any]
    left_out: dict[str, str]


def write_shard(
    path: Location,
    tracks: Sequence[tuple[str, Frames]],
    audio: AudioConfig,
    dtype: str = "float16",
    attributes: dict[str, str] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> None:
    """Write a shard atomically; the same input gives the same bytes.

    `tracks` are pairs of track id and frames, shape (n_frames, frame_size); the block is named after
    ``audio.content``. `attributes` are additional text attributes, `left_out` the reason by id of each track
    that could not be used.

    Raises DataError when a track's shape or values cannot be stored, StorageError when the file cannot be
    written.
    """
    stored = np.dtype(dtype).newbyteorder("<")
    blocks = [_checked(track_id, frames, audio, stored) for track_id, frames in tracks]
    lengths = [len(block) for block in blocks]
    checksum = hashlib.blake2b(digest_size=16)
    for block in blocks:
        checksum.update(block.data)
    first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    index = {
        "tracks/track_id": _bytes(track_id for track_id, _ in tracks),
        "tracks/first_frame": first[:-1],
        "tracks/n_frames": np.array(lengths, dtype=np.int64),
        "tracks/crc32": np.array([crc32(block.data) for block in blocks], dtype=np.uint32),
        "block_crc32": np.array(list(_block_checksums(blocks)), dtype=np.uint32),
        "left_out/track_id": _bytes((left_out or {}).keys()),
        "left_out/reason": _bytes((left_out or {}).values()),
    }
    buffer = io.BytesIO()  # one sequential write at the end, for buckets too
    with h5py.File(buffer, "w", libver=("v110", "v110")) as file:
        write_header(file, index, audio, checksum.hexdigest(), attributes or {})
        frames = file.create_dataset(audio.content, (sum(lengths), audio.frame_size), stored)
        for start, block in zip(first, blocks, strict=False):
            frames[start : start + len(block)] = block
    with atomic_write(path) as out:
        out.write(buffer.getbuffer())


def write_header(
    file: h5py.File,
    index: Mapping[str, npt.NDArray[Any]],
    audio: AudioConfig,
    checksum: str,
    attributes: Mapping[str, str],
) -> None:
    """Write everything of a shard but its frames to an empty file.

    `index` has the arrays named in `INDEX`; `checksum` is the BLAKE2b-128 of the frames.
    """
    for name in INDEX:
        file.create_dataset(name, data=index[name])
    file.attrs["schema_version"] = SHARD_VERSION
    file.attrs["audio"] = json.dumps(config.to_dict(audio))
    file.attrs["checksum"] = checksum
    file.attrs["index_checksum"] = index_checksum(index)
    file.attrs["block_frames"] = BLOCK_FRAMES
    for name, value in attributes.items():
        file.attrs[name] = value


def read_shard(path: Location, n_bytes: int | None = None) -> Shard:
    """Read a shard's header by a few small reads; `n_bytes` is the file's length, if known from a listing.

    Raises StorageError when the file is missing, not HDF5, truncated, or its index was altered, and DataError
    when it is HDF5 but no shard: another version, chunked or compressed, or without track table.
    """
    try:
        if not is_remote(path):
            require_regular(path)
            with open(path, "rb") as raw, h5py.File(raw, "r") as file:
                return _header(path, file, raw, path.stat().st_size)
        length = file_size(path) if n_bytes is None else n_bytes
        return remote.retry(lambda: _read_remote(path, length), path)
    except FileNotFoundError as error:
        raise StorageError(f"There is no shard {path}.") from error
    except StorageError:
        raise
    except remote.BadResponseError as error:
        raise StorageError(f"{path}: {error}; make it again with `cs-keras ingest`.") from error
    except OSError as error:
        raise StorageError(
            f"{path} is damaged or not an HDF5 file; make it again with `cs-keras ingest`."
        ) from error
    except DataError:
        raise
    except Exception as error:  # h5py and NumPy raise whatever another layout provokes
        raise DataError(f"{path} is not a cs-keras shard: {error}.") from error


def blocks_of(first: int, n_frames: int) -> tuple[int, int]:
    """Return the first block of these frames, and the one after the last."""
    return first // BLOCK_FRAMES, -(-(first + n_frames) // BLOCK_FRAMES)


def first_altered(shard: Shard, block: int, frames: Frames) -> int | None:
    """Return the first block with a wrong checksum of `frames`, which begin with `block`; None if all match."""
    for number, start in enumerate(range(0, len(frames), BLOCK_FRAMES), block):
        if crc32(frames[start : start + BLOCK_FRAMES].data) != shard.block_crc32[number]:
            return number
    return None


def verify_track(track: ShardTrack, frames: Frames) -> bool:
    """Return whether a track's frames, shape (n_frames, frame_size), have the checksum they were written with."""
    return crc32(np.ascontiguousarray(frames).data) == track.crc32


def _read_remote(path: UPath, n_bytes: int) -> Shard:
    """Read a remote header; an invalid one may be an altered response and is requested again."""

    def read(raw: PartialFile) -> Shard:
        with h5py.File(raw, "r") as file:
            return _header(path, file, raw, n_bytes)

    try:
        return read_incrementally(path, n_bytes, HEAD_BYTES, read)
    except (DataError, StorageError, FileNotFoundError):
        raise
    except Exception as error:
        raise remote.BadResponseError("it is damaged or not an HDF5 file") from error


def _header(path: Location, file: h5py.File, raw: IO[bytes] | PartialFile, n_bytes: int) -> Shard:
    version = file.attrs.get("schema_version")
    if version != SHARD_VERSION:
        raise DataError(f"{path} has shard version {version}; this release reads {SHARD_VERSION}.")
    content = next((name for name in CONTENTS if file.get(name, getlink=True)), CONTENTS[0])
    for name in (content, *INDEX):
        _require_own(file, name, path)
    block = file[content]
    if block.external or block.is_virtual:
        raise DataError(f"{path}: dataset {content!r} is stored in other files, which are not read.")
    if block.chunks is not None or block.compression is not None or block.ndim != 2:
        raise DataError(f"{path}: dataset {content!r} must be one contiguous block of two dimensions.")
    offset = block.id.get_offset()
    if offset is not None and n_bytes < offset + block.nbytes:
        raise StorageError(
            f"{path} is truncated: expected {offset + block.nbytes} bytes. Received: {n_bytes}."
        )
    index = {name: file[name][()] for name in INDEX}
    attributes = dict(file.attrs.items())
    if attributes["index_checksum"] != index_checksum(index) or attributes["block_frames"] != BLOCK_FRAMES:
        raise remote.BadResponseError("the checksum of its index does not match")
    if not all(isinstance(attributes[name], str) for name in ("audio", "checksum")):
        raise DataError(f"{path}: its audio settings and checksum must be text.")
    n_blocks = blocks_of(0, block.shape[0])[1]
    if index["block_crc32"].shape != (n_blocks,):
        raise DataError(f"{path} must have {n_blocks} checksums. Received: {index['block_crc32'].shape}.")
    columns = (index[f"tracks/{name}"].tolist() for name in ("track_id", "first_frame", "n_frames", "crc32"))
    tracks = tuple(ShardTrack(i.decode(), a, n, crc) for i, a, n, crc in zip(*columns, strict=True))
    if any(track.first_frame < 0 or track.first_frame + track.n_frames > block.shape[0] for track in tracks):
        raise DataError(f"{path}: its track table refers to frames beyond its {block.shape[0]}.")
    absent = (index[f"left_out/{name}"].tolist() for name in ("track_id", "reason"))
    left_out = {track_id.decode(): reason.decode() for track_id, reason in zip(*absent, strict=True)}
    checksums = index["block_crc32"]
    rest = _rest_checksum(raw, offset or n_bytes, (offset or n_bytes) + block.nbytes)
    return Shard(path, offset, block.dtype, block.shape, tracks, checksums, rest, attributes, left_out)


def _require_own(file: h5py.File, name: str, path: Location) -> None:
    """Raise DataError when `name` is behind a link of HDF5, which may lead to another file or in a circle."""
    parts = name.split("/")
    for n in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:n]), getlink=True)
        if link is not None and not isinstance(link, h5py.HardLink):
            raise DataError(f"{path}: {name!r} is a link, which is not followed.")


def index_checksum(index: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the BLAKE2b-128 of the arrays named in `INDEX`."""
    state = hashlib.blake2b(digest_size=16)
    for name in INDEX:
        state.update(f"{name}{index[name].shape}".encode() + np.ascontiguousarray(index[name]).tobytes())
    return state.hexdigest()


def _rest_checksum(raw: IO[bytes] | PartialFile, start: int, end: int) -> str:
    """Return the BLAKE2b-128 of a file without its bytes from `start` to before `end`."""
    state = hashlib.blake2b(digest_size=16)
    raw.seek(0)
    state.update(raw.read(start))
    raw.seek(end)
    state.update(raw.read())
    return state.hexdigest()


def _block_checksums(tracks: Sequence[Frames]) -> Iterator[int]:
    """Yield the CRC-32 of each block of `BLOCK_FRAMES` frames, which may span several tracks."""
    crc, filled = 0, 0
    for frames in tracks:
        start = 0
        while start < len(frames):
            n = min(BLOCK_FRAMES - filled, len(frames) - start)
            crc = crc32(frames[start : start + n].data, crc)
            start, filled = start + n, filled + n
            if filled == BLOCK_FRAMES:
                yield crc
                crc, filled = 0, 0
    if filled:
        yield crc


def _bytes(texts: Iterable[str]) -> npt.NDArray[np.bytes_]:
    """Return text as fixed-width UTF-8, which HDF5 viewers show."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    return np.array(encoded, dtype=f"S{max(map(len, encoded), default=1)}")


def _checked(track_id: str, frames: Frames, audio: AudioConfig, stored: np.dtype[Any]) -> Frames:
    numbers = f"{'Samples' if audio.holds_waveforms else 'Magnitudes'} of track {track_id!r}"
    if frames.ndim != 2 or frames.shape[1] != audio.frame_size:
        raise DataError(
            f"{numbers} must have shape (n_frames, {audio.frame_size}). Received: {frames.shape}."
        )
    if not np.isfinite(frames).all() or not (audio.holds_waveforms or (frames >= 0).all()):
        raise DataError(f"{numbers} must be finite{'' if audio.holds_waveforms else ' and not negative'}.")
    largest = max(frames.max(initial=0), -frames.min(initial=0))
    if largest > np.finfo(stored).max:
        raise DataError(
            f"{numbers} reach {largest:g}, more than {stored.name} can hold; store them as float32."
        )
    return np.ascontiguousarray(frames, dtype=stored)
