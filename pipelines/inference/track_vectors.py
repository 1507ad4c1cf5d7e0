"""Vectors of tracks as one file: NumPy's npz, or a Parquet table for what reads no NumPy."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cs_keras.errors import ConfigError
from cs_keras.runs import atomic_write, write_npz
from cs_keras.storage.location import Location

SUFFIXES = (".npz", ".parquet")

Matrix = npt.NDArray[np.float32]


def check_suffix(out: Location) -> None:
    """Raise ConfigError when a file of that name would be neither npz nor Parquet."""
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"Expected a file to write that ends in .npz or .parquet. Received: {out}.")


def write_vectors(
    out: Location,
    track_ids: npt.NDArray[np.str_],
    vectors: Mapping[str, Matrix],
    about: Mapping[str, str] | None = None,
) -> None:
    """Write one row a track, atomically, in the form that the suffix of `out` names.

    Parameters
    ----------
    out
        ``.npz``: an array each, uncompressed. ``.parquet``: a column each, of fixed-size lists of float32.
    track_ids
        Shape (n,); named ``track_ids`` in an npz and ``track_id`` in a table.
    vectors
        By name, each of shape (n, any), float32; both forms hold the same bits.
    about
        Texts about all of them, by name: scalar arrays of an npz, metadata of a table's schema.

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
        pq.write_table(
            table, file, use_dictionary=False
        )  # ids are unique, and so are floats: it only costs time


def _lists(matrix: Matrix) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel(), pa.float32()), matrix.shape[1])
