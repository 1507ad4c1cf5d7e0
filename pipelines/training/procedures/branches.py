"""Branches of a fusion: baselines that are trained first, and their vectors of tracks; runs share both.

A branch is trained as in a run of its own, on the tracks that have its input. A track's vector is the output of its
last hidden layer, for a branch that takes sequences the mean over those of the track.
"""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from cs_keras.data.attributes.encoding import read_encoding
from cs_keras.errors import ConfigError
from cs_keras.models import load_model
from cs_keras.models.declaration import Procedure
from cs_keras.models.spec import require_waveforms, trainable_parameters
from cs_keras.run_files.names import (
    ATTRIBUTES_FILE,
    BRANCH_FILE,
    BRANCHES_FOLDER,
    ENCODER_FILE,
    MODEL_FILE,
    VECTORS_FILE,
    WORK_FOLDER,
)
from cs_keras.runs import digest, read_json, read_npz, write_json, write_npz
from cs_keras.training.hidden_layers import build_hidden_model, choose_default_layer, list_hidden_layers
from cs_keras.training.predict import apply_to_tracks
from pipelines.training.objectives import make_training_targets
from pipelines.training.procedures.job import TrainedModel, TrainingJob
from pipelines.training.procedures.regression import predict_audio
from pipelines.training.procedures.track_vectors import TrackVectors
from pipelines.training.requirements import attributes_digest, choose_attributes
from pipelines.training.run_artifacts import save_model
from pipelines.training.run_config import RunConfig, identity, resolve_branch
from pipelines.training.shared_cache import shared_work
from pipelines.training.targets import Matrix, TrainingData

BATCH_ITEMS = 256

Trainers = Mapping[Procedure, Callable[[TrainingJob], TrainedModel]]


def train_branch(job: TrainingJob, key: str, has_input: Any, trainers: Trainers) -> TrackVectors:
    """Train a branch of ``job.run``, unless it is cached, and copy what predicts new tracks into the run folder.

    `has_input` says which tracks have the input of the branch, bool of shape (n_tracks,); `trainers` train a model,
    by procedure. Returned are the vectors of the train and unseen tracks that have the input. Errors are those of a
    run of the branch itself.
    """
    run, data = resolve_branch(job.run, key), narrow(job.data, has_input)
    require_waveforms(run, data.dataset.info.audio)
    with shared_work(job.shared, branch_settings(run, data), job.progress, job.folder) as folder:
        if not (folder / VECTORS_FILE).exists():
            branch = dataclasses.replace(job, run=run, data=data, folder=folder)
            if not (folder / BRANCH_FILE).exists():
                write_branch(branch, train_model(branch, trainers))
            _write_vectors(branch)
            for work in list(folder.rglob(WORK_FOLDER)):
                shutil.rmtree(work, ignore_errors=True)
        stored = read_npz(folder / VECTORS_FILE, "values", "rows")
        own = job.folder / BRANCHES_FOLDER / key
        own.mkdir(parents=True, exist_ok=True)
        for name in (MODEL_FILE, ATTRIBUTES_FILE, ENCODER_FILE, BRANCH_FILE):
            if (folder / name).exists():  # each is copied in one rename
                (own / f"partial-{name}").unlink(missing_ok=True)  # which may be a link
                shutil.copyfile(folder / name, own / f"partial-{name}")
                (own / f"partial-{name}").replace(own / name)
    return TrackVectors(stored["values"], stored["rows"])


def narrow(data: TrainingData, has_input: Any) -> TrainingData:
    """Return `data` without tracks that lack the input of a branch; `has_input` is bool of shape (n_tracks,)."""
    if has_input[np.concatenate([data.train, data.unseen])].all():
        return data
    train, validation, unseen = (rows[has_input[rows]] for rows in (data.train, data.validation, data.unseen))
    # Runs on all tracks and runs on some of them do not share cached work.
    data_digest = digest([data.data_digest, np.flatnonzero(has_input).tolist()])
    return dataclasses.replace(
        data, train=train, validation=validation, unseen=unseen, data_digest=data_digest
    )


def branch_settings(run: RunConfig, data: TrainingData) -> dict[str, Any]:
    """Return all settings that decide a branch and its vectors."""
    settings = identity(run, attributes_digest(run, data.dataset.tracks, data.tables))
    del settings["evaluation"]
    rows = digest([data.train.tolist(), data.unseen.tolist()])
    return {"procedure": "branch", "data_digest": data.data_digest, "tracks": rows, "run": settings}


def apply_to_vectors(network: keras.Model, values: Matrix) -> Matrix:
    """Apply `network` to vectors in batches; return shape (n, n_numbers), float32."""
    batches = np.split(values, range(BATCH_ITEMS, len(values), BATCH_ITEMS))
    return np.concatenate([np.asarray(network(batch, training=False)) for batch in batches])


def train_model(job: TrainingJob, trainers: Trainers) -> TrainedModel:
    """Train the model of `job` as a run of its own does."""
    run, data = job.run, job.data
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    targets = make_training_targets(data, job.factors, run.training)
    return trainers[run.procedure](
        TrainingJob(run, data, targets, job.factors, job.folder, job.shared, job.progress)
    )


def write_branch(job: TrainingJob, trained: TrainedModel) -> None:
    """Write the model of `job`, and then its ``branch.json``."""
    run, layers = job.run, list_hidden_layers(trained.model)
    save_model(trained.model, job.folder / MODEL_FILE)
    summary = {
        "key": run.key,
        "procedure": run.procedure.name,
        "layer": choose_default_layer(layers) if layers else None,
        "sequence": dataclasses.asdict(run.sequence),
        "batch_size": run.training.batch_size,
        "parameters": trainable_parameters(trained.model),
        **trained.summary,
        "notes": list(trained.notes),
    }
    write_json(job.folder / BRANCH_FILE, summary)


def _write_vectors(job: TrainingJob) -> None:
    """Write the outputs of the branch's last hidden layer for all tracks of its data."""
    run, data, folder = job.run, job.data, job.folder
    layer = read_json(folder / BRANCH_FILE)["layer"]
    if layer is None:
        raise ConfigError(f"{run.key} cannot be a branch: it has no hidden layer to take track vectors from.")
    network = build_hidden_model(load_model(folder / MODEL_FILE), layer)
    rows = np.concatenate([data.train, data.unseen])
    title = f"{network.name} of tracks"
    if not run.procedure.takes_audio:
        attributes = choose_attributes(run, data.dataset.tracks, data.tables)
        assert attributes is not None  # the procedure takes them
        path = folder / ATTRIBUTES_FILE
        encoding = read_encoding(read_json(path), str(path))
        values = apply_to_vectors(network, encoding.encode(attributes.table.take(rows)))
    elif run.procedure.pools_over_time:
        with job.progress.task(title, len(rows)) as advance:
            values = apply_to_tracks(network, data.dataset, rows, advance)
    else:
        values = predict_audio(job, network, rows, title)
    write_npz(folder / VECTORS_FILE, values=values, rows=rows)
