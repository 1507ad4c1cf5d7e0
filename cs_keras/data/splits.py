"""Named splits into train, validation and test tracks, in ``splits/NAME.parquet`` of a dataset.

Folds are stored with the tracks and never change. A named split assigns the same tracks differently: by other
folds, by time, or by a table. A track may be in none of the three parts.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cs_keras.config import check_choice, check_name
from cs_keras.data.folds import N_FOLDS, SPLITS
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.parsing import parse_parquet
from cs_keras.runs import atomic_write
from cs_keras.storage.location import Location, is_file, list_files, read_bytes
from cs_keras.storage.open_files import refuse_links

SPLITS_FOLDER = "splits"
ID, PART = "track_id", "split"  # columns

Parts = npt.NDArray[np.str_]


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """A named split of a dataset's tracks.

    `parts` has ``train``, ``validation`` or ``test`` for each track, or empty text where the split does not name
    it; shape (n_tracks,).
    """

    name: str
    parts: Parts


def split_path(dataset: Location, name: str) -> Location:
    """Return the path of a named split; ConfigError when the name has characters that a file should not have."""
    check_name("A split's name", name)
    return dataset / SPLITS_FOLDER / f"{name}.parquet"


def split_names(dataset: Location) -> list[str]:
    """Return the sorted names of a dataset's named splits."""
    names = list_files(dataset / SPLITS_FOLDER)
    return sorted(name.removesuffix(".parquet") for name in names if name.endswith(".parquet"))


def write_split(dataset: Location, split: Split, track_ids: Sequence[str]) -> None:
    """Write a split atomically, unless it exists; an existing one gains tracks that were appended to the dataset.

    Raises
    ------
    ConfigError
        When a split of that name assigns a track differently: factors and runs refer to splits by name.
    DataError
        When a part is empty.
    StorageError
        When the split cannot be written, or the folder of splits is a link.
    """
    path = split_path(dataset, split.name)
    refuse_links(path.parent)
    for part in SPLITS:
        if part not in split.parts:
            raise DataError(
                f"Split {split.name!r} has no {part} tracks; each of its three parts needs at least one."
            )
    if is_file(path):
        existing = read_split(dataset, split.name, track_ids).parts
        if np.any((existing != split.parts) & (existing != "")):
            raise ConfigError(
                f"{path} exists and assigns tracks differently, and runs refer to it; choose another name."
            )
        if np.array_equal(existing, split.parts):
            return
    named = np.flatnonzero(split.parts != "")
    columns = {ID: [track_ids[row] for row in named.tolist()], PART: split.parts[named].tolist()}
    with atomic_write(path) as file:
        pq.write_table(pa.table(columns), file)


def read_split(dataset: Location, name: str, track_ids: Sequence[str]) -> Split:
    """Read a named split of a dataset with these tracks.

    Raises
    ------
    DataError
        When there is no split of that name, or its table is not one of `write_split`.
    """
    path = split_path(dataset, name)
    try:
        table = parse_parquet(read_bytes(path))
    except FileNotFoundError as error:
        known = ", ".join(split_names(dataset)) or "none"
        raise DataError(
            f"{dataset} has no split {name!r}; `cs-keras split` makes it. Splits: {known}."
        ) from error
    except StorageError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{path} is damaged or not a Parquet file.") from error
    missing = {ID, PART} - set(table.column_names)
    if missing:
        raise DataError(
            f"{path} lacks columns: expected {ID} and {PART}; it has {', '.join(table.column_names)}."
        )
    ids, values = (table[column].cast(pa.string()).to_pylist() for column in (ID, PART))
    for value in values:
        check_choice(f"{path}: split", value, SPLITS)
    return Split(name, align_parts(dict(zip(ids, values, strict=True)), track_ids))


def align_parts(part_of: Mapping[str, str], track_ids: Sequence[str]) -> Parts:
    """Return the part of each track, shape (n_tracks,); empty text for those without."""
    return np.array([part_of.get(track_id, "") for track_id in track_ids], dtype="<U10")


def split_by_folds(
    folds: npt.NDArray[np.int32],
    validation: Sequence[int] = SPLITS["validation"],
    test: Sequence[int] = SPLITS["test"],
) -> Parts:
    """Return the part of each track by its fold: those of `validation` and `test`, and all others to train on.

    Raises ConfigError when a fold is not 0 to 9, or in both parts.
    """
    for name, members in (("validation folds", validation), ("test folds", test)):
        for fold in members:
            check_choice(name, fold, range(N_FOLDS))
    both = set(validation) & set(test)
    if both:
        raise ConfigError(
            f"A fold cannot be in both the validation and the test split. Received: fold {min(both)} in both."
        )
    return np.select(
        [np.isin(folds, list(test)), np.isin(folds, list(validation))], ["test", "validation"], "train"
    )


def rotate_folds(rotation: int, n_rotations: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the validation folds and the test folds of one rotation of a cross-validation.

    Over the rotations 0 to `n_rotations` - 1 each fold tests once. The last one tests on the last folds; with five
    rotations it is the split that folds have without a name.
    """
    n_test = N_FOLDS // n_rotations
    first = rotation * n_test
    return ((first - 1) % N_FOLDS,), tuple(range(first, first + n_test))


def split_by_time(
    times: npt.NDArray[np.float64], validation_share: float = 0.1, test_share: float = 0.2
) -> Parts:
    """Return the part of each track by its time: the newest test, those before them validate, the oldest train.

    Parameters
    ----------
    times
        Shape (n_tracks,), in any unit; NaN for tracks of unknown time, which are in no part.
    validation_share, test_share
        Shares of the tracks of known time. Tracks of the same time are in the same part, so shares are approximate.

    Raises
    ------
    ConfigError
        When a share is not above 0, or their sum is not below 1.
    DataError
        When there are fewer than three different times.
    """
    if not (validation_share > 0 and test_share > 0 and validation_share + test_share < 1):
        raise ConfigError(
            "The shares of validation and test tracks must be above 0 and their sum below 1. Received: "
            f"{validation_share} and {test_share}."
        )
    distinct, counts = np.unique(times[np.isfinite(times)], return_counts=True)
    if len(distinct) < len(SPLITS):
        raise DataError(
            f"A split by time needs at least {len(SPLITS)} different times. Received: {len(distinct)}, of "
            f"{np.count_nonzero(np.isfinite(times))} of {len(times)} tracks."
        )
    n_older = np.concatenate([[0], np.cumsum(counts)])[:-1]  # tracks before each time
    n_known = int(counts.sum())
    test = 2 + np.argmin(np.abs(n_older[2:] - (1 - test_share) * n_known))
    validation = 1 + np.argmin(np.abs(n_older[1:test] - (1 - test_share - validation_share) * n_known))
    parts = np.select(
        [np.isnan(times), times >= distinct[test], times >= distinct[validation]],
        ["", "test", "validation"],
        "train",
    )
    return np.asarray(parts)
