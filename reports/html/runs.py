"""Files of a run that only pages show: losses by epoch, and predictions."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.errors import CsKerasError, DataError, StorageError
from cs_keras.run_files.names import METRICS_FILE, PREDICTIONS_FILE
from cs_keras.run_files.records import to_record
from cs_keras.runs import read_npz


@dataclass(frozen=True)
class Epoch:
    """Losses of one epoch, counted from 1."""

    epoch: int
    loss: float
    val_loss: float | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """Factors that a run predicted for the validation and test tracks.

    Attributes
    ----------
    track_ids : ndarray of str, shape (n_tracks,)
    factors, scaled_factors : ndarray of float32, shape (n_tracks, n_factors)
        In the original factor space, and scaled as the output of the model.
    """

    track_ids: npt.NDArray[np.str_]
    factors: npt.NDArray[np.float32]
    scaled_factors: npt.NDArray[np.float32]


def read_history(folder: Path) -> tuple[Epoch, ...]:
    """Read the losses of each epoch; empty if the run did not record them.

    Raises
    ------
    StorageError
        When the file is there and cannot be read.
    DataError
        When a line is not the record of an epoch.
    """
    path = folder / METRICS_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"Cannot read {path}: {error}.") from error
    try:
        return tuple(to_record(Epoch, json.loads(line), path) for line in lines)
    except ValueError as error:
        if isinstance(error, CsKerasError):
            raise
        raise DataError(f"{path} is not valid JSON: {error}.") from error


def read_predictions(folder: Path) -> Predictions | None:
    """Read the predictions of a run; None if none were saved.

    Raises
    ------
    StorageError
        When the file is there and cannot be read, or lacks an array.
    DataError
        When its arrays differ in length.
    """
    path = folder / PREDICTIONS_FILE
    if not path.exists():
        return None
    arrays = read_npz(path, "track_ids", "factors", "scaled_factors")
    if len({len(array) for array in arrays.values()}) != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(f"{path}: expected arrays of one length. Received: {shapes}.")
    return Predictions(**arrays)
