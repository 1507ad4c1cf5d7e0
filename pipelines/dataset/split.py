"""Make named splits of a dataset's tracks: by folds, by time, or by a table."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_choice
from cs_keras.data.folds import SPLITS
from cs_keras.data.integrity.checks import Leakage, measure_leakage
from cs_keras.data.schema import Tracks, read_info, read_tracks
from cs_keras.data.splits import (
    ID,
    PART,
    Parts,
    Split,
    align_parts,
    split_by_folds,
    split_by_time,
    split_path,
    write_split,
)
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.interaction_files import read_first_times
from cs_keras.factors.tables import open_table
from cs_keras.storage.location import Location

BY_FOLDS, BY_TIME = "folds", "time"
Times = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class SplitConfig:
    """Settings of a split.

    Attributes
    ----------
    by
        ``folds``, ``time``, or a CSV, TSV or Parquet table with columns ``track_id`` and ``split``.
    validation_folds, test_folds
        Of ``folds``.
    validation_share, test_share
        Of ``time``: shares of the tracks of known time.
    interactions
        Of ``time``: a file of interactions with a column of times, of which each track's first one counts; None for
        the release dates of the track table.
    time_column
        Name of that column; None to find it by its name.
    """

    by: str | Path
    validation_folds: tuple[int, ...] = SPLITS["validation"]
    test_folds: tuple[int, ...] = SPLITS["test"]
    validation_share: float = 0.1
    test_share: float = 0.2
    interactions: Path | None = None
    time_column: str | None = None


@dataclasses.dataclass(frozen=True)
class SplitResult:
    """A named split, the number of tracks in each part (empty text: in none), and what pairs of parts share."""

    split: Split
    n_tracks: dict[str, int]
    leakage: list[Leakage]


def make_split(dataset: Location, name: str, config: SplitConfig) -> SplitResult:
    """Write ``splits/NAME.parquet`` of a dataset.

    Raises
    ------
    ConfigError
        When settings are out of range, or a split of that name assigns tracks differently.
    DataError
        When a part would be empty, times are unknown, or a table is not as `SplitConfig` says.
    StorageError
        When files cannot be read or written.
    """
    split_path(dataset, name)
    read_info(dataset)
    tracks = read_tracks(dataset)
    if config.by == BY_FOLDS:
        parts = split_by_folds(tracks.numbers("fold"), config.validation_folds, config.test_folds)
    elif config.by == BY_TIME:
        parts = split_by_time(_times(tracks, config), config.validation_share, config.test_share)
    else:
        parts = _read_parts(Path(config.by), tracks)
    split = Split(name, parts)
    write_split(dataset, split, tracks.ids.tolist())
    return SplitResult(
        split, dict(Counter(parts.tolist())), measure_leakage(Tracks(tracks.table, split), None)
    )


def _times(tracks: Tracks, config: SplitConfig) -> Times:
    """Return the time of each track in seconds, NaN where unknown, shape (n_tracks,)."""
    if config.interactions is not None:
        first = read_first_times(config.interactions, time_column=config.time_column)
        return np.array([first.get(track_id, np.nan) for track_id in tracks.ids.tolist()])
    dates = tracks.strings("release_date")
    if not any(dates):
        raise DataError(
            "The track table has no release dates (column release_date of the tracks.csv that was ingested); split "
            "by the times of interactions with --interactions FILE, or by a table."
        )
    return np.array(
        [_parse_date(date, track_id) for date, track_id in zip(dates, tracks.ids.tolist(), strict=True)]
    )


def _parse_date(date: str, track_id: str) -> float:
    if not date:
        return float("nan")
    try:
        return float(np.datetime64(date, "s").astype(np.int64))
    except ValueError as error:
        raise DataError(
            f"The release date of track {track_id!r} must be like 1994, 1994-08 or 1994-08-29. Received: {date!r}."
        ) from error


def _read_parts(path: Path, tracks: Tracks) -> Parts:
    """Return the part of each track by a table; tracks that it does not name, or with an empty cell, have none."""
    table = open_table(path)
    names = {name.strip().casefold(): name for name in table.column_names}
    if not {ID, PART} <= names.keys():
        raise DataError(
            f"{path}: expected the columns {ID} and {PART}. Received: {', '.join(table.column_names)}."
        )
    rows = table.read([names[ID], names[PART]])
    ids, values = (
        ["" if value is None else str(value).strip() for value in column.to_pylist()]
        for column in rows.columns
    )
    twice = [track_id for track_id, n in Counter(ids).items() if n > 1]
    if twice:
        raise DataError(f"{path}: track_id {twice[0]!r} occurs twice; ids must be unique.")
    part_of = {track_id: value.casefold() for track_id, value in zip(ids, values, strict=True) if value}
    for value in part_of.values():
        check_choice(f"{path}: split", value, SPLITS)
    parts = align_parts(part_of, tracks.ids.tolist())
    if not (parts != "").any():
        raise ConfigError(
            f"{path} names no track of the dataset, which contains {', '.join(tracks.ids[:3].tolist())} and others."
        )
    return parts
