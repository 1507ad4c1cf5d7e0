"""Input and output of training procedures, and the fit that all of them end with."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from cs_keras.factors.store import Factors
from cs_keras.progress import Progress
from cs_keras.run_files.names import WORK_FOLDER
from cs_keras.run_files.training import ClassifierTraining, EmbeddingTraining
from cs_keras.runs import read_npz, write_npz
from cs_keras.training.checkpoints import Epoch
from cs_keras.training.fit import Batches, FitResult, fit
from pipelines.training.run_config import RunConfig
from pipelines.training.targets import Matrix, TrainingData, TrainingTargets

Watch = Callable[[int, Epoch], None]


def _watch_nothing(number: int, epoch: Epoch) -> None:
    """Do nothing."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingJob:
    """One model to train.

    Attributes
    ----------
    run
        Settings of the run.
    data, targets
        Dataset with splits, and the targets and loss of the regression.
    factors
        Factors to predict.
    folder
        Run folder.
    shared
        Folder of all runs, which share cached work.
    progress
        Receives messages.
    until
        Number of epochs after which to pause; None to train all that the settings name.
    watch
        Called after each epoch with its number, from 1, and its metrics; it ends the training by raising.
    """

    run: RunConfig
    data: TrainingData
    targets: TrainingTargets
    factors: Factors
    folder: Path
    shared: Path
    progress: Progress
    until: int | None = None
    watch: Watch = _watch_nothing

    @property
    def work(self) -> Path:
        """Folder for files that are removed when the run is finished."""
        return self.folder / WORK_FOLDER


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """Result of a procedure.

    Attributes
    ----------
    model
        The whole model, from input to scaled factors.
    fitted
        Result of the fit of the regressor.
    predicted
        Scaled factors of the data's unseen tracks, shape (n_unseen, n_factors), float32.
    notes
        Remarks for readers of the results, without full stops.
    embedding
        Training of the embedding, where there is one.
    n_train_tracks
        Number of train tracks that were used; None for all.
    coordinates
        Positions of unseen tracks in an embedding space of the model, whose Euclidean distance is its similarity,
        shape (n_unseen, n), float32; None where similarity is that of factors.
    classifier
        Training of the genre classifier, where there is one.
    branches
        Summaries of models that were trained first, by key, JSON-ready, where there are any.
    """

    model: keras.Model
    fitted: FitResult
    predicted: Matrix
    notes: tuple[str, ...] = ()
    embedding: EmbeddingTraining | None = None
    n_train_tracks: int | None = None
    coordinates: Matrix | None = None
    classifier: ClassifierTraining | None = None
    branches: dict[str, dict[str, Any]] | None = None

    @property
    def seconds(self) -> float:
        """Time spent in epochs, including those of models that were trained first."""
        before = [first.seconds for first in (self.embedding, self.classifier) if first]
        branches = [float(branch["seconds"]) for branch in (self.branches or {}).values()]
        return self.fitted.seconds + sum(before) + sum(branches)


def fit_to_factors(
    job: TrainingJob,
    model: keras.Model,
    batches: Batches,
    validation: tf.data.Dataset,
    unit: str = "sequences",
) -> FitResult:
    """Fit `model` to the targets of `job` in its run folder, and report each epoch; `unit` names its examples."""
    run = job.run

    def report_epoch(number: int, epoch: Epoch) -> None:
        job.progress.log(
            f"{run.key}: epoch {number} of {run.training.epochs}, loss {epoch['loss']:.4f}, "
            f"validation loss {epoch['val_loss']:.4f}, {speed(epoch, unit)}"
        )
        job.watch(number, epoch)

    return fit(
        model,
        batches,
        validation,
        run.training,
        job.folder,
        report_epoch,
        run.execution.jit,
        job.targets.objective,
        job.until,
    )


def speed(epoch: Epoch, unit: str = "sequences") -> str:
    """Format an epoch's time and speed."""
    return (
        f"{epoch['seconds']:.1f} s, {epoch['sequences_per_s']:.0f} {unit}/s, {epoch['mb_per_s']:.1f} MB/s, "
        f"{epoch['input_wait_share']:.0%} of training waiting for input"
    )


def cached_array(path: Path, make: Callable[[], Matrix]) -> Matrix:
    """Return the array stored at `path`, after computing and storing it if it does not exist."""
    if not path.exists():
        write_npz(path, values=make())
    return read_npz(path, "values")["values"]
