"""Metric learning to rank: histograms to coordinates under a learnt metric, then coordinates to factors."""

import dataclasses

import numpy as np
from sklearn.decomposition import PCA

from cs_keras.evaluation.search.topk import top_k_similar
from cs_keras.models import mlr
from cs_keras.training.execution import dtype_policy
from cs_keras.training.feature_learning.metric_learning import learn_metric
from pipelines.training.procedures.codebook import compute_histograms
from pipelines.training.procedures.job import TrainedModel, TrainingJob, cached_array
from pipelines.training.procedures.track_vectors import TrackVectors, regress
from pipelines.training.targets import Matrix

MIN_VARIANCE = 1e-12  # of the first component, whose standard deviation scales all


def train_ranking(job: TrainingJob) -> TrainedModel:
    """Learn the metric from train tracks and their factors, then the regressor."""
    run, data = job.run, job.data
    with dtype_policy(run.execution.dtype_policy):
        features, codebook, metric, head = mlr.build_stages(
            run, data.targets.shape[1], data.dataset.info.audio
        )
    train, unseen = compute_histograms(job, features, codebook)
    roots = np.sqrt(train.values)
    mean, kernel = roots.mean(axis=0), cached_array(job.work / "metric.npz", lambda: _learn(job, roots))
    mlr.set_metric(metric, mean, kernel)
    coordinates = [TrackVectors((np.sqrt(one.values) - mean) @ kernel, one.rows) for one in (train, unseen)]
    notes = ("similarity of tracks is Euclidean distance under the learnt metric",)
    trained = regress(
        job, head, coordinates[0], coordinates[1], stages=(features, codebook, metric), notes=notes
    )
    return dataclasses.replace(trained, coordinates=coordinates[1].values)


def _learn(job: TrainingJob, roots: Matrix) -> Matrix:
    """Learn the map from centred square roots of histograms to coordinates, shape (n_centroids, n_components)."""
    run, config = job.run, job.run.model
    n = min(config.n_components, *roots.shape)
    components = PCA(n, svd_solver="full").fit(roots)
    # The metric starts from one scale for all components, which preserves their relative variances.
    scale = 1 / np.sqrt(max(components.explained_variance_[0], MIN_VARIANCE))
    n_relevant = max(1, min(config.n_relevant, (len(roots) - 1) // 2))  # leaves irrelevant tracks to compare
    relevant = top_k_similar(job.data.item_factors[job.data.train], n_relevant).indices.astype(np.int64)

    def report_epoch(number: int, loss: float) -> None:
        job.log(f"pass {number} of {config.ranking.epochs}, ranking loss {loss:.4f}")

    root = learn_metric(components.transform(roots) * scale, relevant, config.ranking, run.seed, report_epoch)
    kernel = np.zeros((roots.shape[1], config.n_components), np.float32)
    kernel[:, :n] = components.components_.T * scale @ root
    return kernel
