"""Vectors of tracks in one file: an npz, or a Parquet table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cs_keras.errors import ConfigError, StorageError
from cs_keras.runs import atomic_write, write_npz
from cs_keras.storage.location import Location, is_folder

SUFFIXES = (".npz", ".parquet")

Matrix = npt.NDArray[np.float32]


def check_suffix(out: Location) -> None:
    """Raise ConfigError unless the name of `out` ends in ``.npz`` or ``.parquet``."""
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"The output file must end in .npz or .parquet. Received: {out}.")


def check_output(out: Location) -> None:
    """Raise StorageError when `out` is a folder, or ConfigError as `check_suffix` does."""
    if is_folder(out):
        raise StorageError(f"The output {out} is a folder; expected the name of a file.")
    check_suffix(out)


def write_vectors(
    out: Location,
    track_ids: npt.NDArray[np.str_],
    vectors: Mapping[str, Matrix],
    about: Mapping[str, str] | None = None,
) -> None:
    """Write one row per track atomically, in the format of the suffix of `out`.

    Parameters
    ----------
    out
        ``.npz``: one uncompressed array per name. ``.parquet``: one column per name, of fixed-size lists of
        float32.
    track_ids
        Shape (n,); named ``track_ids`` in an npz and ``track_id`` in a table.
    vectors
        Vectors by name, shape (n, any), float32, or numbers, shape (n,), which are a plain column of a table.
    about
        Metadata, texts by name: scalar arrays of an npz, metadata of a table's schema.

    Raises
    ------
    ConfigError
        When the suffix is another.
    StorageError
        When the file cannot be written.
    """
    check_suffix(out)
    about = about or {}
    if out.suffix.lower() == ".npz":
        texts: dict[str, npt.NDArray[Any]] = {name: np.array(text) for name, text in about.items()}
        write_npz(out, track_ids=track_ids, **vectors, **texts)
        return
    columns = {"track_id": pa.array(track_ids.tolist(), pa.string())}
    columns |= {name: _lists(matrix) for name, matrix in vectors.items()}
    table = pa.table(columns)
    if about:
        table = table.replace_schema_metadata(dict(about))
    with atomic_write(out) as file:
        pq.write_table(table, file, use_dictionary=False)  # values are unique


def _lists(matrix: Matrix) -> pa.Array:
    if matrix.ndim == 1:
        return pa.array(matrix, pa.float32())
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel(), pa.float32()), matrix.shape[1])
