"""Read magnitude patches in HDF5 files of other tools as tracks, a bounded block of rows at a time.

A file has an array of rows and an index with the track of each row. Rows of a track are consecutive. Layouts:

``thesis``
    A row is a patch, frequency-major: (n_rows, n_bins, frames), as in Pohl (2019): (patches, 513, 256).
``index-features``
    A row is a patch or a whole track, time-major: (n_rows, frames, n_bins); or one frame: (n_rows, n_bins).
    The array is named ``features``, the index ``index``.

A track's last patch is padded with zeros. Those frames are dropped, together with digital silence at the end of a
recording.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fsspec
import h5py
import numpy as np

from cs_keras.audio.decode import MIN_FRAMES
from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice
from cs_keras.data.shards import Frames
from cs_keras.errors import DataError, StorageError
from cs_keras.storage.file_views import gc_paused
from cs_keras.storage.location import require_regular

BLOCK_BYTES = 1 << 25  # of rows read at a time
CHUNK_CACHE_BYTES = 1 << 26  # so that a chunk of two tracks is decompressed once
MAX_TRACK_S = 6 * 3600  # because memory holds a whole track


@dataclasses.dataclass(frozen=True)
class PatchFormat:
    """Layout of patch files, ``auto`` by the position of the axis of n_bins, and paths of their arrays in the file.

    Arrays without a path are found by shape, dtype and the names ``features`` and ``index``.
    """

    layout: str = "auto"
    patches_name: str | None = None
    index_name: str | None = None

    def __post_init__(self) -> None:
        check_choice("layout", self.layout, ("auto", "thesis", "index-features"))


@dataclasses.dataclass(frozen=True)
class PatchTrack:
    """A track and its rows in a file."""

    track_id: str
    first_row: int
    n_rows: int


@dataclasses.dataclass(frozen=True)
class PatchFile:
    """Structure of a patch file, with its tracks in the order of their rows.

    `row_shape` is (n_bins, frames) in the thesis's layout, else (frames, n_bins), or (n_bins,) where a row is
    one frame.
    """

    url: str
    patches_name: str
    layout: str
    row_shape: tuple[int, ...]
    tracks: tuple[PatchTrack, ...]

    @property
    def frames_per_row(self) -> int:
        """Frames in a row, padding included."""
        if len(self.row_shape) == 1:
            return 1
        return self.row_shape[1 if self.layout == "thesis" else 0]

    @property
    def n_rows(self) -> int:
        """Rows of all tracks."""
        return sum(track.n_rows for track in self.tracks)

    def can_have(self, track: PatchTrack, n_frames: int) -> bool:
        """Return whether `track` can have `n_frames` after padding of at most one row is dropped."""
        padding = track.n_rows * self.frames_per_row - n_frames
        return 0 <= padding <= (self.frames_per_row if len(self.row_shape) == 2 else 0)


@contextlib.contextmanager
def open_url(url: str) -> Iterator[IO[bytes]]:
    """Open a local path or any fsspec URL for reading bytes; StorageError when it cannot be opened."""
    with contextlib.ExitStack() as stack:
        if "://" not in url:
            require_regular(Path(url))
        try:
            file = stack.enter_context(fsspec.open(url, "rb"))
        except FileNotFoundError as error:
            raise StorageError(f"There is no file {url}.") from error
        except Exception as error:  # each file system has its own errors
            raise StorageError(f"Cannot open {url}: {error}.") from error
        yield file


@contextlib.contextmanager
def open_hdf5(url: str) -> Iterator[h5py.File]:
    """Open an HDF5 file, local or behind a URL, for reading parts of it.

    Raises StorageError when it cannot be opened, is not HDF5, or is truncated.
    """
    with open_url(url) as raw, contextlib.ExitStack() as stack:
        try:
            with gc_paused():
                file = stack.enter_context(h5py.File(raw, "r", rdcc_nbytes=CHUNK_CACHE_BYTES))
        except Exception as error:  # HDF5's own, or those of the file system
            raise StorageError(f"{url} is damaged or not an HDF5 file: {error}.") from error
        yield file


def read_track(
    file: h5py.File, source: PatchFile, track: PatchTrack, audio: AudioConfig, dtype: str
) -> Frames:
    """Read a track's linear magnitudes without the padding, shape (n_frames, n_bins), as `dtype`.

    `source` and `track` are results of `cs_keras.data.patches.layout.survey`. Raises DataError when the track
    cannot be used: damaged, not finite, negative, too large for `dtype`, silent, too short or too long (the
    message does not name it), and StorageError when the file cannot be reached.
    """
    n_frames = track.n_rows * source.frames_per_row
    if n_frames > MAX_TRACK_S * audio.frames_per_second:
        raise DataError(
            f"It has {n_frames} frames, {n_frames / audio.frames_per_second / 3600:.0f} h; expected at most "
            f"{MAX_TRACK_S // 3600} h."
        )
    frames = np.empty((n_frames, audio.n_bins), dtype)
    filled, padding = 0, 0
    for block in _read_blocks(file, source, track):
        _check_magnitudes(block, frames.dtype)
        frames[filled : filled + len(block)] = block
        filled += len(block)
        padding = 0 if len(source.row_shape) == 1 else _count_padding(block[-source.frames_per_row :])
    frames = frames[: n_frames - padding]
    if not frames.any():
        raise DataError("It is silent: all its magnitudes are 0.")
    if len(frames) < MIN_FRAMES:
        raise DataError(f"It is too short: {len(frames)} frames; expected at least {MIN_FRAMES}.")
    return frames


def _read_blocks(file: h5py.File, source: PatchFile, track: PatchTrack) -> Iterator[Frames]:
    """Yield a track's frames, shape (n, n_bins), in blocks of whole rows."""
    with gc_paused():
        patches = file[source.patches_name]
    step = max(1, BLOCK_BYTES // (int(np.prod(source.row_shape)) * patches.dtype.itemsize))
    end = track.first_row + track.n_rows
    for first in range(track.first_row, end, step):
        try:
            with gc_paused():
                rows = patches[first : min(first + step, end)]
        except Exception as error:  # HDF5's own, or those of the file system
            if _is_damage(error):  # a retry would not help
                raise DataError(f"Its patches are damaged: {error}.") from error
            raise StorageError(
                f"{source.url}: the patches of track {track.track_id!r} cannot be read: {error}."
            ) from error
        if source.layout == "thesis":
            rows = rows.transpose(0, 2, 1)
        yield rows.reshape(-1, rows.shape[-1])


def _is_damage(error: Exception) -> bool:
    """Return whether an error is HDF5's own "Can't synchronously read data", not one of the file system."""
    return type(error) is OSError and str(error).startswith("Can't")


def _check_magnitudes(frames: Frames, stored: np.dtype[Any]) -> None:
    if not np.isfinite(frames).all():
        raise DataError("It contains magnitudes that are not finite.")
    if frames.min() < 0:
        raise DataError("It contains negative magnitudes; expected linear magnitudes, not decibels.")
    if frames.max() > np.finfo(stored).max:
        raise DataError(
            f"Its magnitudes reach {frames.max():g}, more than {stored.name} can hold; store them as float32."
        )


def _count_padding(row: Frames) -> int:
    """Return the number of frames of zeros at the end of a row, shape (frames, n_bins)."""
    nonzero = np.flatnonzero(row.any(axis=1))
    return len(row) - (int(nonzero[-1]) + 1 if len(nonzero) else 0)
