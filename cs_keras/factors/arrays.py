"""Named arrays in one ``.npz`` file, written atomically and without pickles."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError, StorageError
from cs_keras.parsing import parse_json
from cs_keras.runs import NPZ_LOCK, atomic_write
from cs_keras.storage.location import Location, read_bytes
from cs_keras.storage.remote import BadResponseError

Arrays = dict[str, npt.NDArray[Any]]

SETTINGS = "settings"
SCHEMA_VERSION = "schema_version"
DIGEST_SIZE = 16  # bytes of the checksum that ends an archive, as its comment


def write_arrays(path: Location, arrays: Mapping[str, npt.NDArray[Any]], settings: Mapping[str, Any]) -> None:
    """Write arrays and settings under a temporary name, then rename, so readers never see a partial file.

    Compressed, because ids are stored as fixed-width unicode, which shrinks about tenfold.

    Parameters
    ----------
    path : Path or UPath
        File to write or replace; missing parent folders are made.
    arrays : mapping of str to ndarray
        Any shapes; numbers, booleans or unicode.
    settings : mapping
        Stored with the arrays as one JSON string.

    Raises
    ------
    StorageError
        The file cannot be written; an existing file at `path` is left untouched.
    """
    document = np.array(json.dumps(settings, sort_keys=True, allow_nan=False))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{SETTINGS: document}, **arrays)
    with atomic_write(path) as file:
        file.write(seal(buffer.getvalue()))


def read_arrays(path: Location) -> Arrays:
    """Read every array of an ``.npz`` file.

    Parameters
    ----------
    path : Path or UPath
        File made by `numpy.savez`, by `numpy.savez_compressed` or by `write_arrays`.

    Returns
    -------
    dict of str to ndarray
        In the dtypes and shapes stored.

    Raises
    ------
    StorageError
        The file is missing, unreadable, truncated or not an npz file.
    DataError
        An array holds pickled Python objects, which are never loaded.
    """
    loaded: list[Arrays] = []

    def check(content: bytes) -> None:
        """Load all arrays and verify the checksum of files written by `write_arrays`; other files have none."""
        try:
            loaded[:] = [_load(io.BytesIO(content), path)]
            if SETTINGS in loaded[0] and content[-DIGEST_SIZE:] != _digest(content):
                raise zipfile.BadZipFile("its checksum does not match")
        except DataError:
            raise
        except Exception as error:  # NumPy, zipfile, zlib and tokenize raise whatever a damaged file provokes
            raise BadResponseError(f"a damaged .npz file, perhaps truncated or altered: {error}") from error

    try:
        read_bytes(path, check)
        return loaded[0]
    except FileNotFoundError as error:
        raise StorageError(f"{path}: there is no such file; expected an .npz file.") from error


def seal(content: bytes) -> bytes:
    """Return an archive with the BLAKE2b-128 checksum of its content as the zip comment."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = bytes(DIGEST_SIZE)
    sealed = buffer.getvalue()
    return sealed[:-DIGEST_SIZE] + _digest(sealed)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content[:-DIGEST_SIZE], digest_size=DIGEST_SIZE).digest()


def _load(file: BinaryIO, path: Location) -> Arrays:
    if file.read(2) != b"PK":  # np.load would take anything else for a bare array or a pickle
        raise zipfile.BadZipFile("it does not begin like a zip archive")
    file.seek(0)
    with NPZ_LOCK, np.load(file, allow_pickle=False) as archive:
        arrays: Arrays = {}
        for name in archive.files:
            try:
                arrays[name] = archive[name]
            except ValueError as error:
                if "pickle" not in str(error):
                    raise
                raise DataError(
                    f"{path}: {name!r} holds pickled Python objects, which are never loaded; "
                    "expected an array of numbers or of text, such as ids.astype(str)."
                ) from error
    return arrays


def require_arrays(arrays: Arrays, names: Iterable[str], path: object) -> None:
    """Check that a file held the required arrays.

    Raises
    ------
    DataError
        Some of `names` are not among `arrays`.
    """
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(
            f"{path}: expected the arrays {', '.join(names)}, but {', '.join(missing)} is missing. "
            f"Received: {', '.join(arrays) or 'none'}."
        )


def parse_settings(arrays: Arrays, schema_version: int, path: object) -> dict[str, Any]:
    """Return the settings that `write_arrays` stored, of one schema version only.

    Raises
    ------
    DataError
        The settings are not a JSON object, or are of another schema version.
    """
    try:
        settings = parse_json(str(arrays[SETTINGS]))
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: expected 'settings' to hold JSON: {error}.") from error
    found = settings.get(SCHEMA_VERSION) if isinstance(settings, dict) else None
    if found != schema_version:
        raise DataError(f"{path}: expected schema version {schema_version}. Received: {found}.")
    return dict(settings)


def check_ids(ids: npt.NDArray[Any], what: str, path: object) -> None:
    """Check that ids are a vector of distinct text.

    Raises
    ------
    DataError
        The ids are not a 1-D unicode array, or one of them occurs twice.
    """
    if ids.ndim != 1 or ids.dtype.kind != "U":
        raise DataError(f"{path}: expected {what} as a vector of text. Received: {ids.dtype} {ids.shape}.")
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        repeated = str(unique[counts > 1][0])
        raise DataError(f"{path}: {what} must not repeat; {repeated!r} occurs {counts[counts > 1][0]} times.")
