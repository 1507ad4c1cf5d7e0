"""Frames to a codebook, tracks to histograms, histograms to factors.

On one device: a batch of histograms is too little work to share. Codebook and histograms are shared by all runs
whose settings before the dense layers agree.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cs_keras import config
from cs_keras.data.batches import ArrayBatches
from cs_keras.models import bot
from cs_keras.models.spec import HEAD_SETTINGS
from cs_keras.training.codebook import fit_codebook
from cs_keras.training.execution import dtype_policy
from cs_keras.training.predict import apply_to_tracks, whole_track_function
from pipelines.procedures.job import Job, Trained, fit_to_factors, kept
from pipelines.shared import shared_work
from pipelines.task import Matrix


def train_codebook(job: Job) -> Trained:
    """Fit the codebook to frames of train tracks, then dense layers to histograms."""
    run, task, examples = job.run, job.task, job.lesson.examples
    with dtype_policy(run.execution.dtype_policy):
        model = bot.build(run, task.targets.shape[1], task.dataset.info.audio)
        features, codebook, head = model.layers[-3:]
        regressor = keras.Model(head.input, head.output, name=run.key)  # so that `model` gets no optimizer
    with shared_work(job.folder.parent, _settings(job), job.progress) as folder:
        centroids = kept(folder / "codebook.npz", lambda: _fit_codebook(job, features))
        codebook.get_layer("bag_of_tones").set_codebook(centroids)
        tones = keras.Model(model.input, codebook(features(model.input)))
        histograms = kept(folder / "histograms.npz", lambda: _count(job, tones))
    train, unseen = np.split(histograms, [len(task.train)])
    is_validation = np.isin(task.unseen, task.validation)
    batch_size = run.training.batch_size
    batches = ArrayBatches(train, examples[task.train], batch_size, run.seed)
    pairs = (unseen[is_validation], examples[task.validation])
    validation = tf.data.Dataset.from_tensor_slices(pairs).batch(batch_size)
    fitted = fit_to_factors(job, regressor, batches, validation, "tracks")
    return Trained(model, fitted, regressor.predict(unseen, batch_size, verbose=0))


def _settings(job: Job) -> dict[str, Any]:
    """Return all that decides codebook and histograms; both are computed in float32 without XLA."""
    run = job.run
    model = config.to_dict(run.model)
    return {
        "procedure": run.procedure,
        "data_digest": job.task.data_digest,
        "seed": run.seed,
        "train_fraction": run.train_fraction,
        "front_end": config.to_dict(run.front_end),
        "model": {name: value for name, value in model.items() if name not in HEAD_SETTINGS},
    }


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
