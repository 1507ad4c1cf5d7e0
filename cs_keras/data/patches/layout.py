"""Find the arrays of a patch file and the rows of each track, without reading patches."""

from typing import Any

import h5py
import numpy as np

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.patches.read import PatchFile, PatchFormat, PatchTrack, open_hdf5
from cs_keras.data.schema import is_valid_id
from cs_keras.errors import CsKerasError, DataError, StorageError
from cs_keras.storage.file_views import gc_paused

INDEX_BLOCK = 1 << 20  # entries of an index read at a time


def survey(url: str, audio: AudioConfig, expected: PatchFormat | None = None) -> PatchFile:
    """Find the arrays of a patch file, a local path or any fsspec URL, and read its index.

    Raises StorageError when the file cannot be read or is truncated, and DataError when it has no patches of
    ``audio.n_bins`` bins, several candidate arrays, no index, or an index in which a track's rows are not
    consecutive.
    """
    expected = expected or PatchFormat()
    with open_hdf5(url) as file, gc_paused():
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
                f"{url}: every row of {patches.name!r} belongs to another track and has one frame; expected "
                f"(rows, frames, {audio.n_bins}), or an index that repeats a track's id for each of its frames."
            )
        return PatchFile(url, patches.name, layout, patches.shape[1:], tracks)


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
            f"{url}: either axis of a patch, shape {found[0][0].shape[1:]}, can be that of {n_bins} bins; "
            "specify the layout with --layout."
        )
    raise DataError(
        f"{url} holds several arrays that can be the patches: {_list([d for d, _ in found])}; name one with "
        "--patches-name."
    )


def _layouts(dataset: h5py.Dataset, n_bins: int, wanted: str) -> list[str]:
    """Return the layouts that a dataset can have."""
    if dataset.dtype.kind != "f" or dataset.ndim not in (2, 3) or 0 in dataset.shape:
        return []
    fits = {
        "thesis": dataset.ndim == 3 and dataset.shape[1] == n_bins,
        "index-features": dataset.shape[-1] == n_bins,
    }
    return [layout for layout, can in fits.items() if can and wanted in ("auto", layout)]


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
        raise DataError(
            f"{url}: the id of row {row} is not UTF-8 text. Received: {bytes(value)!r}."
        ) from error
    if not is_valid_id(text):
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
