"""One model trained on a dataset: its folder gets ``model.keras``, ``training.json`` and ``predictions.npz``."""

import shutil
from pathlib import Path

import keras

from cs_keras.data.batches import dataset_errors
from cs_keras.factors.store import Factors
from cs_keras.models import model_module
from cs_keras.models.spec import trainable_parameters
from cs_keras.progress import Progress
from cs_keras.run_files.names import (
    CLASSIFIER_FOLDER,
    EMBEDDING_FOLDER,
    MODEL_FILE,
    PREDICTIONS_FILE,
    WORK_FOLDER,
)
from cs_keras.run_files.training import Training, write_training
from cs_keras.runs import write_npz
from pipelines.training.procedures import PROCEDURES, Job, Trained
from pipelines.training.requirements import require_input
from pipelines.training.run_artifacts import save_model
from pipelines.training.run_config import RunConfig
from pipelines.training.targets import Task, make_training_targets


def train(run: RunConfig, task: Task, factors: Factors, folder: Path, progress: Progress) -> None:
    """Train the model that `run` describes and predict all validation and test tracks, unless that is done.

    The same seed gives the same predictions, whether or not the work was interrupted on the way.

    Raises
    ------
    DivergenceError, DataError, StorageError
        When training cannot go on.
    ConfigError
        When the dataset or this machine lacks what a setting asks for.
    """
    if (folder / PREDICTIONS_FILE).exists():
        return
    notes = (*_notes(run), *_extra_note(task))
    for note in notes:
        progress.log(f"{run.key}: {note}")
    if (run.execution.devices or 1) > 1 and run.procedure != "regression":
        progress.log(
            f"{run.key}: trained on one device: its procedure, {run.procedure}, does not share batches"
        )
    lesson = make_training_targets(task, factors, run.training)
    trained = run_procedure(Job(run, task, lesson, factors, folder, folder.parent, progress))
    save_model(trained.model, folder / MODEL_FILE)
    write_training(folder, _summarise(trained, task, notes))
    write_npz(
        folder / PREDICTIONS_FILE,
        track_ids=task.dataset.tracks.ids[task.unseen],
        factors=factors.scaler.inverse(trained.predicted),
        scaled_factors=trained.predicted,
        **({} if trained.places is None else {"places": trained.places}),
    )


def run_procedure(job: Job) -> Trained:
    """Do the job: train, and predict the task's unseen tracks; by its seed alone, whatever ran before.

    Raises
    ------
    ConfigError
        When the model needs what the dataset does not have, beside what `train` raises.
    """
    require_input(job.run, job.task.dataset.tracks, job.task.attributes)
    keras.backend.clear_session()
    keras.utils.set_random_seed(job.run.seed)
    with dataset_errors(job.task.dataset):
        return PROCEDURES[job.run.procedure](job)


def clean_up(folder: Path) -> None:
    """Remove what only a resumed run would need."""
    for path in (folder, folder / EMBEDDING_FOLDER, folder / CLASSIFIER_FOLDER):
        shutil.rmtree(path / WORK_FOLDER, ignore_errors=True)


def _notes(run: RunConfig) -> tuple[str, ...]:
    """Return what the model's file has to say of these settings."""
    notes_of = getattr(model_module(run.key), "notes", None)
    return notes_of(run) if notes_of else ()


def _extra_note(task: Task) -> tuple[str, ...]:
    """Return what was learnt beside the factors that are predicted."""
    if not task.extra:
        return ()
    told = (f"{extra.name} ({extra.item_factors.shape[1]} dimensions)" for extra in task.extra)
    return (f"it also learnt the factors {', '.join(told)}, which it does not predict",)


def _summarise(trained: Trained, task: Task, notes: tuple[str, ...]) -> Training:
    fitted = trained.fitted
    return Training(
        parameters=trainable_parameters(trained.model),
        n_train_tracks=len(task.train) if trained.n_train_tracks is None else trained.n_train_tracks,
        epochs=len(fitted.history),
        best_epoch=fitted.best_epoch,
        seconds=trained.seconds,
        notes=(*notes, *trained.notes),
        embedding=trained.embedding,
        classifier=trained.classifier,
        branches=trained.branches,
        history=tuple(fitted.history),
    )
