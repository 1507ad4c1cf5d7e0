"""Frames to a codebook, tracks to histograms, histograms to factors.

On one device: a batch of histograms is too little work to share. Codebook and histograms are shared by all runs
whose settings before the regressor agree; a codebook also by runs that count its tones otherwise.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cs_keras import config
from cs_keras.data.batches import ArrayBatches
from cs_keras.models import bot
from cs_keras.models.regressors import HEAD_SETTINGS, join_stages
from cs_keras.training.codebook import fit_codebook
from cs_keras.training.execution import dtype_policy
from cs_keras.training.fit import Fitted
from cs_keras.training.predict import apply_to_tracks, whole_track_function
from pipelines.procedures.job import Job, Trained, fit_to_factors, kept
from pipelines.procedures.solution import solve_for_factors
from pipelines.shared import shared_work
from pipelines.task import Matrix, Rows


def train_codebook(job: Job) -> Trained:
    """Fit the codebook to frames of train tracks, then the regressor to histograms."""
    run, task = job.run, job.task
    with dtype_policy(run.execution.dtype_policy):
        features, codebook, head = bot.build_stages(run, task.targets.shape[1], task.dataset.info.audio)
    with shared_work(job.shared, _settings(job), job.progress) as folder:
        centroids = kept(folder / "codebook.npz", lambda: _fit_codebook(job, features))
        codebook.get_layer("bag_of_tones").set_codebook(centroids)
        tones = keras.Model(features.input, codebook(features.output))
        histograms = kept(folder / _histograms_file(run.model), lambda: _count(job, tones))
    train, unseen = np.split(histograms, [len(task.train)])
    bot.adapt(head, run, train)
    is_validation = np.isin(task.unseen, task.validation)
    held_out = (unseen[is_validation], task.validation)
    notes: tuple[str, ...] = ()
    if run.model.regressor == "dense":
        regressor = keras.Model(head.input, head.output, name=run.key)  # so that the whole gets no optimizer
        fitted = _fit(job, regressor, train, held_out)
    else:
        head, fitted, notes = solve_for_factors(job, head, (train, task.train), held_out, "tracks")
        regressor = head
    model = join_stages(run.key, features, codebook, head)
    return Trained(model, fitted, regressor.predict(unseen, run.training.batch_size, verbose=0), notes)


def _fit(job: Job, regressor: keras.Model, train: Matrix, held_out: tuple[Matrix, Rows]) -> Fitted:
    run, examples = job.run, job.lesson.examples
    batches = ArrayBatches(train, examples[job.task.train], run.training.batch_size, run.seed)
    pairs = (held_out[0], examples[held_out[1]])
    validation = tf.data.Dataset.from_tensor_slices(pairs).batch(run.training.batch_size)
    return fit_to_factors(job, regressor, batches, validation, "tracks")


def _settings(job: Job) -> dict[str, Any]:
    """Return all that decides the codebook; it and histograms are computed in float32 without XLA."""
    run = job.run
    model = config.to_dict(run.model)
    later = {*bot.COUNTING_SETTINGS, *HEAD_SETTINGS}
    return {
        "procedure": run.procedure,
        "data_digest": job.task.data_digest,
        "seed": run.seed,
        "train_fraction": run.train_fraction,
        "front_end": config.to_dict(run.front_end),
        "model": {name: value for name, value in model.items() if name not in later},
    }


def _histograms_file(settings: bot.Config) -> str:
    """Return a name for each way to count tones of one codebook."""
    if settings.assignment == "hard":
        return "histograms.npz"
    return f"histograms-soft-{settings.n_nearest}-{settings.bandwidth}.npz"


def _fit_codebook(job: Job, features: keras.Model) -> Matrix:
    run, task = job.run, job.task
    frames_of = whole_track_function(features)
    with job.progress.task(f"{run.key}: codebook", run.model.max_passes * len(task.train)) as advance:

        def read(row: int) -> Matrix:
            advance(1)
            return frames_of(task.dataset.read_track(row))

        return fit_codebook(read, task.train, run.model, run.seed)


def _count(job: Job, tones: keras.Model) -> Matrix:
    rows = np.concatenate([job.task.train, job.task.unseen])
    with job.progress.task(f"{job.run.key}: histograms", len(rows)) as advance:
        return apply_to_tracks(tones, job.task.dataset, rows, advance)
