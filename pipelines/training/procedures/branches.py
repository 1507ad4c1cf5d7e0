"""Baselines that a run is built on: each trained once, in work that runs share, and what it makes of every track.

A branch is trained as in a run of its own, on those of the tracks that have what it takes in. A track's vector is
the output of its last hidden layer; of a branch that hears sequences, the mean over those that cover the track.
"""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cs_keras.data.attributes.encoding import read_encoding
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig, prediction_windows
from cs_keras.errors import ConfigError
from cs_keras.models import load_model
from cs_keras.models.spec import WHOLE_TRACKS, Baseline, require_waveforms, trainable_parameters
from cs_keras.progress import Progress
from cs_keras.run_files.names import ATTRIBUTES_FILE, BRANCH_FILE, MODEL_FILE, VECTORS_FILE, WORK_FOLDER
from cs_keras.runs import digest, read_json, read_npz, write_json, write_npz
from cs_keras.training.hidden_layers import build_hidden_model, choose_default_layer, hidden_layers
from cs_keras.training.predict import apply_to_tracks, predict_tracks
from pipelines.training.procedures.job import Job, Trained
from pipelines.training.procedures.track_vectors import TrackVectors
from pipelines.training.requirements import attributes_digest, choose_attributes
from pipelines.training.run_artifacts import save_model
from pipelines.training.run_config import RunConfig, identity, resolve_branch
from pipelines.training.shared_cache import shared_work
from pipelines.training.targets import Matrix, Rows, Task, make_training_targets

BATCH_ITEMS = 256

Procedures = Mapping[str, Callable[[Job], Trained]]


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """A trained baseline that a run is built on.

    Attributes
    ----------
    key
        Model key.
    vectors
        Of those train and unseen tracks that have what it takes in.
    folder
        Where its model lies.
    summary
        What ``branch.json`` holds.
    """

    key: str
    vectors: TrackVectors
    folder: Path
    summary: Mapping[str, Any]


def train_branch(job: Job, key: str, has_input: Any, procedures: Procedures) -> Branch:
    """Train a branch of ``job.run``, unless that is done, and return what it makes of tracks.

    Parameters
    ----------
    job
        Of the run that the branch belongs to.
    key
        Which branch.
    has_input
        Which tracks have what it takes in, bool of shape (n_tracks,).
    procedures
        How models are trained, by name.

    Raises
    ------
    CsKerasError
        What its own run would.
    """
    run, task = resolve_branch(job.run, key), narrow(job.task, has_input)
    require_waveforms(run, task.dataset.info.audio)
    with shared_work(job.shared, branch_settings(run, task), job.progress) as folder:
        if not (folder / VECTORS_FILE).exists():
            if not (folder / BRANCH_FILE).exists():
                _train(dataclasses.replace(job, run=run, task=task, folder=folder), procedures)
            _write_vectors(run, task, folder, job.progress)
            for work in list(folder.rglob(WORK_FOLDER)):
                shutil.rmtree(work, ignore_errors=True)
        stored = read_npz(folder / VECTORS_FILE, "values", "rows")
        return Branch(
            key, TrackVectors(stored["values"], stored["rows"]), folder, read_json(folder / BRANCH_FILE)
        )


def narrow(task: Task, has_input: Any) -> Task:
    """Return `task` without the tracks that lack what a branch takes in; bool of shape (n_tracks,)."""
    if has_input[np.concatenate([task.train, task.unseen])].all():
        return task
    train, validation, unseen = (rows[has_input[rows]] for rows in (task.train, task.validation, task.unseen))
    # What is shared by runs on the same data is not shared with one on a part of them.
    data_digest = digest([task.data_digest, np.flatnonzero(has_input).tolist()])
    return dataclasses.replace(
        task, train=train, validation=validation, unseen=unseen, data_digest=data_digest
    )


def branch_settings(run: RunConfig, task: Task) -> dict[str, Any]:
    """Return all that decides a branch and its vectors."""
    settings = identity(run, attributes_digest(run, task.dataset.tracks, task.attributes))
    del settings["evaluation"]
    rows = digest([task.train.tolist(), task.unseen.tolist()])
    return {"procedure": "branch", "data_digest": task.data_digest, "tracks": rows, "run": settings}


def encode_tracks(run: Baseline, task: Task, folder: Path, rows: Rows) -> Matrix:
    """Return encoded attributes of tracks, shape (n, n_features), float32, by the encoding that `folder` holds."""
    attributes = choose_attributes(run, task.dataset.tracks, task.attributes)
    if attributes is None:
        raise ConfigError(f"{run.key} takes in no attributes.")
    path = folder / ATTRIBUTES_FILE
    return read_encoding(read_json(path), str(path)).encode(attributes.table.take(rows))


def predict_branch(
    network: keras.Model,
    dataset: Dataset,
    rows: Rows,
    is_whole: bool,
    sequence: SequenceConfig,
    batch_size: int,
    progress: Progress,
) -> Matrix:
    """Return what `network` makes of the sound of tracks, shape (n, n_numbers), float32.

    It takes whole tracks, or sequences over which the mean is taken.
    """
    n_frames = dataset.n_frames[rows]
    n = len(rows) if is_whole else len(prediction_windows(rows, n_frames, sequence, dataset.info.audio))
    with progress.task(f"{network.name} of tracks", n) as advance:
        if is_whole:
            return apply_to_tracks(network, dataset, rows, advance)
        return predict_tracks(network, dataset, rows, sequence, batch_size, advance)


def apply_to_vectors(network: keras.Model, values: Matrix) -> Matrix:
    """Return what `network` makes of vectors, shape (n, n_numbers), float32."""
    batches = np.split(values, range(BATCH_ITEMS, len(values), BATCH_ITEMS))
    return np.concatenate([np.asarray(network(batch, training=False)) for batch in batches])


def _train(job: Job, procedures: Procedures) -> None:
    """Train the job's model as a run of its own would be, and write it with its ``branch.json``, that last."""
    run, task = job.run, job.task
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    lesson = make_training_targets(task, job.factors, run.training)
    trained = procedures[run.procedure](
        Job(run, task, lesson, job.factors, job.folder, job.shared, job.progress)
    )
    layers = hidden_layers(trained.model)
    if not layers:
        raise ConfigError(
            f"{run.key} cannot be a branch: it has no hidden layer, whose output would be a track's vector."
        )
    save_model(trained.model, job.folder / MODEL_FILE)
    fitted = trained.fitted
    summary = {
        "key": run.key,
        "procedure": run.procedure,
        "layer": choose_default_layer(layers),
        "sequence": dataclasses.asdict(run.sequence),
        "batch_size": run.training.batch_size,
        "parameters": trainable_parameters(trained.model),
        "n_train_tracks": len(task.train) if trained.n_train_tracks is None else trained.n_train_tracks,
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "val_loss": fitted.history[fitted.best_epoch - 1]["val_loss"],
        "seconds": trained.seconds,
        "notes": list(trained.notes),
    }
    write_json(job.folder / BRANCH_FILE, summary)


def _write_vectors(run: RunConfig, task: Task, folder: Path, progress: Progress) -> None:
    network = build_hidden_model(load_model(folder / MODEL_FILE), read_json(folder / BRANCH_FILE)["layer"])
    rows = np.concatenate([task.train, task.unseen])
    if run.needs == "sound":
        is_whole = run.procedure in WHOLE_TRACKS
        values = predict_branch(
            network, task.dataset, rows, is_whole, run.sequence, run.training.batch_size, progress
        )
    else:
        values = apply_to_vectors(network, encode_tracks(run, task, folder, rows))
    write_npz(folder / VECTORS_FILE, values=values, rows=rows)
