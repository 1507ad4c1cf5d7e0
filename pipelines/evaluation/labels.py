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
from cs_keras.evaluation.labels.one_vs_rest import TaggedTracks
from cs_keras.factors.arrays import check_ids, read_arrays, require_arrays
from cs_keras.factors.tables import open_table
from cs_keras.run_files.names import MODEL_FILE, PREDICTIONS_FILE
from cs_keras.run_files.settings import require_finished
from cs_keras.storage.location import Location, is_folder

ID, LABELS, FOLD, ARTIST, ALBUM = "track_id", ("label", "tag"), "fold", "artist", "album"
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
        By track id, one at least.
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
    labels: dict[str, tuple[str, ...]]
    groups: dict[str, str] | None = None
    grouped_by: str = ARTIST
    folds: dict[str, str] | None = None
    is_catalogue: bool = False

    @property
    def is_multi_label(self) -> bool:
        """Whether some track has several labels."""
        return any(len(own) > 1 for own in self.labels.values())

    def first_only(self) -> "Labelled":
        """Return the same with the first label of each track."""
        return dataclasses.replace(self, labels={track_id: own[:1] for track_id, own in self.labels.items()})


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Labelled tracks that have features.

    Attributes
    ----------
    ids
        Of n tracks.
    features : ndarray of float64, shape (n, n_features)
    labels
        Of each track.
    groups : ndarray of int64, shape (n,)
        A distinct number for each unknown one.
    about
        Model layer and run, or the encoder, that made the features.
    is_predicted
        Whether the features are factors that a run predicted.
    """

    ids: list[str]
    features: npt.NDArray[np.float64]
    labels: list[tuple[str, ...]]
    groups: npt.NDArray[np.int64]
    about: dict[str, str]
    is_predicted: bool

    @property
    def examples(self) -> LabelledTracks:
        """Tracks with the label of each; DataError where one has several, or there are fewer than two labels."""
        for track_id, own in zip(self.ids, self.labels, strict=True):
            if len(own) > 1:
                raise DataError(
                    f"expected one label of each track. Received for {track_id!r}: {', '.join(own)}."
                )
        labels = np.array([own[0] for own in self.labels], np.str_)
        return LabelledTracks(self.features, labels, self.groups)

    def tagged(self, n_labels: int) -> TaggedTracks:
        """Return the tracks with the `n_labels` labels of the most of them, the most frequent first."""
        counts = collections.Counter(label for own in self.labels for label in own)
        names = sorted(counts, key=lambda name: (-counts[name], name))[:n_labels]
        has = np.array([[name in own for name in names] for own in self.labels])
        return TaggedTracks(self.features, np.array(names, np.str_), has, self.groups)


def read_labels(path: Path) -> Labelled:
    """Read a table with columns ``track_id`` and ``label`` or ``tag``, and optionally fold, artist and album.

    A row for each label of a track. Groups are artists, or albums where there is no column ``artist``.

    Raises
    ------
    StorageError
        When it cannot be read.
    DataError
        When a column is missing, a track has no label or no fold, or rows of a track differ in anything else.
    """
    ids, columns = _read(path, LABELS, optional=(FOLD, ARTIST, ALBUM))
    (labels,) = (columns.pop(name) for name in LABELS if name in columns)
    own: dict[str, dict[str, None]] = {}
    for track_id, label in zip(ids, labels, strict=True):
        own.setdefault(track_id, {})[label] = None
    by_id = {name: _by_id(path, ids, name, values) for name, values in columns.items()}
    grouped_by = ALBUM if ALBUM in by_id and ARTIST not in by_id else ARTIST
    tracks = {track_id: tuple(labels) for track_id, labels in own.items()}
    return Labelled(path, tracks, by_id.get(grouped_by), grouped_by, by_id.get(FOLD))


def read_folds(path: Path) -> dict[str, str]:
    """Read a table with columns ``track_id`` and ``fold``; see `read_labels`."""
    ids, columns = _read(path, (FOLD,))
    return _by_id(path, ids, FOLD, columns[FOLD])


def genres_of(dataset: Location) -> Labelled:
    """Return the genres and the artist of each track of a dataset that has a genre.

    Raises
    ------
    StorageError, DataError
        When the dataset's track table cannot be read or is not valid.
    """
    tracks = read_tracks(dataset)
    ids, artists = tracks.ids.tolist(), tracks.strings("artist")
    genres = [tuple(dict.fromkeys(filter(None, own or ()))) for own in tracks.table["genres"].to_pylist()]
    labels = {track_id: own for track_id, own in zip(ids, genres, strict=True) if own}
    known = dict(zip(ids, artists, strict=True))
    return Labelled(dataset, labels, known if any(artists) else None, is_catalogue=True)


def add_artists(labelled: Labelled, dataset: Location) -> Labelled:
    """Return labels of a dataset's tracks, with its artists as groups.

    Errors are those of `genres_of`.
    """
    tracks = read_tracks(dataset)
    artists = dict(zip(tracks.ids.tolist(), tracks.strings("artist"), strict=True))
    return dataclasses.replace(labelled, groups=artists, grouped_by=ARTIST)


def artists_of(dataset: Location) -> Labelled:
    """Return the artist, as its label, and the album of each track of a dataset whose artist is known.

    Errors are those of `genres_of`.
    """
    tracks = read_tracks(dataset)
    ids, artists, albums = tracks.ids.tolist(), tracks.strings("artist"), tracks.strings("album")
    labels: dict[str, tuple[str, ...]] = {
        track_id: (artist,) for track_id, artist in zip(ids, artists, strict=True) if artist
    }
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
        When they are not a row of finite numbers for each id, or labelled tracks have none.
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
    labels = [labelled.labels[track_id] for track_id in ids]
    groups = _number_groups(ids, labels, labelled)
    return LabelledFeatures(
        ids, matrix[[row_of[track_id] for track_id in ids]], labels, groups, about, is_predicted
    )


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


def _number_groups(
    ids: Sequence[str], labels: Sequence[tuple[str, ...]], labelled: Labelled
) -> npt.NDArray[np.int64]:
    """Return the number of the group of each track; an unknown one counts as one with a single track.

    Albums of the same title by different labels, such as artists, are different ones, where tracks have one label.
    """
    known, number_of = labelled.groups or {}, dict[tuple[str, str], int]()
    numbers = []
    by_owner = labelled.grouped_by == ALBUM and not labelled.is_multi_label
    for track_id, own in zip(ids, labels, strict=True):
        group = known.get(track_id, "")
        owner = own[0] if group and by_owner else ""
        key = (group, owner) if group else ("", track_id)
        numbers.append(number_of.setdefault(key, len(number_of)))
    return np.array(numbers, np.int64)


def _read(
    path: Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> tuple[list[str], dict[str, list[str]]]:
    """Return track ids and the first column of `needed` and others by name, as stripped text of each row.

    Only artists and albums may be empty.
    """
    file = open_table(path)
    found = [name for name in needed if name in file.column_names][:1]
    if ID not in file.column_names or not found:
        raise DataError(
            f"{path}: expected the columns {ID} and {' or '.join(needed)}. Received: "
            f"{', '.join(file.column_names)}."
        )
    names = [ID, *found, *(name for name in optional if name in file.column_names)]
    table = file.read(names)
    columns = {
        name: ["" if value is None else str(value).strip() for value in table[name].to_pylist()]
        for name in names
    }
    ids = columns.pop(ID)
    for name, values in ((ID, ids), *columns.items()):
        if name not in (ARTIST, ALBUM) and "" in values:
            raise DataError(f"{path}: track {ids[values.index('')]!r} has no {name}.")
    return ids, columns


def _by_id(path: Path, ids: list[str], name: str, values: list[str]) -> dict[str, str]:
    """Return the value of each track; DataError where rows of a track differ."""
    by_id: dict[str, str] = {}
    for track_id, value in zip(ids, values, strict=True):
        if by_id.setdefault(track_id, value) != value:
            raise DataError(
                f"{path}: rows of track {track_id!r} differ in {name}: {by_id[track_id]!r} and {value!r}."
            )
    return by_id
