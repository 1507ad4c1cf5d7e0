"""Titles, artists, genres and true factors of the tracks of a dataset."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.data.schema import Tracks
from cs_keras.errors import DataError
from cs_keras.factors.store import Factors
from reports.formats.text import shorten

NAMELESS = "unknown"
MAX_NAME = 60  # characters of a name where several share a cell


@dataclass(frozen=True, eq=False)
class Space:
    """A dataset's track table and the factors of the same tracks, row by row."""

    tracks: Tracks
    factors: Factors

    def rows(self, track_ids: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
        """Return the row of each track; DataError for one that is not there."""
        row_of = {track_id: row for row, track_id in enumerate(self.tracks.ids.tolist())}
        try:
            return np.array([row_of[track_id] for track_id in track_ids.tolist()], dtype=np.int64)
        except KeyError as error:
            raise DataError(
                f"The predictions contain a track that is not in the dataset: {error.args[0]!r}."
            ) from error


Spaces = Mapping[str, Space]  # by the digest of the data that runs name


def text_column(space: Space, rows: npt.NDArray[np.int64], column: str) -> list[str]:
    """Return a shortened text column of the track table; for `genres` the first genre of each track."""
    if column == "genres":
        values = [(one or [""])[0] or "" for one in space.tracks.table[column].to_pylist()]
    else:
        values = space.tracks.strings(column)
    return [shorten(values[row]) or NAMELESS for row in rows.tolist()]


def describe_tracks(space: Space, rows: npt.NDArray[np.int64]) -> list[str]:
    """Return title, artist and genre of each track, short enough for several to share a cell."""
    columns = (map(brief, text_column(space, rows, name)) for name in ("title", "artist", "genres"))
    return [f"{title} – {artist} ({genre})" for title, artist, genre in zip(*columns, strict=True)]


def brief(name: str) -> str:
    """Return a name short enough for several to share a cell."""
    return shorten(name, MAX_NAME)


def fold_column(space: Space, rows: npt.NDArray[np.int64]) -> list[str]:
    """Return the fold of each track and its split, such as ``fold 9 (test)``."""
    folds = zip(space.tracks.numbers("fold")[rows].tolist(), space.tracks.parts[rows].tolist(), strict=True)
    return [f"fold {fold} ({part or 'not split'})" for fold, part in folds]
