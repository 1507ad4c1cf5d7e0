"""What every procedure is given and gives back, and the fit that all of them end with."""

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
from pipelines.training.targets import Matrix, Task, TrainingTargets

Watch = Callable[[int, Epoch], None]


def _watch_nothing(number: int, epoch: Epoch) -> None:
    """Let any epoch pass."""


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """One model to train.

    Attributes
    ----------
    run
        Its settings.
    task, lesson
        What it is to learn, and by which loss.
    factors
        Those of the task, from which lessons of other losses are made.
    folder
        Run folder.
    shared
        Folder of all runs that share work.
    progress
        Where to report.
    until
        Stop after so many epochs of those that settings name; None for all.
    watch
        Called after each epoch with its number, from 1, and its figures; ends the training by raising.
    """

    run: RunConfig
    task: Task
    lesson: TrainingTargets
    factors: Factors
    folder: Path
    shared: Path
    progress: Progress
    until: int | None = None
    watch: Watch = _watch_nothing

    @property
    def work(self) -> Path:
        """Folder for what is removed when the run is finished."""
        return self.folder / WORK_FOLDER


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """What a procedure gives.

    Attributes
    ----------
    model
        The whole model, what is known of a track to scaled factors.
    fitted
        The fit of what maps to factors.
    predicted
        Scaled factors of the task's unseen tracks, shape (n_unseen, n_factors), float32.
    notes
        What a reader of the results must know, a sentence each without its full stop.
    embedding
        Training of the embedding, where there is one.
    n_train_tracks
        Train tracks that were learnt from; None for all of the task's.
    places
        Where unseen tracks lie in a space of the model's own, in which similar ones are near by Euclidean distance,
        shape (n_unseen, n), float32; None where similarity is that of factors.
    classifier
        Training of the genre classifier, where there is one.
    branches
        By model key, what is told of other models that were trained first, JSON-ready, where there are any.
    """

    model: keras.Model
    fitted: FitResult
    predicted: Matrix
    notes: tuple[str, ...] = ()
    embedding: EmbeddingTraining | None = None
    n_train_tracks: int | None = None
    places: Matrix | None = None
    classifier: ClassifierTraining | None = None
    branches: dict[str, dict[str, Any]] | None = None

    @property
    def seconds(self) -> float:
        """Time spent in epochs, those of what comes before the factors too."""
        before = [first.seconds for first in (self.embedding, self.classifier) if first]
        branches = [float(branch["seconds"]) for branch in (self.branches or {}).values()]
        return self.fitted.seconds + sum(before) + sum(branches)


def fit_to_factors(
    job: Job, model: keras.Model, batches: Batches, validation: tf.data.Dataset, unit: str = "sequences"
) -> FitResult:
    """Fit `model` to the job's factors in its run folder, telling each epoch; its examples are called `unit`."""
    run = job.run

    def tell(number: int, epoch: Epoch) -> None:
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
        tell,
        run.execution.jit,
        job.lesson.objective,
        job.until,
    )


def speed(epoch: Epoch, unit: str = "sequences") -> str:
    """Return an epoch's time and speed in words."""
    return (
        f"{epoch['seconds']:.1f} s, {epoch['sequences_per_s']:.0f} {unit}/s, {epoch['mb_per_s']:.1f} MB/s, "
        f"{epoch['input_wait_share']:.0%} of training waiting for input"
    )


def kept(path: Path, make: Callable[[], Matrix]) -> Matrix:
    """Return the array at `path`, making it where there is none."""
    if not path.exists():
        write_npz(path, values=make())
    return read_npz(path, "values")["values"]
