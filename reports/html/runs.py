"""What pages show of a run beyond its ``evaluation.json``: the course of its training, and its predictions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.errors import CsKerasError, DataError, StorageError
from cs_keras.runs import read_npz
from reports.runs.collect import Run, find_runs
from reports.runs.evaluation_json import Evaluation, read_evaluation
from reports.runs.json_schema import to_record

METRICS_FILE = "metrics.jsonl"
PREDICTIONS_FILE = "predictions.npz"

Folders = tuple[tuple[Evaluation, Path], ...]  # what each run folder holds


@dataclass(frozen=True)
class Epoch:
    """Losses of one epoch, counted from 1."""

    epoch: int
    loss: float
    val_loss: float | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a run predicted for the tracks that it was not trained on.

    Attributes
    ----------
    track_ids : ndarray of str, shape (n_tracks,)
    factors, scaled_factors : ndarray of float32, shape (n_tracks, n_factors)
        In the original space, and as the model gives them.
    """

    track_ids: npt.NDArray[np.str_]
    factors: npt.NDArray[np.float32]
    scaled_factors: npt.NDArray[np.float32]


def list_folders(runs: Path) -> Folders:
    """Return the finished run folders that can be read; the report has said why others cannot."""
    return tuple(_readable(find_runs(runs)[0]))


def folders_of(run: Run, folders: Folders) -> list[Path]:
    """Return the folder of each seed of a run. Copies of one run hold the same, so that any of them will do."""
    return [next(path for own, path in folders if own == evaluation) for evaluation in run.evaluations]


def read_history(folder: Path) -> tuple[Epoch, ...]:
    """Read the losses of each epoch; none where the run kept none.

    Raises
    ------
    StorageError
        When the file is there and cannot be read.
    DataError
        When a line of it is no record of an epoch.
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
    """Read what a run predicted; None where it kept nothing.

    Raises
    ------
    StorageError
        When the file is there and cannot be read, or lacks an array.
    DataError
        When its arrays are not of one length.
    """
    path = folder / PREDICTIONS_FILE
    if not path.exists():
        return None
    arrays = read_npz(path, "track_ids", "factors", "scaled_factors")
    if len({len(array) for array in arrays.values()}) != 1:
        raise DataError(f"{path}: expected as many tracks in every array. Received: {_shapes(arrays)}.")
    return Predictions(**arrays)


def _readable(folders: tuple[Path, ...]) -> Iterator[tuple[Evaluation, Path]]:
    for folder in folders:
        try:
            yield read_evaluation(folder), folder
        except CsKerasError:
            continue


def _shapes(arrays: dict[str, npt.NDArray[np.generic]]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
