"""Magnitude patches in other people's HDF5 files, read as tracks, a bounded block of rows at a time.

A file holds an array of rows and an index that gives each row its track. Rows of a track are consecutive. Layouts:

``thesis``
    A row is a patch, frequency-major: (n_rows, n_bins, frames), as in Pohl (2019): (patches, 513, 256).
``index-features``
    A row is a patch or a whole track, time-major: (n_rows, frames, n_bins); or one frame: (n_rows, n_bins).
    The array is named ``features``, the index ``index``.

A track's last patch is filled up with zeros. Those frames are dropped; digital silence at the end of a recording
cannot be told from them, and goes too.
"""

import contextlib
import dataclasses
import unicodedata
from collections.abc import Iterator
from typing import IO, Any

import fsspec
import h5py
import numpy as np

from cs_keras.audio.decode import MIN_FRAMES
from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice
from cs_keras.data.shards import Frames
from cs_keras.errors import CsKerasError, DataError, StorageError
from cs_keras.storage.file_views import uncollected

BLOCK_BYTES = 1 << 25  # of rows read at a time
INDEX_BLOCK = 1 << 20  # entries of an index read at a time
CHUNK_CACHE_BYTES = 1 << 26  # a chunk that two tracks share is then decompressed once
MAX_TRACK_S = 6 * 3600  # longer than any recording: a track is held in memory whole


@dataclasses.dataclass(frozen=True)
class PatchFormat:
    """How patch files are laid out, and what their arrays are called where that cannot be seen.

    Attributes
    ----------
    layout
        ``thesis``, ``index-features``, or ``auto``: by the position of the axis of n_bins.
    patches_name, index_name
        Paths of the two arrays inside the file; None: found by shape, dtype and the names ``features``, ``index``.
    """

    layout: str = "auto"
    patches_name: str | None = None
    index_name: str | None = None

    def __post_init__(self) -> None:
        check_choice("layout", self.layout, ("auto", "thesis", "index-features"))


@dataclasses.dataclass(frozen=True)
class PatchTrack:
    """Which rows of its file a track fills."""

    track_id: str
    first_row: int
    n_rows: int


@dataclasses.dataclass(frozen=True)
class PatchFile:
    """What must be known of a patch file to read its tracks.

    Attributes
    ----------
    url
        A local path or any fsspec URL.
    patches_name
        Path of the array inside the file.
    layout
        ``thesis`` or ``index-features``.
    row_shape
        (n_bins, frames) in the thesis's layout, else (frames, n_bins), or (n_bins,) where a row is one frame.
    tracks
        In the order of their rows.
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

    def can_be(self, track: PatchTrack, n_frames: int) -> bool:
        """Tell whether `n_frames` may be left of `track` when padding, at most one row, is dropped."""
        padding = track.n_rows * self.frames_per_row - n_frames
        return 0 <= padding <= (self.frames_per_row if len(self.row_shape) == 2 else 0)


@contextlib.contextmanager
def open_url(url: str) -> Iterator[IO[bytes]]:
    """Open a local path or any fsspec URL for reading bytes.

    Raises
    ------
    StorageError
        When it cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(fsspec.open(url, "rb"))
        except FileNotFoundError as error:
            raise StorageError(f"There is no file {url}.") from error
        except Exception as error:  # every file system has errors of its own
            raise StorageError(f"Cannot open {url}: {error}.") from error
        yield file


@contextlib.contextmanager
def open_hdf5(url: str) -> Iterator[h5py.File]:
    """Open an HDF5 file, local or behind a URL, for reading parts of it.

    Raises
    ------
    StorageError
        When it cannot be opened, is not HDF5, or is cut short.
    """
    with open_url(url) as raw, contextlib.ExitStack() as stack:
        try:
            with uncollected():
                file = stack.enter_context(h5py.File(raw, "r", rdcc_nbytes=CHUNK_CACHE_BYTES))
        except Exception as error:  # HDF5's own, or those of the file system
            raise StorageError(f"{url} is not a whole HDF5 file: {error}.") from error
        yield file


def survey(url: str, audio: AudioConfig, expected: PatchFormat | None = None) -> PatchFile:
    """Find the arrays of a patch file and read its index; no patch is read.

    Parameters
    ----------
    url
        A local path or any fsspec URL.
    audio
        What the magnitudes were made with: gives the number of bins.
    expected
        Layout and names, where they are known.

    Raises
    ------
    StorageError
        When the file cannot be read or is cut short.
    DataError
        When it holds no patches of ``audio.n_bins`` bins, several arrays that could be meant, no index, or an index
        in which a track's rows are not consecutive.
    """
    expected = expected or PatchFormat()
    with open_hdf5(url) as file, uncollected():
        try:
            patches, layout = _find_patches(url, file, audio.n_bins, expected)
            index = _find_index(url, file, patches, expected)
            tracks = _read_index(url, index)
        except CsKerasError:
            raise
        except Exception as error:  # HDF5's own, or those of the file system
            raise StorageError(f"{url} cannot be read: {error}.") from error
        if patches.ndim == 2 and len(tracks) == len(patches):
            raise DataError(
                f"{url}: every row of {patches.name!r} is another track's and holds one frame; expected "
                f"(rows, frames, {audio.n_bins}), or an index that repeats a track's id for each of its frames."
            )
        return PatchFile(url, patches.name, layout, patches.shape[1:], tracks)


def read_track(
    file: h5py.File, source: PatchFile, track: PatchTrack, audio: AudioConfig, dtype: str
) -> Frames:
    """Read a track's magnitudes without the padding.

    Parameters
    ----------
    file
        The opened file of `source`.
    source, track
        Where the track lies, as `survey` found.
    audio
        What the magnitudes were made with.
    dtype
        Of the result: ``float16`` or ``float32``.

    Returns
    -------
    Frames
        Magnitudes, shape (n_frames, n_bins), linear.

    Raises
    ------
    DataError
        When the track cannot be used: damaged, not finite, negative, too large for `dtype`, silent, too short or
        too long. The message does not name it.
    StorageError
        When the file cannot be reached.
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
        raise DataError(f"It is too short: {len(frames)} frames, where {MIN_FRAMES} are needed.")
    return frames


def _read_blocks(file: h5py.File, source: PatchFile, track: PatchTrack) -> Iterator[Frames]:
    """Yield a track's frames, shape (n, n_bins), in blocks of whole rows."""
    with uncollected():
        patches = file[source.patches_name]
    step = max(1, BLOCK_BYTES // (int(np.prod(source.row_shape)) * patches.dtype.itemsize))
    end = track.first_row + track.n_rows
    for first in range(track.first_row, end, step):
        try:
            with uncollected():
                rows = patches[first : min(first + step, end)]
        except Exception as error:  # HDF5's own, or those of the file system
            if _is_damage(error):  # trying again would not help
                raise DataError(f"Its patches are damaged: {error}.") from error
            raise StorageError(
                f"{source.url}: the patches of track {track.track_id!r} cannot be read: {error}."
            ) from error
        if source.layout == "thesis":
            rows = rows.transpose(0, 2, 1)
        yield rows.reshape(-1, rows.shape[-1])


def _is_damage(error: Exception) -> bool:
    """Tell HDF5's own "Can't synchronously read data" from what a file system raises, which h5py passes on."""
    return type(error) is OSError and str(error).startswith("Can't")


def _check_magnitudes(frames: Frames, stored: np.dtype[Any]) -> None:
    if not np.isfinite(frames).all():
        raise DataError("It holds magnitudes that are not finite numbers.")
    if frames.min() < 0:
        raise DataError("It holds negative magnitudes; expected linear ones, not decibels.")
    if frames.max() > np.finfo(stored).max:
        raise DataError(
            f"Its magnitudes reach {frames.max():g}, more than {stored.name} can hold; store them as float32."
        )


def _count_padding(row: Frames) -> int:
    """Return how many frames at the end of a row, shape (frames, n_bins), are all 0."""
    sounding = np.flatnonzero(row.any(axis=1))
    return len(row) - (int(sounding[-1]) + 1 if len(sounding) else 0)


def _find_patches(url: str, file: h5py.File, n_bins: int, expected: PatchFormat) -> tuple[h5py.Dataset, str]:
    every = _datasets(file)
    name = expected.patches_name
    if not name and expected.layout == "index-features":
        name = "features"
    candidates = [d for d in every if not name or d.name == _absolute(name)]
    found = [(d, layout) for d in candidates for layout in _layouts(d, n_bins, expected.layout)]
    if not found:
        raise DataError(
            f"{url} holds no patches {f'named {name!r} ' if name else ''}of {n_bins} bins: expected floating-point "
            f"numbers of shape {_shapes(expected.layout, n_bins)}. It holds: {_list(every)}."
        )
    if len(found) == 1:
        return found[0]
    if len({dataset.name for dataset, _ in found}) == 1:
        raise DataError(
            f"{url}: either axis of a patch, shape {found[0][0].shape[1:]}, can be that of {n_bins} bins; say "
            "which with --layout."
        )
    raise DataError(
        f"{url} holds several arrays that can be the patches: {_list([d for d, _ in found])}; name one with "
        "--patches-name."
    )


def _layouts(dataset: h5py.Dataset, n_bins: int, asked: str) -> list[str]:
    """Return the layouts as which a dataset can be read."""
    if dataset.dtype.kind != "f" or dataset.ndim not in (2, 3) or 0 in dataset.shape:
        return []
    fits = {
        "thesis": dataset.ndim == 3 and dataset.shape[1] == n_bins,
        "index-features": dataset.shape[-1] == n_bins,
    }
    return [layout for layout, can in fits.items() if can and asked in ("auto", layout)]


def _find_index(url: str, file: h5py.File, patches: h5py.Dataset, expected: PatchFormat) -> h5py.Dataset:
    every, n_rows = _datasets(file), len(patches)
    named = _absolute(expected.index_name or "index")
    fitting = [d for d in every if d.shape in ((n_rows,), (n_rows, 1)) and _holds_ids(d)]
    chosen = [d for d in fitting if d.name == named]
    if not chosen and not expected.index_name:
        chosen = fitting
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise DataError(
            f"{url} holds several arrays that can be the index: {_list(chosen)}; name one with --index-name."
        )
    called = f" named {expected.index_name!r}" if expected.index_name else ""
    raise DataError(
        f"{url} holds no index{called}: expected an id, text or a whole number, for each of the {n_rows} rows of "
        f"{patches.name!r}. It holds: {_list(every)}."
    )


def _read_index(url: str, index: h5py.Dataset) -> tuple[PatchTrack, ...]:
    firsts: dict[str, int] = {}
    last = None
    for start in range(0, len(index), INDEX_BLOCK):
        block = index[start : start + INDEX_BLOCK].reshape(-1)
        for row in (0, *(np.flatnonzero(block[1:] != block[:-1]) + 1)):
            track_id = _as_text(url, block[row], start + int(row))
            if track_id == last:  # a block ended within a track
                continue
            if track_id in firsts:
                raise DataError(
                    f"{url}: the rows of track {track_id!r} are not consecutive: they begin at row "
                    f"{firsts[track_id]} and again at row {start + row}."
                )
            firsts[track_id] = start + int(row)
            last = track_id
    ends = [*list(firsts.values())[1:], len(index)]
    return tuple(
        PatchTrack(track_id, first, end - first)
        for (track_id, first), end in zip(firsts.items(), ends, strict=True)
    )


def _as_text(url: str, value: Any, row: int) -> str:
    try:
        text = value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise DataError(f"{url}: the id of row {row} is not UTF-8 text. Received: {value!r}.") from error
    if not text or any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise DataError(f"{url}: the id of row {row}, {text!r}, is empty or has control characters.")
    return text


def _datasets(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return found


def _holds_ids(dataset: h5py.Dataset) -> bool:
    return dataset.dtype.kind in "iu" or h5py.check_string_dtype(dataset.dtype) is not None


def _absolute(name: str) -> str:
    return "/" + name.strip("/")


def _shapes(layout: str, n_bins: int) -> str:
    shapes = {
        "thesis": f"(patches, {n_bins}, frames)",
        "index-features": f"(rows, frames, {n_bins}) or (rows, {n_bins})",
    }
    return shapes.get(layout) or ", ".join(shapes.values())


def _list(datasets: list[h5py.Dataset]) -> str:
    described = (f"{d.name!r} {d.shape} {d.dtype}" for d in datasets)
    return ", ".join(described) or "nothing"
