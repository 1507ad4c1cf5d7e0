"""Labelled tracks with features: a table, or the genres or artists of a dataset, and a file of features."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.data.schema import read_tracks
from cs_keras.errors import DataError
from cs_keras.evaluation.labels.classification import LabelledTracks
from cs_keras.factors.arrays import check_ids, read_arrays, require_arrays
from cs_keras.factors.tables import open_table
from cs_keras.run_files.names import MODEL_FILE, PREDICTIONS_FILE
from cs_keras.run_files.settings import require_finished
from cs_keras.storage.location import Location, is_folder

ID, LABEL, FOLD, ARTIST, ALBUM = "track_id", "label", "fold", "artist", "album"
ID_ARRAYS = ("track_ids", "ids")
ABOUT = ("layer", "run_digest", "encoder")


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Labels by track id, and what holds several tracks out together.

    Attributes
    ----------
    source
        Table or dataset.
    labels
        By track id.
    groups
        Artist or album of each track, see `grouped_by`, empty where unknown; None where there are none.
    grouped_by
        ``artist`` or ``album``.
    folds
        Fold that holds each track out; None to make folds.
    is_catalogue
        Whether these are all tracks of a dataset, of which some may have no features.
    """

    source: Location
    labels: dict[str, str]
    groups: dict[str, str] | None = None
    grouped_by: str = ARTIST
    folds: dict[str, str] | None = None
    is_catalogue: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Labelled tracks that have features, and the model layer and run, or the encoder, that made these.

    `is_predicted` is whether the features are factors that a run predicted.
    """

    ids: list[str]
    examples: LabelledTracks
    about: dict[str, str]
    is_predicted: bool


def read_labels(path: Path) -> Labelled:
    """Read a table with columns ``track_id`` and ``label``, and optionally ``fold``, ``artist`` and ``album``.

    Groups are artists, or albums where there is no column ``artist``.

    Raises
    ------
    StorageError
        When it cannot be read.
    DataError
        When a column is missing, an id occurs twice, or a track has no label or no fold.
    """
    by_id = _read(path, LABEL, optional=(FOLD, ARTIST, ALBUM))
    grouped_by = ALBUM if ALBUM in by_id and ARTIST not in by_id else ARTIST
    return Labelled(path, by_id[LABEL], by_id.get(grouped_by), grouped_by, by_id.get(FOLD))


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


def artists_of(dataset: Location) -> Labelled:
    """Return the artist, as its label, and the album of each track of a dataset whose artist is known.

    Errors are those of `genres_of`.
    """
    tracks = read_tracks(dataset)
    ids, artists, albums = tracks.ids.tolist(), tracks.strings("artist"), tracks.strings("album")
    labels = {track_id: artist for track_id, artist in zip(ids, artists, strict=True) if artist}
    known = dict(zip(ids, albums, strict=True)) if any(albums) else None
    return Labelled(dataset, labels, known, ALBUM, is_catalogue=True)


def match_features(features: Location, labelled: Labelled) -> LabelledFeatures:
    """Return the labelled tracks that have features.

    Parameters
    ----------
    features
        File of `cs-keras features` or `cs-keras embed`, with all tracks of a table of labels; or a run, for the
        factors that it predicted. Tracks of a dataset without features are left out.
    labelled
        Labels.

    Raises
    ------
    StorageError
        When the features cannot be read.
    DataError
        When they are not a row of finite numbers for each id, labelled tracks have none, or there are fewer than
        two labels.
    """
    is_predicted = is_folder(features)
    if is_predicted:
        require_finished(features, skip=[MODEL_FILE])
    path = features / PREDICTIONS_FILE if is_predicted else features
    all_ids, matrix, about = _read_features(path, "factors" if is_predicted else "features")
    row_of = {track_id: row for row, track_id in enumerate(all_ids)}
    ids = [track_id for track_id in labelled.labels if track_id in row_of]
    n_missing = len(labelled.labels) - len(ids)
    if n_missing and not labelled.is_catalogue:
        first = next(track_id for track_id in labelled.labels if track_id not in row_of)
        raise DataError(
            f"{labelled.source}: {n_missing} of {len(labelled.labels)} tracks, the first of them {first!r}, have "
            f"no features in {features}."
        )
    if not ids:
        raise DataError(f"None of the tracks of {features} has a label in {labelled.source}.")
    examples = LabelledTracks(
        matrix[[row_of[track_id] for track_id in ids]],
        np.array([labelled.labels[track_id] for track_id in ids], np.str_),
        _number_groups(ids, [labelled.labels[one] for one in ids], labelled),
    )
    return LabelledFeatures(ids, examples, about, is_predicted)


def _read_features(path: Location, key: str) -> tuple[list[str], npt.NDArray[np.float64], dict[str, str]]:
    """Return track ids, features of shape (n, n_features), and what they were made with."""
    arrays = read_arrays(path)
    name = next((name for name in ID_ARRAYS if name in arrays), ID_ARRAYS[0])
    require_arrays(arrays, (name, key), path)
    ids, matrix = arrays[name], arrays[key]
    check_ids(ids, name, path)
    if matrix.ndim != 2 or len(matrix) != len(ids) or matrix.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: expected {key} of shape ({len(ids)}, n_features), numbers. Received: {matrix.dtype} "
            f"{matrix.shape}."
        )
    if not np.isfinite(matrix).all():
        raise DataError(
            f"{path}: track {str(ids[~np.isfinite(matrix).all(axis=1)][0])!r} has {key} that are not finite."
        )
    about = {key: str(arrays[key]) for key in ABOUT if key in arrays}
    return ids.tolist(), matrix.astype(np.float64), about


def _number_groups(ids: Sequence[str], labels: Sequence[str], labelled: Labelled) -> npt.NDArray[np.int64]:
    """Return the number of the group of each track; an unknown one counts as one with a single track.

    Albums of the same title by different labels, such as artists, are different ones.
    """
    known, number_of = labelled.groups or {}, dict[tuple[str, str], int]()
    numbers = []
    for track_id, label in zip(ids, labels, strict=True):
        group = known.get(track_id, "")
        owner = label if group and labelled.grouped_by == ALBUM else ""
        key = (group, owner) if group else ("", track_id)
        numbers.append(number_of.setdefault(key, len(number_of)))
    return np.array(numbers, np.int64)


def _read(path: Path, needed: str, optional: Sequence[str] = ()) -> dict[str, dict[str, str]]:
    """Return columns by name, each as stripped text by track id; only artists and albums may be empty."""
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
