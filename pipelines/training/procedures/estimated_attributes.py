"""Sequences to attributes of a table; a track's estimated attributes, the mean over its sequences, to factors."""

import dataclasses
import functools
import shutil
from typing import Any

import keras
import numpy as np

from cs_keras.data.attributes.encoding import Encoding, fit_encoding
from cs_keras.data.attributes.table import Attributes
from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.labels.attribute_estimates import EstimateQuality, measure_estimates
from cs_keras.models import estimated_attributes, load_model
from cs_keras.models.regressors import join_stages
from cs_keras.run_files.names import MODEL_FILE, WORK_FOLDER
from cs_keras.runs import digest, read_json, read_npz, write_json, write_npz
from cs_keras.training.execution import dtype_policy
from pipelines.training.procedures.job import Job, Trained
from pipelines.training.procedures.regression import train_regression
from pipelines.training.procedures.track_vectors import TrackVectors, regress
from pipelines.training.run_artifacts import save_model
from pipelines.training.run_config import RunConfig, identity, resolve_branch
from pipelines.training.shared_cache import shared_work
from pipelines.training.targets import Matrix, Rows, Task, TrainingTargets

EAR_FILE = "ear.json"
ESTIMATES_FILE = "estimates.npz"


def train_estimated_attributes(job: Job) -> Trained:
    """Train the ear on attributes of train tracks, then the regressor on what it estimates of all of them."""
    run, task, attributes = job.run, job.task, job.task.attributes
    if attributes is None:
        raise ConfigError(f"{run.key} needs a table of attributes: name one by --features.")
    known = {name: _known(name, rows, attributes) for name, rows in _learnt(task).items()}
    encoding = fit_encoding(attributes.table.take(known["train"]), run.model.max_categories)
    ear, estimates, summary = _estimate(job, attributes, encoding, known)
    train, unseen = (TrackVectors(own, rows) for own, rows in _split(estimates, task))
    quality = _quality(attributes, encoding, unseen.of(known["validation"]))
    notes = (_describe(run, attributes, encoding, quality), *_left_out(task, known["train"]))
    for note in notes:
        job.progress.log(f"{run.key}: {note}")
    keras.utils.set_random_seed(run.seed)  # as if the ear had been there before
    with dtype_policy(run.execution.dtype_policy):
        head = estimated_attributes.build_regressor(run, task.targets.shape[1], encoding.n_features)
    regressed = regress(job, head, train, unseen)
    return Trained(
        join_stages(run.key, ear, regressed.head),
        regressed.fitted,
        regressed.predicted,
        (*notes, *regressed.notes),
        branches={run.model.ear: {**summary, "estimates": dataclasses.asdict(quality)}},
    )


def _learnt(task: Task) -> dict[str, Rows]:
    return {"train": task.train, "validation": task.validation}


def _known(split: str, rows: Rows, attributes: Attributes) -> Rows:
    """Return those of `rows` that have attributes; raise DataError where none has."""
    known: Rows = rows[attributes.has[rows]]
    if not len(known):
        raise DataError(
            f"None of {len(rows)} {split} tracks with listening has attributes in {attributes.table.where}: at "
            "least one is needed."
        )
    return known


def _split(estimates: Matrix, task: Task) -> list[tuple[Matrix, Rows]]:
    train, unseen = np.split(estimates, [len(task.train)])
    return [(train, task.train), (unseen, task.unseen)]


def _estimate(
    job: Job, attributes: Attributes, encoding: Encoding, known: dict[str, Rows]
) -> tuple[keras.Model, Matrix, dict[str, Any]]:
    """Return the ear, its estimates of train and unseen tracks, and how it was trained; made once for all runs."""
    task = job.task
    ear = resolve_branch(job.run, job.run.model.ear)
    ear = dataclasses.replace(ear, training=dataclasses.replace(ear.training, loss="mse"))
    targets = encoding.encode(attributes.table)
    to_learn = dataclasses.replace(
        task,
        targets=targets,
        train=known["train"],
        validation=known["validation"],
        unseen=np.concatenate([task.train, task.unseen]),
    )
    with shared_work(job.shared, _settings(ear, to_learn, attributes, encoding), job.progress) as folder:
        if not (folder / ESTIMATES_FILE).exists():
            listening = dataclasses.replace(
                job, run=ear, task=to_learn, lesson=TrainingTargets(targets), folder=folder
            )
            _train_estimator(listening, encoding.n_features)
        estimates = read_npz(folder / ESTIMATES_FILE, "values")["values"]
        return load_model(folder / MODEL_FILE), estimates, read_json(folder / EAR_FILE)


def _train_estimator(job: Job, n_features: int) -> None:
    """Train the ear, however far the run's own epochs go, and write it, its estimates last."""
    keras.utils.set_random_seed(job.run.seed)
    job.progress.log(f"{job.run.key}: learns attributes, as {n_features} numbers")
    whole = Job(job.run, job.task, job.lesson, job.factors, job.folder, job.shared, job.progress)
    trained = train_regression(
        whole, functools.partial(estimated_attributes.build_estimator, job.run, n_features)
    )
    fitted = trained.fitted
    save_model(trained.model, job.folder / MODEL_FILE)
    summary = {
        "n_train_tracks": len(job.task.train),
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "val_loss": fitted.history[fitted.best_epoch - 1]["val_loss"],
        "seconds": fitted.seconds,
    }
    write_json(job.folder / EAR_FILE, summary)
    write_npz(job.folder / ESTIMATES_FILE, values=trained.predicted)
    shutil.rmtree(job.folder / WORK_FOLDER, ignore_errors=True)


def _settings(ear: RunConfig, task: Task, attributes: Attributes, encoding: Encoding) -> dict[str, Any]:
    """Return all that decides the ear and its estimates."""
    settings = identity(ear, attributes.digest)
    del settings["evaluation"]
    rows = digest([task.train.tolist(), task.validation.tolist(), task.unseen.tolist()])
    return {
        "procedure": "ear of attributes",
        "data_digest": task.data_digest,
        "tracks": rows,
        "encoding": digest(encoding.document()),
        "run": settings,
    }


def _quality(attributes: Attributes, encoding: Encoding, validation: TrackVectors) -> EstimateQuality:
    return measure_estimates(encoding, attributes.table.take(validation.rows), validation.values)


def _describe(run: RunConfig, attributes: Attributes, encoding: Encoding, quality: EstimateQuality) -> str:
    """Return what was estimated, and how well, in words."""
    found = []
    if quality.r2 is not None:
        found.append(f"R² {quality.r2:.3f} over {quality.n_numbers} numbers")
    if quality.auc is not None:
        found.append(f"AUC {quality.auc:.3f} over {quality.n_labels} labels")
    judged = " and ".join(found) or "nothing to judge them by"
    return (
        f"{run.model.ear} estimates {len(encoding.columns)} attributes of {attributes.table.where}, of validation "
        f"tracks with {judged}"
    )


def _left_out(task: Task, known: Rows) -> list[str]:
    n = len(task.train) - len(known)
    return [f"{n} of {len(task.train)} train tracks have no attributes: the ear left them out"][: bool(n)]
