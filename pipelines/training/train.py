"""Training of one model on a dataset, which writes ``model.keras``, ``training.json`` and ``predictions.npz``."""

import shutil
from pathlib import Path

import keras

from cs_keras.data.batches import dataset_errors
from cs_keras.factors.store import Factors
from cs_keras.models.spec import trainable_parameters
from cs_keras.progress import Progress
from cs_keras.run_files.names import (
    CLASSIFIER_FOLDER,
    EMBEDDING_FOLDER,
    MODEL_FILE,
    PREDICTIONS_FILE,
    WORK_FOLDER,
)
from cs_keras.run_files.predictions import Predictions, write_predictions
from cs_keras.run_files.training import Training
from pipelines.training.objectives import make_training_targets
from pipelines.training.procedures import TRAINERS, TrainedModel, TrainingJob
from pipelines.training.requirements import require_input
from pipelines.training.run_artifacts import save_model
from pipelines.training.run_config import RunConfig
from pipelines.training.targets import TrainingData


def train(run: RunConfig, data: TrainingData, factors: Factors, folder: Path, progress: Progress) -> None:
    """Train the model of `run` and predict all validation and test tracks, unless predictions exist.

    The same seed gives the same predictions, also if training was interrupted and resumed.

    Raises
    ------
    DivergenceError, DataError, StorageError
        When training fails.
    ConfigError
        When the dataset or this machine lacks something that a setting requires.
    """
    if (folder / PREDICTIONS_FILE).exists():
        return
    notes = list(run.model.notes(run))
    if data.extra:
        names = (f"{extra.name} ({extra.item_factors.shape[1]} dimensions)" for extra in data.extra)
        notes.append(f"it was also trained on the factors {', '.join(names)}, which it does not predict")
    targets = make_training_targets(data, factors, run.training)
    job = TrainingJob(run, data, targets, factors, folder, folder.parent, progress)
    job.log(*notes)
    shares_batches = run.procedure.is_end_to_end and not run.training.compares_tracks
    if (run.execution.devices or 1) > 1 and not shares_batches:
        job.log(
            f"trained on one device, as the procedure {run.procedure.name} with the loss {run.training.loss} does "
            "not share batches"
        )
    trained = run_procedure(job)
    save_model(trained.model, folder / MODEL_FILE)
    training = Training(
        parameters=trainable_parameters(trained.model),
        n_train_tracks=trained.n_train_tracks,
        epochs=len(trained.fitted.history),
        best_epoch=trained.fitted.best_epoch,
        seconds=trained.seconds,
        monitor="val_loss" if run.model.is_solved else run.training.monitor,
        notes=(*notes, *trained.notes),
        embedding=trained.embedding,
        classifier=trained.classifier,
        branches=trained.branches,
        history=tuple(trained.fitted.history),
    )
    training.write(folder)
    ids, scaled = data.dataset.tracks.ids[data.unseen], trained.predicted
    predictions = Predictions(
        ids, factors.scaler.inverse(scaled), scaled, trained.coordinates, trained.deviation
    )
    write_predictions(folder, predictions)


def run_procedure(job: TrainingJob) -> TrainedModel:
    """Train the model of `job` and predict the unseen tracks; its seed alone decides the result.

    See `train` and `require_input` for errors.
    """
    require_input(job.run, job.data.dataset.tracks, job.data.tables)
    keras.backend.clear_session()
    keras.utils.set_random_seed(job.run.seed)
    with dataset_errors(job.data.dataset):
        return TRAINERS[job.run.procedure](job)


def clean_up(folder: Path) -> None:
    """Remove files that only a resumed run needs."""
    for path in (folder, folder / EMBEDDING_FOLDER, folder / CLASSIFIER_FOLDER):
        shutil.rmtree(path / WORK_FOLDER, ignore_errors=True)
