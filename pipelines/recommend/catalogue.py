"""Tracks of a run with predicted and reference factors and metadata."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.schema import Tracks, factors_names, factors_path
from cs_keras.errors import DataError
from cs_keras.evaluation.confidence import expected_errors
from cs_keras.factors.arrays import read_arrays, require_arrays
from cs_keras.factors.store import Factors, adapt_to_split, load_factors
from cs_keras.playlists.entries import Entry
from cs_keras.run_files.names import CONFIG_FILE, MODEL_FILE, PREDICTIONS_FILE
from cs_keras.run_files.predictions import check_predictions
from cs_keras.run_files.settings import require_finished
from cs_keras.runs import digest, read_json
from cs_keras.storage.location import Location

Matrix = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class TrackFactors:
    """Factors of tracks, shape (n_tracks, n_factors), undefined where not `known`, shape (n_tracks,)."""

    factors: Matrix
    known: Flags


@dataclasses.dataclass(frozen=True, eq=False)
class Catalogue:
    """Tracks that a run can recommend.

    Attributes
    ----------
    run
        Run folder, or its URL.
    ids
        Track ids, shape (n_tracks,): the dataset's, or without one those that the run predicted.
    predicted
        Factors predicted by the run's model, for validation and test tracks.
    tracks, reference
        The dataset's track table and the factors that the run was trained on; None without a dataset.
    dataset
        Dataset folder, or its URL; None without one.
    expected_errors
        Expected errors of predictions, shape (n_tracks,), NaN for tracks that were not predicted; None where the
        model predicts none (`cs_keras.evaluation.confidence.expected_errors`).
    """

    run: Location
    ids: npt.NDArray[np.str_]
    predicted: TrackFactors
    tracks: Tracks | None = None
    reference: Factors | None = None
    dataset: Location | None = None
    expected_errors: Matrix | None = None

    @functools.cached_property
    def by_audio(self) -> TrackFactors:
        """Predicted factors of new tracks, reference factors of train tracks."""
        if self.reference is None:
            return self.predicted
        is_new = self.predicted.known
        factors = np.where(is_new[:, np.newaxis], self.predicted.factors, self.reference.item_factors)
        return TrackFactors(factors, is_new | self.reference.has_factors)

    @functools.cached_property
    def by_interactions(self) -> TrackFactors:
        """Reference factors of all tracks; raise DataError without a dataset."""
        reference = require_dataset(self.reference, "reference factors")
        return TrackFactors(reference.item_factors, reference.has_factors)

    @functools.cached_property
    def row_of(self) -> dict[str, int]:
        """Row of each track, by its id."""
        return {track_id: row for row, track_id in enumerate(self.ids.tolist())}

    def entry(self, row: int) -> Entry:
        """Return the metadata of a track."""
        columns = self._columns
        return Entry(str(self.ids[row]), **{name: values[row] for name, values in columns.items()})

    @functools.cached_property
    def _columns(self) -> dict[str, list[Any]]:
        if self.tracks is None:
            return {}
        names = ("artist", "title", "album", "isrc")
        durations = np.nan_to_num(self.tracks.numbers("duration_s"), nan=0.0).tolist()
        return {**{name: self.tracks.strings(name) for name in names}, "duration_s": durations}


def open_catalogue(run: Location, dataset: Location | None, reading: ReadConfig | None = None) -> Catalogue:
    """Read the predictions of a finished run and, with its dataset, all other tracks.

    Raises
    ------
    StorageError
        `run` is not a finished run, or something cannot be read.
    DataError
        The run was not trained on `dataset` and one of its sets of factors as they are now.
    """
    require_finished(run, skip=[MODEL_FILE])
    path = run / PREDICTIONS_FILE
    arrays = read_arrays(path)
    require_arrays(arrays, ("track_ids", "factors"), path)
    ids, factors = arrays["track_ids"], arrays["factors"]
    stds = {name: arrays[name] for name in ("scaled_std",) if name in arrays}
    check_predictions({"track_ids": ids, "factors": factors, **stds}, path)
    errors = expected_errors(stds["scaled_std"]) if stds else None
    if dataset is None:
        return Catalogue(run, ids, TrackFactors(factors, np.ones(len(ids), np.bool_)), expected_errors=errors)
    settings = read_json(run / CONFIG_FILE)
    opened = Dataset(dataset, reading, settings.get("split_name"))
    reference = _find_factors(run, settings, opened)
    rows = {track_id: row for row, track_id in enumerate(opened.tracks.ids.tolist())}
    known = np.zeros(len(opened), np.bool_)
    predicted = np.zeros((len(opened), factors.shape[1]), np.float32)
    inside = [rows[track_id] for track_id in ids.tolist()]
    known[inside], predicted[inside] = True, factors
    if errors is not None:
        errors, own = np.full(len(opened), np.nan, np.float32), errors
        errors[inside] = own
    return Catalogue(
        run, opened.tracks.ids, TrackFactors(predicted, known), opened.tracks, reference, dataset, errors
    )


def require_dataset(value: T | None, what: str) -> T:
    """Return `value`, which only a dataset has; raise DataError if it is None."""
    if value is None:
        raise DataError(f"A run folder holds no {what}; name the dataset it was trained on by --dataset.")
    return value


def _find_factors(run: Location, settings: Mapping[str, Any], dataset: Dataset) -> Factors:
    """Return those factors of a dataset that a run was trained on."""
    split_name, is_train = settings.get("split_name"), dataset.tracks.in_split("train")
    for name in factors_names(dataset.folder):
        factors = load_factors(factors_path(dataset.folder, name))
        if factors.split_name != split_name and factors.protocol == "strict":
            continue
        factors = adapt_to_split(factors, split_name, is_train)
        if digest([dataset.digest, factors.digest]) == settings.get("data_digest"):
            return factors
    raise DataError(
        f"{run} was not trained on {dataset.folder} as it is now: its tracks or factors have changed, so that "
        "true and predicted factors would be of different spaces."
    )
