"""``predictions.npz``: factors that a run predicted for the tracks that it was not trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError, StorageError
from cs_keras.run_files.names import PREDICTIONS_FILE
from cs_keras.runs import read_npz, write_npz
from cs_keras.storage.location import Location

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Factors that a run predicted for validation and test tracks.

    Attributes
    ----------
    track_ids : ndarray of str, shape (n_tracks,)
    factors, scaled_factors : ndarray of float32, shape (n_tracks, n_factors)
        Predicted factors in the original factor space, and scaled, as the output of the model.
    positions : ndarray of float32, shape (n_tracks, n), or None
        Positions in a space of the model's own, in which similarity is Euclidean distance; ``places`` in the file.
    scaled_std : ndarray of float32, shape (n_tracks, n_factors), or None
        Standard deviations of `scaled_factors`, where the model predicts any (`cs_keras.models.distribution`).
    source
        The file they were read from.
    """

    track_ids: npt.NDArray[np.str_]
    factors: Matrix
    scaled_factors: Matrix
    positions: Matrix | None = None
    scaled_std: Matrix | None = None
    source: Path | None = None

    def select(self, track_ids: npt.NDArray[np.str_]) -> "Predictions":
        """Return the predictions of some tracks, in their order; raise StorageError if one is missing."""
        row_of = {track_id: row for row, track_id in enumerate(self.track_ids.tolist())}
        try:
            rows = [row_of[track_id] for track_id in track_ids.tolist()]
        except KeyError as error:
            raise StorageError(
                f"{self.source or 'predictions'} lacks a prediction of track {error}; delete the run folder."
            ) from error
        positions, scaled_std = (
            None if values is None else values[rows] for values in (self.positions, self.scaled_std)
        )
        return Predictions(
            track_ids, self.factors[rows], self.scaled_factors[rows], positions, scaled_std, self.source
        )


def write_predictions(run: Path, predictions: Predictions) -> None:
    """Write ``predictions.npz`` of a run."""
    optional = {"places": predictions.positions, "scaled_std": predictions.scaled_std}
    write_npz(
        run / PREDICTIONS_FILE,
        track_ids=predictions.track_ids,
        factors=predictions.factors,
        scaled_factors=predictions.scaled_factors,
        **{name: values for name, values in optional.items() if values is not None},
    )


def check_predictions(arrays: Mapping[str, npt.NDArray[Any]], path: Location) -> None:
    """Raise DataError unless ``track_ids`` is text, and the other arrays have a row of finite numbers for each."""
    ids = arrays["track_ids"]
    n_rows = len(ids) if ids.ndim == 1 and ids.dtype.kind == "U" else -1
    for name, array in arrays.items():
        if name != "track_ids" and not (
            array.ndim == 2 and len(array) == n_rows and array.dtype.kind == "f" and np.isfinite(array).all()
        ):
            shapes = ", ".join(f"{one} {array.dtype} {array.shape}" for one, array in arrays.items())
            raise DataError(
                f"{path}: expected ids of tracks, and a row of finite numbers for each. Received: {shapes}."
            )


def read_predictions(run: Path) -> Predictions:
    """Read ``predictions.npz`` of a run.

    Raises
    ------
    StorageError
        When the file cannot be read, or lacks an array.
    DataError
        When its arrays are not as `check_predictions` expects them.
    """
    path = run / PREDICTIONS_FILE
    arrays = read_npz(path, "track_ids", "factors", "scaled_factors", optional=("places", "scaled_std"))
    check_predictions(arrays, path)
    factors, scaled = arrays["factors"], arrays["scaled_factors"]
    return Predictions(
        arrays["track_ids"], factors, scaled, arrays.get("places"), arrays.get("scaled_std"), path
    )
