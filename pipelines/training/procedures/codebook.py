"""Bag of Tones: a codebook of frames, histograms of tracks, then a regressor from histograms to factors.

On one device: a batch of histograms is too little work to share. Runs whose settings before the regressor agree
share codebook and histograms; runs with other assignments still share the codebook.
"""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

from cs_keras import config
from cs_keras.models import bot
from cs_keras.models.declaration import CODEBOOK
from cs_keras.models.regressors import HEAD_SETTINGS
from cs_keras.training.execution import dtype_policy
from cs_keras.training.feature_learning.codebook import fit_codebook
from cs_keras.training.predict import apply_to_tracks, whole_track_function
from pipelines.training.procedures.job import TrainedModel, TrainingJob, cached_array
from pipelines.training.procedures.track_vectors import TrackVectors, regress, split_vectors
from pipelines.training.shared_cache import shared_work
from pipelines.training.targets import Matrix

KEPT_BYTES = 1 << 30  # frame features of all train tracks are kept for the next pass where they fit


def train_codebook(job: TrainingJob) -> TrainedModel:
    """Fit the codebook to frames of train tracks, then the regressor to histograms."""
    run, data = job.run, job.data
    with dtype_policy(run.execution.dtype_policy):
        features, codebook, head = bot.build_stages(run, data.targets.shape[1], data.dataset.info.audio)
    train, unseen = compute_histograms(job, features, codebook)
    bot.adapt(head, run, train.values)
    return regress(job, head, train, unseen, stages=(features, codebook))


def compute_histograms(
    job: TrainingJob, features: keras.Model, codebook: keras.Model
) -> tuple[TrackVectors, TrackVectors]:
    """Set the centroids of `codebook`, and return the histograms of train and of unseen tracks.

    `features` and `codebook` are the first stages of a model whose settings are a `bot.Config`.
    """
    settings = job.run.model
    if settings.assignment == "hard":
        histograms_file = "histograms.npz"
    else:
        histograms_file = f"histograms-soft-{settings.n_nearest}-{settings.bandwidth}.npz"
    with shared_work(job.shared, _settings(job), job.progress, job.folder) as folder:
        centroids = cached_array(folder / "codebook.npz", lambda: _fit_codebook(job, features))
        codebook.get_layer("bag_of_tones").set_codebook(centroids)
        tones = keras.Model(features.input, codebook(features.output))
        histograms = cached_array(folder / histograms_file, lambda: _count(job, tones))
    return split_vectors(histograms, job.data)


def _settings(job: TrainingJob) -> dict[str, Any]:
    """Return all settings that decide the codebook, which is computed in float32 without XLA."""
    run = job.run
    later = {*bot.COUNTING_SETTINGS, *HEAD_SETTINGS}
    own = {field.name for field in dataclasses.fields(bot.Config)} - later
    return {
        "procedure": CODEBOOK.name,  # also for others that share it
        "data_digest": job.data.data_digest,
        "seed": run.seed,
        "train_fraction": run.train_fraction,
        "front_end": config.to_dict(run.front_end),
        "model": {name: value for name, value in config.to_dict(run.model).items() if name in own},
    }


def _fit_codebook(job: TrainingJob, features: keras.Model) -> Matrix:
    run, data = job.run, job.data
    frames_of = whole_track_function(features)

    def compute(row: int) -> Matrix:
        return frames_of(data.dataset.read_track(row))

    if data.dataset.n_frames[data.train].sum() * run.model.n_features * 4 <= KEPT_BYTES:
        compute = functools.cache(compute)
    with job.progress.task(f"{run.key}: codebook", run.model.max_passes * len(data.train)) as advance:

        def read(row: int) -> Matrix:
            advance(1)
            return compute(row)

        return fit_codebook(read, data.train, run.model, run.seed)


def _count(job: TrainingJob, tones: keras.Model) -> Matrix:
    rows = np.concatenate([job.data.train, job.data.unseen])
    with job.progress.task(f"{job.run.key}: histograms", len(rows)) as advance:
        return apply_to_tracks(tones, job.data.dataset, rows, advance)
