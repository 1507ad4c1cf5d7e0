"""One model trained on a dataset: its folder gets ``model.keras``, ``training.json`` and ``predictions.npz``."""

import os
import shutil
from pathlib import Path

import keras

from cs_keras.data.batches import reading
from cs_keras.errors import StorageError
from cs_keras.factors.store import Factors
from cs_keras.models import model_module
from cs_keras.models.spec import stored_bytes, trainable_parameters
from cs_keras.progress import Progress
from cs_keras.runs import require_space, write_json, write_npz
from pipelines.procedures import PROCEDURES, Job, Trained
from pipelines.procedures.job import WORK_FOLDER
from pipelines.procedures.triplet import EMBEDDING_FOLDER
from pipelines.settings import RunConfig
from pipelines.task import Task, make_lesson

MODEL_FILE = "model.keras"
TRAINING_FILE = "training.json"
PREDICTIONS_FILE = "predictions.npz"


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
    notes = _notes(run)
    for note in notes:
        progress.say(f"{run.key}: {note}")
    if (run.execution.devices or 1) > 1 and run.procedure != "regression":
        progress.say(
            f"{run.key}: trained on one device: its procedure, {run.procedure}, does not share batches"
        )
    lesson = make_lesson(task, factors, run.training.loss)
    trained = run_procedure(Job(run, task, lesson, folder, folder.parent, progress))
    _save_model(trained.model, folder / MODEL_FILE)
    write_json(folder / TRAINING_FILE, _summary(trained, task, notes))
    write_npz(
        folder / PREDICTIONS_FILE,
        track_ids=task.dataset.tracks.ids[task.unseen],
        factors=factors.scaler.inverse(trained.predicted),
        scaled_factors=trained.predicted,
    )


def run_procedure(job: Job) -> Trained:
    """Do the job: train, and predict the task's unseen tracks; by its seed alone, whatever ran before."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(job.run.seed)
    with reading(job.task.dataset):
        return PROCEDURES[job.run.procedure](job)


def clean_up(folder: Path) -> None:
    """Remove what only a resumed run would need."""
    for path in (folder / WORK_FOLDER, folder / EMBEDDING_FOLDER / WORK_FOLDER):
        shutil.rmtree(path, ignore_errors=True)


def _notes(run: RunConfig) -> tuple[str, ...]:
    """Return what the model's file has to say of these settings."""
    notes_of = getattr(model_module(run.key), "notes", None)
    return notes_of(run) if notes_of else ()


def _summary(trained: Trained, task: Task, notes: tuple[str, ...]) -> dict[str, object]:
    fitted, embedding = trained.fitted, trained.embedding
    return {
        "parameters": trainable_parameters(trained.model),
        "n_train_tracks": len(task.train),
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "seconds": fitted.seconds + (embedding["seconds"] if embedding else 0.0),
        "notes": [*notes, *trained.notes],
        **({"embedding": dict(embedding)} if embedding else {}),
        "history": fitted.history,
    }


def _save_model(model: keras.Model, path: Path) -> None:
    """Write what predicts: without the optimizer, which is twice as large and of which Keras cannot load all."""
    bare = keras.Model(model.input, model.output, name=model.name)
    temporary = path.with_name(f"partial-{path.name}")
    require_space(path.parent, 2 * stored_bytes(bare))  # Keras writes weights apart before it packs them
    try:
        bare.save(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error}.") from error
