"""Patches of train tracks to kernels, by spherical k-means; then as for features that are not trained.

Kernels are shared by all runs whose settings before the regressor agree, each scale's kept as soon as it is found.
"""

from pathlib import Path

import keras
import numpy as np

from cs_keras.models import multiscale
from cs_keras.training.feature_learning.spectrogram_patches import PatchConfig, sample_patches
from cs_keras.training.feature_learning.spherical_kmeans import (
    SphericalKMeansConfig,
    fit_spherical_kmeans,
    fit_whitening,
    linear_kernels,
)
from pipelines.training.procedures.features import train_features
from pipelines.training.procedures.job import Job, Trained, kept
from pipelines.training.targets import Matrix


def train_kernels(job: Job) -> Trained:
    """Find kernels, compute features with them, then fit the regressor."""
    return train_features(job, _learn)


def _learn(job: Job, features: keras.Model, folder: Path) -> None:
    """Give the network of the features its kernels, found in train tracks alone."""
    n_scales = job.run.model.n_scales
    with job.progress.task(f"{job.run.key}: kernels", n_scales) as advance:
        for scale in range(1, n_scales + 1):
            learnt = kept(folder / f"kernels-{scale}.npz", lambda scale=scale: _fit(job, features, scale))  # type: ignore[misc]
            multiscale.set_kernels(features, scale, learnt[:-1], learnt[-1])
            advance(1)


def _fit(job: Job, features: keras.Model, scale: int) -> Matrix:
    """Return the kernels of one scale, shape (patch_frames * n_mels + 1, n_centroids), their bias last."""
    run, task, model = job.run, job.task, job.run.model
    spectrogram = keras.Model(features.input, features.get_layer(multiscale.kernels_name(scale)).input)
    of_patches = PatchConfig(model.patch_frames, model.n_patches, model.sequence_patches)
    patches = sample_patches(spectrogram, task.dataset, task.train, run.sequence, of_patches, run.seed)
    whitening = fit_whitening(patches, model.variance)
    white = (patches - whitening.mean.astype(np.float32)) @ whitening.matrix.astype(np.float32)
    config = SphericalKMeansConfig(model.n_centroids, model.max_passes)
    return np.vstack(linear_kernels(whitening, fit_spherical_kmeans(white, config, run.seed)))
