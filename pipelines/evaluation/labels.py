"""Labels of tracks to classify: a table, or the genres of a dataset."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from cs_keras.data.schema import read_tracks
from cs_keras.errors import DataError
from cs_keras.factors.tables import open_table
from cs_keras.storage.location import Location

ID, LABEL, FOLD, ARTIST = "track_id", "label", "fold", "artist"


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Labels, artists (empty where unknown) and folds that hold a track out, by track id."""

    source: Location
    labels: dict[str, str]
    artists: dict[str, str] | None = None
    folds: dict[str, str] | None = None  # None to make folds
    is_catalogue: bool = False  # all tracks of a dataset, of which some may have no features


def read_labels(path: Path) -> Labelled:
    """Read a table with columns ``track_id`` and ``label``, and optionally ``fold`` and ``artist``.

    Raises
    ------
    StorageError
        When it cannot be read.
    DataError
        When a column is missing, an id occurs twice, or a track has no label or no fold.
    """
    by_id = _read(path, LABEL, optional=(FOLD, ARTIST))
    return Labelled(path, by_id[LABEL], by_id.get(ARTIST), by_id.get(FOLD))


def read_folds(path: Path) -> dict[str, str]:
    """Read a table with columns ``track_id`` and ``fold``; see `read_labels`."""
    return _read(path, FOLD)[FOLD]


def genres_of(dataset: Location) -> Labelled:
    """Return the first genre and the artist of each track of a dataset that has a genre.

    Raises
    ------
    StorageError, DataError
        When the dataset's track table cannot be read or is not valid.
    """
    tracks = read_tracks(dataset)
    ids, artists = tracks.ids.tolist(), tracks.strings("artist")
    firsts = [next(iter(genres or ()), "") for genres in tracks.table["genres"].to_pylist()]
    labels = {track_id: genre for track_id, genre in zip(ids, firsts, strict=True) if genre}
    known = dict(zip(ids, artists, strict=True))
    return Labelled(dataset, labels, known if any(artists) else None, is_catalogue=True)


def _read(path: Path, needed: str, optional: Sequence[str] = ()) -> dict[str, dict[str, str]]:
    """Return columns by name, each as stripped text by track id; only artists may be empty."""
    file = open_table(path)
    if ID not in file.column_names or needed not in file.column_names:
        raise DataError(
            f"{path}: expected the columns {ID} and {needed}. Received: {', '.join(file.column_names)}."
        )
    names = [ID, needed, *(name for name in optional if name in file.column_names)]
    table = file.read(names)
    columns = {
        name: ["" if value is None else str(value).strip() for value in table[name].to_pylist()]
        for name in names
    }
    ids = columns[ID]
    twice, n = collections.Counter(ids).most_common(1)[0] if ids else ("", 0)
    if n > 1 and "" not in ids:
        raise DataError(f"{path}: track_id {twice!r} occurs twice; ids must be unique.")
    for name in (name for name in (ID, LABEL, FOLD) if name in columns):
        if "" in columns[name]:
            raise DataError(f"{path}: track {ids[columns[name].index('')]!r} has no {name}.")
    return {name: dict(zip(ids, values, strict=True)) for name, values in columns.items()}
