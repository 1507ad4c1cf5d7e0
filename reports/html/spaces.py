"""What a dataset knows of the tracks that runs predicted: names, and where they truly lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.data.folds import SPLITS
from cs_keras.data.schema import Tracks
from cs_keras.errors import DataError
from cs_keras.factors.store import Factors
from reports.formats.html_markup import shorten

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
            raise DataError(f"Predictions hold a track that the dataset lacks: {error.args[0]!r}.") from error


Spaces = Mapping[str, Space]  # by the digest of the data that runs name


def text_column(space: Space, rows: npt.NDArray[np.int64], column: str) -> list[str]:
    """Return a column of the track table, each value short enough to show; `genres` gives the first one."""
    if column == "genres":
        genres = space.tracks.table[column].to_pylist()
        values = [(one or [""])[0] or "" for one in genres]
    else:
        values = space.tracks.strings(column)
    return [shorten(values[row]) or NAMELESS for row in rows.tolist()]


def describe_tracks(space: Space, rows: npt.NDArray[np.int64]) -> list[str]:
    """Return what to call each track where several share a cell: title, artist and genre."""
    columns = (text_column(space, rows, column) for column in ("title", "artist", "genres"))
    return [
        f"{brief(title)} – {brief(artist)} ({brief(genre)})"
        for title, artist, genre in zip(*columns, strict=True)
    ]


def brief(name: str) -> str:
    """Return a name of no more characters than there is room for where several share a cell."""
    shown = shorten(name)
    return shown if len(shown) <= MAX_NAME else f"{shown[: MAX_NAME - 1]}…"


def fold_column(space: Space, rows: npt.NDArray[np.int64]) -> list[str]:
    """Return the fold of each track and the split it belongs to, such as ``fold 9 (test)``."""
    split_of = {fold: split for split, folds in SPLITS.items() for fold in folds}
    folds: Sequence[int] = space.tracks.numbers("fold")[rows].tolist()
    return [f"fold {fold} ({split_of[fold]})" for fold in folds]
