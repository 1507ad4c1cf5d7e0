"""Features of all sequences by a network that is not trained, computed once; then features to factors.

On one device: features are computed once, and a batch of them is too little work to share. They are shared by all
runs whose settings before the regressor agree.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from cs_keras import config
from cs_keras.data.windows import prediction_windows
from cs_keras.errors import StorageError
from cs_keras.models import model_module
from cs_keras.models.regressors import HEAD_SETTINGS, join_stages
from cs_keras.training.execution import dtype_policy
from cs_keras.training.fit import FitResult
from cs_keras.training.sequences import SequenceBatches, Sequences, compute_sequences, predict_from_sequences
from pipelines.training.procedures.closed_form import solve_for_factors
from pipelines.training.procedures.job import Job, Trained, fit_to_factors
from pipelines.training.shared_cache import shared_work
from pipelines.training.targets import Matrix, Rows


def train_features(
    job: Job, prepare: Callable[[Job, keras.Model, Path], None] = lambda job, features, folder: None
) -> Trained:
    """Compute features, then fit the regressor to them; a track's prediction is the mean over its sequences.

    Parameters
    ----------
    job
        What is learnt.
    prepare
        Called first with the job, the network of the features and the folder of shared work: gives the network what
        it must know.
    """
    run, task, file = job.run, job.task, model_module(job.run.key)
    with dtype_policy(run.execution.dtype_policy):
        features, head = file.build_stages(run, task.targets.shape[1], task.dataset.info.audio)
    with shared_work(job.shared, _settings(job), job.progress) as folder:
        prepare(job, features, folder)
        train, unseen = hear(job, features, folder)
    file.adapt(head, run, train.values)
    notes: tuple[str, ...] = ()
    if run.model.regressor == "dense":
        regressor = keras.Model(head.input, head.output, name=run.key)  # so that the whole gets no optimizer
        fitted, predicted = train_on_sequences(job, regressor, train, unseen)
    else:
        known = unseen.of_tracks(task.validation)
        held_out = (unseen.values[known], unseen.row[known])
        head, fitted, notes = solve_for_factors(job, head, (train.values, train.row), held_out, "sequences")
        predicted = predict_from_sequences(head, unseen, task.unseen, run.training.batch_size)
    return Trained(join_stages(run.key, features, head), fitted, predicted, notes)


def hear(job: Job, network: keras.Model, folder: Path) -> tuple[Sequences, Sequences]:
    """Return what `network` makes of all sequences of the train and of the unseen tracks, kept in `folder`."""
    run, task = job.run, job.task
    counts = [_n_sequences(job, rows) for rows in (task.train, task.unseen)]
    with job.progress.task(
        f"{run.key}: {network.name.rpartition('_')[2]} of sequences", sum(counts)
    ) as advance:
        train, unseen = (
            compute_sequences(
                network,
                task.dataset,
                rows,
                run.sequence,
                run.training.batch_size,
                folder / f"{name}.f32",
                advance,
                run.execution.jit,
            )
            for name, rows in (("train", task.train), ("unseen", task.unseen))
        )
    return train, unseen


def train_on_sequences(
    job: Job, regressor: keras.Model, train: Sequences, unseen: Sequences
) -> tuple[FitResult, Matrix]:
    """Fit `regressor` from what was heard of train tracks to factors, and predict the unseen ones."""
    run, task, batch_size = job.run, job.task, job.run.training.batch_size
    batches, validation = (
        SequenceBatches(sequences, rows, job.lesson.examples, batch_size, run.seed)
        for sequences, rows in ((train, task.train), (unseen, task.validation))
    )
    fitted = fit_to_factors(job, regressor, batches, validation.in_order())
    return fitted, predict_from_sequences(regressor, unseen, task.unseen, batch_size)


def _n_sequences(job: Job, rows: Rows) -> int:
    dataset = job.task.dataset
    return len(prediction_windows(rows, dataset.n_frames[rows], job.run.sequence, dataset.info.audio))


def _settings(job: Job) -> dict[str, Any]:
    """Return all that decides the features, to the last bit."""
    run = job.run
    model, weights = config.to_dict(run.model), getattr(run.model, "weights", None)
    return {
        "procedure": run.procedure,
        "data_digest": job.task.data_digest,
        "seed": run.seed,
        "train_fraction": run.train_fraction,
        "front_end": config.to_dict(run.front_end),
        "sequence": config.to_dict(run.sequence),
        "batch_size": run.training.batch_size,
        "execution": {"dtype_policy": run.execution.dtype_policy, "jit": run.execution.jit},
        "model": {name: value for name, value in model.items() if name not in HEAD_SETTINGS},
        "weights": None if weights is None else _file_digest(Path(weights)),
    }


def _file_digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
