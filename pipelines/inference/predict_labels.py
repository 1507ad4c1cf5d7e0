"""Labels of recordings by a run whose targets are labels."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.labels import LabelScorer
from cs_keras.run_files.names import LABELS_FILE
from cs_keras.storage.location import Location, is_file
from pipelines.inference.predict import describe_factors, list_recordings
from pipelines.inference.predict_recordings import apply_to_recordings
from pipelines.inference.trained_run import read_run


def predict_labels(
    folder: Location, audio: Iterable[Path], progress: Progress | None = None
) -> tuple[list[str], npt.NDArray[np.str_], npt.NDArray[np.float32], dict[str, str]]:
    """Score the labels of recordings.

    Parameters
    ----------
    folder
        Finished run of ``run-baselines --labels``.
    audio
        Audio files and folders.
    progress
        Receives the progress.

    Returns
    -------
    ids
        Of the recordings that could be used.
    labels
        Shape (n_labels,).
    scores
        Shape (n_recordings, n_labels), float32; see `cs_keras.run_files.labels.LabelScorer.score`.
    left_out
        Reasons by the ids of the others.

    Raises
    ------
    DataError
        When the run has no labels, or two recordings have one id.
    ConfigError
        When its model does not take recordings.
    StorageError
        When it cannot be read.
    """
    if not is_file(folder / LABELS_FILE):
        raise DataError(f"{folder} predicts no labels: expected a run of `cs-keras run-baselines --labels`.")
    run, scorer = read_run(folder), LabelScorer.read(folder)
    with tempfile.TemporaryDirectory() as parts:
        ids, outputs, left_out = apply_to_recordings(
            run, list_recordings(audio), "auto", Path(parts), progress or SilentProgress()
        )
    scores = scorer.score(describe_factors(run, outputs)["factors"]) if len(ids) else outputs
    return ids.tolist(), scorer.labels, scores, left_out
