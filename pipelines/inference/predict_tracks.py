"""Predict single tracks with a finished run, in memory."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import AudioError
from cs_keras.progress import Progress
from pipelines.inference.prediction_blocks import Source
from pipelines.inference.trained_run import TrainedRun, track_function

Matrix = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class PredictedTracks:
    """Predictions for tracks.

    Attributes
    ----------
    factors
        Factors by id, shape (n_factors,), float32, in the space that the model was trained on.
    left_out
        Reasons for tracks that cannot be used, by id.
    """

    factors: Mapping[str, Matrix]
    left_out: Mapping[str, str]


def predict_in_memory(
    run: TrainedRun, source: Source, items: Mapping[str, Any], progress: Progress
) -> PredictedTracks:
    """Predict tracks one by one.

    Parameters
    ----------
    run
        Run with the model.
    source, items
        Source of frames, and its item for each track, by id.
    progress
        Receives progress.

    Raises
    ------
    StorageError, DataError
        When model or dataset cannot be read.
    """
    factors: dict[str, Matrix] = {}
    left_out: dict[str, str] = {}
    if items:
        opened, predict = source.open(), track_function(run)
        with progress.task("predict", len(items)) as advance:
            for track_id, item in items.items():
                try:
                    scaled = predict(opened.read(item))
                    factors[track_id] = run.signature.scaler.inverse(scaled[np.newaxis])[0]
                except AudioError as error:
                    left_out[track_id] = str(error)
                advance(1)
    return PredictedTracks(factors, left_out)
