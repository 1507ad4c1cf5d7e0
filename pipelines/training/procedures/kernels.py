"""Unsupervised kernels: spherical k-means on patches of train tracks, then precomputed features.

Runs whose settings before the regressor agree share kernels; those of each scale are stored as soon as they are
found.
"""

import functools
from pathlib import Path

import keras
import numpy as np

from cs_keras.models import multiscale
from cs_keras.training.feature_learning.spectrogram_patches import sample_patches
from cs_keras.training.feature_learning.spherical_kmeans import (
    SphericalKMeansConfig,
    fit_spherical_kmeans,
    fit_whitening,
    linear_kernels,
)
from pipelines.training.procedures.features import train_features
from pipelines.training.procedures.job import TrainedModel, TrainingJob, cached_array
from pipelines.training.targets import Matrix


def train_kernels(job: TrainingJob) -> TrainedModel:
    """Find kernels, compute features with them, then fit the regressor."""
    return train_features(job, _learn)


def _learn(job: TrainingJob, features: keras.Model, folder: Path) -> None:
    """Set the kernels of the feature network, learnt from train tracks only."""
    n_scales = job.run.model.n_scales
    with job.progress.task(f"{job.run.key}: kernels", n_scales) as advance:
        for scale in range(1, n_scales + 1):
            fit = functools.partial(_fit, job, features, scale)
            learnt = cached_array(folder / f"kernels-{scale}.npz", fit)
            multiscale.set_kernels(features, scale, learnt[:-1], learnt[-1])
            advance(1)


def _fit(job: TrainingJob, features: keras.Model, scale: int) -> Matrix:
    """Learn the kernels of one scale, shape (patch_frames * n_mels + 1, n_centroids), with the bias last."""
    run, data, model = job.run, job.data, job.run.model
    spectrogram = keras.Model(features.input, features.get_layer(multiscale.kernels_name(scale)).input)
    patches = sample_patches(spectrogram, data.dataset, data.train, run.sequence, model, run.seed)
    whitening = fit_whitening(patches, model.variance)
    white = (patches - whitening.mean.astype(np.float32)) @ whitening.matrix.astype(np.float32)
    config = SphericalKMeansConfig(model.n_centroids, model.max_passes)
    return np.vstack(linear_kernels(whitening, fit_spherical_kmeans(white, config, run.seed)))
