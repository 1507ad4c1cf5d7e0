"""Labels of tracks as targets: a table of tags is a table of playlists, one for each tag."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_range
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.schema import Tracks
from cs_keras.errors import DataError
from cs_keras.factors.interaction_files import read_interactions
from cs_keras.factors.interactions import align
from cs_keras.factors.scaling import Scaler
from cs_keras.factors.store import Factors
from cs_keras.factors.tables import open_table
from cs_keras.runs import digest
from cs_keras.storage.location import Location
from pipelines.factors.open import open_dataset

TARGET = "labels"  # name of the factors that labels are
COLUMNS = ("tag", "label")


@dataclasses.dataclass(frozen=True)
class LabelsConfig:
    """A table of labels, and how many of them to use.

    Attributes
    ----------
    path
        CSV, TSV or Parquet with the columns ``track_id`` and ``tag`` (or ``label``), a row for each label of a
        track.
    n_labels
        Number of labels, those of the most train tracks.
    """

    path: Path
    n_labels: int = 50

    def __post_init__(self) -> None:
        check_range("n_labels", self.n_labels, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class TrackLabels:
    """Labels of the tracks of a dataset.

    Attributes
    ----------
    names
        Shape (n_labels,), str; that of the most train tracks first.
    has
        Which track has which label, shape (n_tracks, n_labels), bool.
    is_labelled
        Tracks that the table names, shape (n_tracks,), bool; what others lack is unknown.
    """

    names: npt.NDArray[np.str_]
    has: npt.NDArray[np.bool_]
    is_labelled: npt.NDArray[np.bool_]

    @property
    def digest(self) -> str:
        """Digest of names and labels."""
        return digest([self.names.tolist(), np.argwhere(self.has).tolist(), self.is_labelled.tolist()])


def read_labels(settings: LabelsConfig, tracks: Tracks) -> TrackLabels:
    """Read the labels of tracks.

    Raises
    ------
    StorageError
        When the table cannot be read.
    DataError
        When it has no column of labels, or none of a train track.
    """
    path, columns = settings.path, open_table(settings.path).column_names
    column = next((name for name in COLUMNS if name in columns), None)
    if column is None:
        raise DataError(f"{path}: expected a column {' or '.join(COLUMNS)}. Received: {', '.join(columns)}.")
    table = align(read_interactions(path, playlist_column=column, track_column="track_id"), tracks.ids)
    has = table.user_items > 0  # sparse: there may be hundreds of thousands of labels
    n_train = has[:, tracks.in_split("train")].getnnz(axis=1)
    order = np.argsort(-n_train, kind="stable")[: settings.n_labels]
    chosen = order[n_train[order] > 0]
    if not len(chosen):
        raise DataError(f"{path} names no label of a train track.")
    return TrackLabels(table.playlist_ids[chosen], has[chosen].toarray().T, has.getnnz(axis=0) > 0)


def open_labelled(
    settings: LabelsConfig,
    folder: Location,
    factors_name: str | None = None,
    split_name: str | None = None,
    reading: ReadConfig | None = None,
) -> tuple[Dataset, Factors, TrackLabels]:
    """Open a dataset with its labels, and these as factors, or factors of that name; see `open_dataset`."""
    if factors_name is not None:
        dataset, factors = open_dataset(folder, factors_name, split_name, reading)
        return dataset, factors, read_labels(settings, dataset.tracks)
    dataset = Dataset(folder, reading)
    dataset.use_split(split_name)
    labels = read_labels(settings, dataset.tracks)
    return dataset, _as_factors(labels, dataset.tracks.ids, split_name), labels


def select_label_factors(labels: TrackLabels, factors: Factors) -> npt.NDArray[np.float32]:
    """Return the factors of labels, shape (n_labels, n_factors), from those of playlists.

    Raises
    ------
    DataError
        When a label is no playlist of `factors`, or these were fitted to labels of test tracks.
    """
    if factors.protocol == "thesis":
        raise DataError(
            f"Factors {factors.name!r} were fitted to the labels of test tracks, which they would give away; "
            "make them by `cs-keras factors --protocol strict`."
        )
    row_of = {name: row for row, name in enumerate(factors.playlist_ids.tolist())}
    missing = [name for name in labels.names.tolist() if name not in row_of]
    if missing:
        raise DataError(
            f"Factors {factors.name!r} are not of labels: {len(missing)} of {len(labels.names)}, such as "
            f"{missing[0]!r}, are none of their playlists; make them from the table of labels, by `cs-keras "
            "factors LABELS DATASET --playlist-column tag --name NAME`."
        )
    return factors.playlist_factors[[row_of[name] for name in labels.names.tolist()]]


def _as_factors(labels: TrackLabels, track_ids: npt.NDArray[np.str_], split_name: str | None) -> Factors:
    """Return labels as factors: a track's are 1 and 0, those of a label, which is a playlist, the unit vector."""
    n_labels = len(labels.names)
    zeros, ones = np.zeros(n_labels, np.float32), np.ones(n_labels, np.float32)
    return Factors(
        name=TARGET,
        track_ids=track_ids,
        item_factors=labels.has.astype(np.float32),
        has_factors=labels.is_labelled,
        playlist_ids=labels.names,
        playlist_factors=np.eye(n_labels, dtype=np.float32),
        scaler=Scaler("none", zeros, ones),
        protocol="given",
        config=None,
        quality={},
        split_name=split_name,
    )
