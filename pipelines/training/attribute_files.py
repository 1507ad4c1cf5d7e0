"""Files of attributes: CSV, TSV or Parquet tables, and ``features.npz`` of one vector an item."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cs_keras.config import check_choice
from cs_keras.data.attributes.columns import (
    KINDS,
    Column,
    NumericColumn,
    SequenceColumn,
    check_finite,
    read_column,
)
from cs_keras.data.attributes.table import DESCRIPTIONS, AttributeTable, make_table
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.arrays import read_arrays
from cs_keras.factors.tables import ParquetTable, TextTable, open_table
from cs_keras.run_files.encoder import parse_encoder

ID_COLUMN = "track_id"
ARTIST_COLUMN, ARTIST_ARRAY = "artist", "artists"  # of ids, where items are artists
ID_ARRAYS = ("track_ids", "ids", ARTIST_ARRAY)
FEATURES = "features"
FRAMES, OFFSETS = "frames", "offsets"
ENCODER = "encoder"
IGNORE = "ignore"


@dataclasses.dataclass(frozen=True)
class AttributeFiles:
    """Files of attributes by the name of their table, "" for the one without a name, and how to read them.

    Of several, `kinds` and `id_column` apply to those that have such a column; see `find_id_columns` and
    `read_attributes`.
    """

    paths: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)
    id_column: str | None = None

    def read(self) -> dict[str, AttributeTable]:
        """Return what they hold, by name.

        Raises
        ------
        ConfigError
            When none of them has a column that is named; see `read_attributes` for others.
        """
        if len(self.paths) == 1:
            return {
                name: read_attributes(path, self.kinds, self.id_column) for name, path in self.paths.items()
            }
        id_columns = find_id_columns(self.paths, self.id_column)
        columns = {name: list_columns(path) for name, path in self.paths.items()}
        for wanted in self.kinds:
            _require_column(wanted, columns, self.paths)
        return {
            name: read_attributes(
                path,
                {column: kind for column, kind in self.kinds.items() if column in columns[name]},
                id_columns[name],
            )
            for name, path in self.paths.items()
        }

    @property
    def options(self) -> dict[str, list[str]]:
        """The command line's options that say the same, JSON-ready: values by name; none without a file."""
        if not self.paths:
            return {}
        features = [f"{name}={path}" if name else str(path) for name, path in self.paths.items()]
        kinds = [f"{name}={kind}" for name, kind in self.kinds.items()]
        id_column = [] if self.id_column is None else [self.id_column]
        return {"--features": features, "--id-column": id_column, "--attribute": kinds}


def find_id_columns(paths: Mapping[str, Path], given: str | None) -> dict[str, str | None]:
    """Return the column of ids of each of several tables: `given` in those that have it, None for the usual one.

    A table of tracks, with a column ``track_id``, keeps that where `given` is the column of artists.

    Raises
    ------
    ConfigError
        When no table has it.
    """
    if given is None or len(paths) < 2:
        return dict.fromkeys(paths, given)
    columns = {name: list_columns(path) for name, path in paths.items()}
    _require_column(given, columns, paths)
    names_artists = given.casefold() == ARTIST_COLUMN
    return {
        name: given if given in own and not (names_artists and ID_COLUMN in map(str.casefold, own)) else None
        for name, own in columns.items()
    }


def _require_column(name: str, columns: Mapping[str, list[str]], paths: Mapping[str, Path]) -> None:
    if paths and not any(name in own for own in columns.values()):
        raise ConfigError(
            f"No table of --features has a column {name!r}. Received: {', '.join(map(str, paths.values()))}."
        )


def list_columns(path: Path) -> list[str]:
    """Return the names of the columns of a file of attributes, those of an npz as if it were a table of one."""
    if _is_npz(path):
        return [FRAMES if FRAMES in read_arrays(path) else FEATURES]
    return [name.strip() for name in open_table(path).column_names]


def parse_kinds(assignments: tuple[str, ...]) -> dict[str, str]:
    """Turn ``("key=categorical",)`` into ``{"key": "categorical"}``.

    Raises
    ------
    ConfigError
        When there is no such kind, or no name.
    """
    kinds = {}
    for assignment in assignments:
        name, equals, kind = assignment.rpartition("=")
        if not equals or not name.strip():
            raise ConfigError(f"Expected NAME=KIND, such as key=categorical. Received: {assignment!r}.")
        check_choice(f"The kind of attribute {name.strip()!r}", kind.strip(), (*KINDS, IGNORE))
        kinds[name.strip()] = kind.strip()
    return kinds


def read_attributes(
    path: Path,
    kinds: Mapping[str, str] | None = None,
    id_column: str | None = None,
    only: bool = False,
) -> AttributeTable:
    """Read a file of attributes, one row an item.

    Parameters
    ----------
    path
        CSV, TSV or Parquet, by content; or ``.npz`` with ``track_ids``, ``ids`` or, where items are artists,
        ``artists``, shape (n,), and either ``features``, shape (n, d), numbers, or ``frames``, shape (n_frames, d),
        and ``offsets``, shape (n + 1,), see `cs_keras.data.attributes.columns.SequenceColumn`: one attribute of
        that name. With ``encoder``, a text, or metadata of Parquet, where `cs-keras embed` made it.
    kinds
        Of columns for which the rule of `cs_keras.data.attributes.columns` is not right, or ``ignore``. Columns
        that describe a track (`cs_keras.data.attributes.table.DESCRIPTIONS`) are left out unless named here.
    id_column
        Of ids. Default: ``track_id`` in any case, else the first column. Items are artists if it is ``artist``.
    only
        Read the columns of `kinds` and no others.

    Raises
    ------
    StorageError
        When the file cannot be read.
    DataError
        When it does not hold what it must; the message names the row.
    ConfigError
        When a column that is named is not there.
    """
    kinds = dict(kinds or {})
    if _is_npz(path):
        if id_column is not None:
            raise ConfigError(f"--id-column is for tables; {path} holds its ids as {' or '.join(ID_ARRAYS)}.")
        return _read_npz(path, kinds, only)
    file = open_table(path)
    names = [name.strip() for name in file.column_names]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f"{path}: the header names column {doubled[0]!r} more than once.")
    own = _id_column(names, id_column, path)
    wanted = [name for name in names if name != own and _is_wanted(name, kinds, only)]
    _check_named(kinds, [name for name in names if name != own], path, only)
    in_file = dict(zip(names, file.column_names, strict=True))
    data = file.read([in_file[name] for name in (own, *wanted)]).rename_columns([own, *wanted])
    is_text = isinstance(file, TextTable)
    columns = {name: read_column(name, data[name], kinds.get(name), is_text, str(path)) for name in wanted}
    encoder = None
    if isinstance(file, ParquetTable) and list(columns) == [FEATURES]:
        encoder = parse_encoder(file.metadata.get(ENCODER, ""))
    of_artists = own.casefold() == ARTIST_COLUMN
    return make_table(_ids(data[own], own, path), columns, str(path), encoder, of_artists)


def _is_npz(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


def _is_wanted(name: str, kinds: Mapping[str, str], only: bool) -> bool:
    if name in kinds:
        return kinds[name] != IGNORE
    return bool(name) and not only and name.casefold() not in DESCRIPTIONS


def _check_named(kinds: Mapping[str, str], names: list[str], path: Path, only: bool) -> None:
    missing = [name for name in kinds if name not in names]
    if missing:
        error = DataError if only else ConfigError
        raise error(
            f"{path} has no attribute {missing[0]!r}{' that the model was trained on' * only}. Received: "
            f"{', '.join(names) or 'none'}."
        )


def _id_column(names: list[str], given: str | None, path: Path) -> str:
    if given is not None and given not in names:
        raise ConfigError(f"{path} has no column {given!r} of ids. Received: {', '.join(names)}.")
    usual = next((name for name in names if name.casefold() == ID_COLUMN), names[0])
    return usual if given is None else given


def _ids(data: pa.ChunkedArray, name: str, path: Path) -> list[str]:
    if pa.types.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    kind = data.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise DataError(f"{path}: {name!r} must hold ids, as text or integers. Received: {kind}.")
    ids: list[str] = pc.utf8_trim_whitespace(pc.fill_null(data.cast(pa.large_string()), "")).to_pylist()
    return ids


def _read_npz(path: Path, kinds: Mapping[str, str], only: bool) -> AttributeTable:
    arrays = read_arrays(path)
    own = next((name for name in ID_ARRAYS if name in arrays), None)
    ids = None if own is None else arrays[own]
    name = FRAMES if FRAMES in arrays else FEATURES
    values = arrays.get(name)
    if ids is None or values is None or (name == FRAMES and OFFSETS not in arrays):
        raise DataError(
            f"{path}: expected arrays {' or '.join(ID_ARRAYS)} and {FEATURES}, or {FRAMES} and {OFFSETS}. "
            f"Received: {', '.join(arrays) or 'none'}."
        )
    ends = arrays[OFFSETS] if name == FRAMES else np.arange(len(np.atleast_1d(ids)) + 1)
    if values.ndim != 2 or values.dtype.kind not in "fiub" or not _are_offsets(ends, ids, len(values)):
        rows = f"({len(np.atleast_1d(ids))}, d)" if name == FEATURES else "(n_frames, d)"
        raise DataError(
            f"{path}: expected {name} of shape {rows}, numbers, rows for each id. Received: {values.dtype} "
            f"of shape {values.shape}."
        )
    if ids.dtype.kind not in "Uiu":
        raise DataError(f"{path}: ids must be text or integers. Received: {ids.dtype}.")
    _check_named(kinds, [name], path, only)
    column: Column
    if name == FRAMES:
        column = SequenceColumn(
            check_finite(values.astype(np.float32), name, str(path)), ends.astype(np.int64)
        )
    else:
        numbers = values.astype(np.float32 if values.dtype == np.float32 else np.float64)
        column = NumericColumn(check_finite(numbers, name, str(path)))
    columns = {name: column} if values.shape[1] else {}
    encoder = parse_encoder(str(arrays[ENCODER])) if ENCODER in arrays else None
    names = [str(item_id).strip() for item_id in ids.tolist()]
    return make_table(names, columns, str(path), encoder, own == ARTIST_ARRAY)


def _are_offsets(ends: npt.NDArray[Any], ids: npt.NDArray[Any], n: int) -> bool:
    """Return whether `ends` divide n rows among `ids`."""
    if ids.ndim != 1 or ends.shape != (len(ids) + 1,) or ends.dtype.kind not in "iu":
        return False
    return bool(ends[0] == 0 and ends[-1] == n and (np.diff(ends.astype(np.int64)) >= 0).all())
