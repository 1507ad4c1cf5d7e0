"""Precomputed features: a frozen network computes features of all sequences once, then a regressor is fitted.

On one device: a batch of features is too little work to share. Runs whose settings before the regressor agree share
features.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import keras

from cs_keras import config
from cs_keras.errors import StorageError
from cs_keras.models import model_module
from cs_keras.models.declaration import StagedModelFile
from cs_keras.models.regressors import HEAD_SETTINGS, join_stages
from cs_keras.training.execution import dtype_policy
from cs_keras.training.fit import FitResult
from cs_keras.training.sequences import SequenceBatches, Sequences, compute_sequences, predict_from_sequences
from pipelines.training.procedures.job import TrainedModel, TrainingJob, fit_to_factors, solve_for_factors
from pipelines.training.procedures.regression import count_sequences
from pipelines.training.shared_cache import shared_work
from pipelines.training.targets import Matrix


def train_features(
    job: TrainingJob,
    prepare: Callable[[TrainingJob, keras.Model, Path], None] = lambda job, features, folder: None,
) -> TrainedModel:
    """Compute features, then fit the regressor to them; a track's prediction is the mean over its sequences.

    `prepare` is called first with the job, the network of the features and the folder of shared work, to set the
    weights of the network.
    """
    run, data, file = job.run, job.data, cast(StagedModelFile, model_module(job.run.key))
    with dtype_policy(run.execution.dtype_policy):
        features, head = file.build_stages(run, data.targets.shape[1], data.dataset.info.audio)
    with shared_work(job.shared, _settings(job), job.progress, job.folder) as folder:
        prepare(job, features, folder)
        train, unseen = compute_split_sequences(job, features, folder)
    file.adapt(head, run, train.values)
    notes: tuple[str, ...] = ()
    if not run.model.is_solved:
        regressor = keras.Model(head.input, head.output, name=run.key)  # `head` itself gets no optimizer
        fitted, predicted = train_on_sequences(job, regressor, train, unseen)
    else:
        known = unseen.of_tracks(data.validation)
        held_out = (unseen.values[known], unseen.row[known])
        solved = solve_for_factors(job, head, (train.values, train.row), held_out, "sequences")
        head, fitted, notes = solved.head, solved.fitted, solved.notes
        predicted = predict_from_sequences(head, unseen, data.unseen, run.training.batch_size)
    return TrainedModel(join_stages(run.key, features, head), fitted, predicted, len(data.train), notes)


def compute_split_sequences(
    job: TrainingJob, network: keras.Model, folder: Path
) -> tuple[Sequences, Sequences]:
    """Compute the output of `network` for all sequences of train and unseen tracks, cached in `folder`."""
    run, data = job.run, job.data
    n = sum(count_sequences(job, rows) for rows in (data.train, data.unseen))
    with job.progress.task(f"{run.key}: {network.name.rpartition('_')[2]} of sequences", n) as advance:
        train, unseen = (
            compute_sequences(
                network,
                data.dataset,
                rows,
                run.sequence,
                run.training.batch_size,
                folder / f"{name}.f32",
                advance,
                run.execution.jit,
            )
            for name, rows in (("train", data.train), ("unseen", data.unseen))
        )
    return train, unseen


def train_on_sequences(
    job: TrainingJob, regressor: keras.Model, train: Sequences, unseen: Sequences
) -> tuple[FitResult, Matrix]:
    """Fit `regressor` to sequences of train tracks, and predict the unseen tracks."""
    run, data, batch_size = job.run, job.data, job.run.training.batch_size
    batches, validation = (
        SequenceBatches(sequences, rows, job.targets.examples, batch_size, run.seed)
        for sequences, rows in ((train, data.train), (unseen, data.validation))
    )
    known = unseen.of_tracks(data.validation)
    held_out = Sequences(unseen.values[known], unseen.row[known])
    fitted = fit_to_factors(
        job,
        regressor,
        batches,
        validation.one_pass(),
        data.validation,
        lambda: predict_from_sequences(regressor, held_out, data.validation, batch_size),
    )
    return fitted, predict_from_sequences(regressor, unseen, data.unseen, batch_size)


def _settings(job: TrainingJob) -> dict[str, Any]:
    """Return all settings that decide the features."""
    run = job.run
    model, weights = config.to_dict(run.model), run.model.weights
    return {
        "procedure": run.procedure.name,
        "data_digest": job.data.data_digest,
        "seed": run.seed,
        "train_fraction": run.train_fraction,
        "front_end": config.to_dict(run.front_end),
        "sequence": config.to_dict(run.sequence),
        "batch_size": run.training.batch_size,
        "execution": {"dtype_policy": run.execution.dtype_policy, "jit": run.execution.jit},
        "model": {name: value for name, value in model.items() if name not in HEAD_SETTINGS},
        "weights": None if weights is None else _hash_weights(Path(weights)),
    }


def _hash_weights(path: Path) -> str:
    """Return a digest of the content of a file, or of all files in a folder."""
    state = hashlib.blake2b(digest_size=16)
    try:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if not file.is_dir():
                state.update(file.read_bytes())
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
    return state.hexdigest()
