"""Predictions by the content model of a model of artists, of train tracks by a model that was trained without them.

Runs share the content model and its predictions.
"""

import dataclasses
import shutil
from pathlib import Path

import numpy as np

from cs_keras.models.spec import require_waveforms
from cs_keras.run_files.names import BRANCHES_FOLDER, CONFIG_FILE, VECTORS_FILE, WORK_FOLDER
from cs_keras.runs import LOCK, digest, read_npz, write_json, write_npz
from pipelines.training.procedures.branches import (
    Trainers,
    branch_settings,
    narrow,
    train_model,
    write_branch,
)
from pipelines.training.procedures.job import TrainingJob, cached_array
from pipelines.training.procedures.track_vectors import TrackVectors
from pipelines.training.requirements import has_input
from pipelines.training.run_config import resolve_branch
from pipelines.training.shared_cache import shared_work
from pipelines.training.targets import Matrix, Rows

FOLD = "fold-{}"


def train_content(job: TrainingJob, trainers: Trainers) -> TrackVectors:
    """Train the content model of ``job.run``, unless it is cached, and copy it into the run folder.

    Returned are scaled factors of the tracks that have its input: of validation and test tracks by the model of all
    train tracks; of train tracks by models of the other ``model.folds - 1`` parts of them, so that neither has seen
    the track. `trainers` train a model, by procedure. Errors are those of a run of the content model.
    """
    key, tracks = job.run.model.content, job.data.dataset.tracks
    run = resolve_branch(job.run, key)
    data = narrow(job.data, has_input(run, tracks, job.data.tables))
    require_waveforms(run, data.dataset.info.audio)
    settings = {**branch_settings(run, data), "procedure": "content", "folds": job.run.model.folds}
    with shared_work(job.shared, settings, job.progress, job.folder) as folder:
        content = dataclasses.replace(job, run=run, data=data, folder=folder)
        if not (folder / VECTORS_FILE).exists():
            of_train = _predict_out_of_fold(content, job.run.model.folds, trainers)
            trained = train_model(content, trainers)
            write_json(folder / CONFIG_FILE, settings["run"])
            write_branch(content, trained)
            rows = np.concatenate([data.train, data.unseen])
            write_npz(folder / VECTORS_FILE, values=np.vstack([of_train, trained.predicted]), rows=rows)
            for part in (*folder.rglob(WORK_FOLDER), *folder.glob(FOLD.format("*"))):
                shutil.rmtree(part, ignore_errors=True)
        stored = read_npz(folder / VECTORS_FILE, "values", "rows")
        _copy(folder, job.folder / BRANCHES_FOLDER / key)
    return TrackVectors(stored["values"], stored["rows"])


def _predict_out_of_fold(job: TrainingJob, n_folds: int, trainers: Trainers) -> Matrix:
    """Predict the train tracks of `job`, each by a model that was trained on the other parts of them."""
    train = job.data.train
    fold_of = np.random.default_rng(job.run.seed).permutation(len(train)) % n_folds
    predicted = np.zeros((len(train), job.data.targets.shape[1]), np.float32)
    for fold in np.unique(fold_of).tolist():
        held_out = fold_of == fold
        predicted[held_out] = _train_fold(job, train[~held_out], train[held_out], fold, trainers)
    return predicted


def _train_fold(job: TrainingJob, train: Rows, held_out: Rows, fold: int, trainers: Trainers) -> Matrix:
    """Train on tracks `train` and predict others, in the order of `held_out`."""
    job.log(f"part {fold + 1} of the train tracks is predicted by a model of the others")
    folder = job.folder / FOLD.format(fold)
    data = dataclasses.replace(
        job.data,
        train=train,
        unseen=np.concatenate([job.data.validation, held_out]),
        data_digest=digest([job.data.data_digest, "without", held_out.tolist()]),
    )
    part = dataclasses.replace(job, data=data, folder=folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = cached_array(folder / VECTORS_FILE, lambda: train_model(part, trainers).predicted)
    return found[len(job.data.validation) :]


def _copy(folder: Path, own: Path) -> None:
    """Copy what predicts new tracks into the run folder."""
    if own.exists():
        return
    partial = own.with_name(f"partial-{own.name}")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(folder, partial, ignore=shutil.ignore_patterns(VECTORS_FILE, LOCK))
    partial.rename(own)
