"""Attributes of items: the table of a file, and its rows in the order of a dataset."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.data.attributes.columns import Column, LabelColumn, NumericColumn
from cs_keras.data.schema import TRACK_SCHEMA, Tracks, check_ids
from cs_keras.errors import DataError

GENRES = "genres"
DESCRIPTIONS = {"path", *TRACK_SCHEMA.names} - {GENRES, "duration_s"}
"""Columns that identify a track or its file; attributes only if a user names them."""

Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Ids = npt.NDArray[np.str_]


@dataclasses.dataclass(frozen=True, eq=False)
class AttributeTable:
    """Attributes of items by column, in the order of the file `where`; ids are distinct, shape (n_items,).

    `encoder` describes the audio encoder that computed them, if one did: see `cs_keras.run_files.encoder`. If
    several tables were joined, `joined` are their names, with which, up to a dot, names of columns begin, and
    `encoder` describes each one's by its name. With `of_artists`, items are artists and ids their names.
    """

    ids: Ids
    columns: Mapping[str, Column]
    where: str
    encoder: Mapping[str, Any] | None = None
    joined: tuple[str, ...] = ()
    of_artists: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_empty(self) -> Flags:
        """Flags of items without a value in any column, shape (n_items,)."""
        flags = [column.is_missing for column in self.columns.values()]
        return np.logical_and.reduce(flags) if flags else np.ones(len(self), np.bool_)

    def take(self, rows: Integers) -> "AttributeTable":
        """Return the rows of some items; see `NumericColumn.take` for -1."""
        taken = {name: column.take(rows) for name, column in self.columns.items()}
        return dataclasses.replace(self, ids=self.ids[rows], columns=taken)

    def describe(self) -> str:
        """Return the names of the columns by kind, as text."""
        names: dict[str, list[str]] = {}
        for name, column in self.columns.items():
            n = column.values.shape[1] if isinstance(column, NumericColumn) else 1
            names.setdefault(column.kind, []).append(name if n == 1 else f"{name} ({n} numbers)")
        kinds = "; ".join(f"{kind}: {', '.join(own)}" for kind, own in names.items())
        return f"of artists: {kinds}" if self.of_artists else kinds


@dataclasses.dataclass(frozen=True, eq=False)
class Attributes:
    """Attributes in the order of a dataset's tracks.

    Row i of `table` is that of track i, with missing values for tracks that are not in the file; `has` flags
    tracks with at least one value, shape (n_tracks,). `n_unknown` items of the file are not in the dataset.
    """

    table: AttributeTable
    has: Flags
    n_unknown: int = 0

    def take(self, rows: Integers) -> "Attributes":
        """Return the attributes of some of the tracks, in the order of `rows`."""
        return dataclasses.replace(self, table=self.table.take(rows), has=self.has[rows])

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over the tracks' names, kinds and values of the columns, in their order."""
        state = hashlib.sha256(self.has.tobytes())
        for name, column in self.table.columns.items():
            content = column.content()
            state.update(repr((name, column.kind, len(content))).encode() + content)
        return state.hexdigest()


def make_table(
    ids: Sequence[str],
    columns: Mapping[str, Column],
    where: str,
    encoder: Mapping[str, Any] | None = None,
    of_artists: bool = False,
) -> AttributeTable:
    """Return a table of attributes.

    Raises DataError when an id occurs twice or is empty, or there are no items or columns.
    """
    if not columns:
        raise DataError(f"{where} holds no attributes: expected at least one column besides ids and names.")
    if not len(ids):
        raise DataError(f"{where} holds no items: it has columns but no rows.")
    check_ids(ids, where)
    return AttributeTable(np.array(ids, np.str_), columns, where, encoder, of_artists=of_artists)


def align(table: AttributeTable, track_ids: Ids, dataset: str, artists: Ids | None = None) -> Attributes:
    """Return `table` in the order of `track_ids`, shape (n_tracks,).

    Of a table of artists, a track has the row of its own: `artists` are those of the tracks, shape (n_tracks,), ""
    where unknown. Raises DataError when they have no id in common; `dataset` names the source of the tracks in the
    message.
    """
    wanted, kind, where = track_ids, "id", table.where
    if table.of_artists and artists is not None:
        wanted, kind, where = artists, "artist", f"{table.where} (of artists)"
    row_of = {item_id: row for row, item_id in enumerate(table.ids.tolist())}
    rows = np.array([row_of.get(item_id, -1) for item_id in wanted.tolist()], np.int64)
    n_known = len(np.unique(rows[rows >= 0]))
    if not n_known:
        example = next((item_id for item_id in wanted.tolist() if item_id), None)
        expected = f"expected ids such as {example!r}" if example else "its artists are unknown"
        raise DataError(
            f"None of the {len(table)} ids of {table.where} is the {kind} of a track of {dataset}: {expected}. "
            f"Received: such as {str(table.ids[0])!r}."
        )
    aligned = dataclasses.replace(table.take(rows), ids=track_ids, where=where, of_artists=False)
    return Attributes(aligned, ~aligned.is_empty, len(table) - n_known)


def join_tables(tables: Mapping[str, AttributeTable]) -> AttributeTable:
    """Return several tables side by side, by name, with all items of any; one alone is returned as it is.

    Raises DataError when items of some are artists and of others tracks, which have no ids in common.
    """
    first, *others = tables.values()
    if not others:
        return first
    for other in others:
        if other.of_artists != first.of_artists:
            raise DataError(
                f"Expected tables of tracks alone, or of artists alone. Received: {first.where} and {other.where}, "
                "one of each; a dataset says which artist a track is by."
            )
    ids = np.array(list(dict.fromkeys(item for table in tables.values() for item in table.ids.tolist())))
    columns: dict[str, Column] = {}
    for name, table in tables.items():
        row_of = {item: row for row, item in enumerate(table.ids.tolist())}
        own = table.take(np.array([row_of.get(item, -1) for item in ids.tolist()], np.int64))
        columns |= {f"{name}.{column}": values for column, values in own.columns.items()}
    encoders = {name: table.encoder for name, table in tables.items() if table.encoder is not None}
    encoder = encoders if len(encoders) == len(tables) else None
    where = " and ".join(table.where for table in tables.values())
    return AttributeTable(ids, columns, where, encoder, tuple(tables), first.of_artists)


def join_attributes(tables: Mapping[str, Attributes]) -> Attributes:
    """Return the attributes of several tables of one dataset side by side; see `join_tables`."""
    first, *others = tables.values()
    if not others:
        return first
    table = join_tables({name: one.table for name, one in tables.items()})
    return Attributes(table, ~table.is_empty, sum(one.n_unknown for one in tables.values()))


def align_tables(tables: Mapping[str, AttributeTable], tracks: Tracks, dataset: str) -> dict[str, Attributes]:
    """Return several tables by name in the order of `tracks`, each as `align` does."""
    ids, artists = tracks.ids, tracks.artist_names
    return {name: align(table, ids, dataset, artists) for name, table in tables.items()}


def genre_attributes(tracks: Tracks) -> Attributes:
    """Return the genres of a dataset's own track table as attributes."""
    labels = tuple(tuple(dict.fromkeys(genres or ())) for genres in tracks.table[GENRES].to_pylist())
    table = AttributeTable(tracks.ids, {GENRES: LabelColumn(labels)}, "the track table")
    return Attributes(table, ~table.is_empty)
