"""Frames to a codebook, tracks to histograms, histograms to factors.

On one device: a batch of histograms is too little work to share. Codebook and histograms are shared by all runs
whose settings before the regressor agree; a codebook also by runs that count its tones otherwise.
"""

import dataclasses
from typing import Any

import keras
import numpy as np

from cs_keras import config
from cs_keras.models import bot
from cs_keras.models.regressors import HEAD_SETTINGS, join_stages
from cs_keras.training.execution import dtype_policy
from cs_keras.training.feature_learning.codebook import fit_codebook
from cs_keras.training.predict import apply_to_tracks, whole_track_function
from pipelines.training.procedures.job import Job, Trained, kept
from pipelines.training.procedures.track_vectors import TrackVectors, regress
from pipelines.training.shared_cache import shared_work
from pipelines.training.targets import Matrix


def train_codebook(job: Job) -> Trained:
    """Fit the codebook to frames of train tracks, then the regressor to histograms."""
    run, task = job.run, job.task
    with dtype_policy(run.execution.dtype_policy):
        features, codebook, head = bot.build_stages(run, task.targets.shape[1], task.dataset.info.audio)
    train, unseen = count_tones(job, features, codebook)
    bot.adapt(head, run, train.values)
    regressed = regress(job, head, train, unseen)
    model = join_stages(run.key, features, codebook, regressed.head)
    return Trained(model, regressed.fitted, regressed.predicted, regressed.notes)


def count_tones(job: Job, features: keras.Model, codebook: keras.Model) -> tuple[TrackVectors, TrackVectors]:
    """Give `codebook` its centroids, and return the histograms of train and of unseen tracks.

    Parameters
    ----------
    job
        What is learnt; its model's settings are a `bot.Config`, or begin with one.
    features, codebook
        Of `bot.build_features` and `bot.build_codebook`.
    """
    task = job.task
    with shared_work(job.shared, _settings(job), job.progress) as folder:
        centroids = kept(folder / "codebook.npz", lambda: _fit_codebook(job, features))
        codebook.get_layer("bag_of_tones").set_codebook(centroids)
        tones = keras.Model(features.input, codebook(features.output))
        histograms = kept(folder / _histograms_file(job.run.model), lambda: _count(job, tones))
    train, unseen = np.split(histograms, [len(task.train)])
    return TrackVectors(train, task.train), TrackVectors(unseen, task.unseen)


def _settings(job: Job) -> dict[str, Any]:
    """Return all that decides the codebook; it and histograms are computed in float32 without XLA."""
    run = job.run
    later = {*bot.COUNTING_SETTINGS, *HEAD_SETTINGS}
    own = {field.name for field in dataclasses.fields(bot.Config)} - later
    return {
        "procedure": "codebook",  # whoever shares it
        "data_digest": job.task.data_digest,
        "seed": run.seed,
        "train_fraction": run.train_fraction,
        "front_end": config.to_dict(run.front_end),
        "model": {name: value for name, value in config.to_dict(run.model).items() if name in own},
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
