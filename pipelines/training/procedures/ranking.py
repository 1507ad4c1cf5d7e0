"""Tracks to histograms, histograms to places under a metric that is learnt to rank, places to factors."""

import numpy as np
from sklearn.decomposition import PCA

from cs_keras.evaluation.search.topk import top_k_similar
from cs_keras.models import mlr
from cs_keras.models.regressors import join_stages
from cs_keras.training.execution import dtype_policy
from cs_keras.training.feature_learning.metric_learning import learn_metric
from pipelines.training.procedures.codebook import count_tones
from pipelines.training.procedures.job import Job, Trained, kept
from pipelines.training.procedures.track_vectors import TrackVectors, regress
from pipelines.training.targets import Matrix

LEAST_VARIANCE = 1e-12  # of the first component, by which all are scaled


def train_ranking(job: Job) -> Trained:
    """Learn the metric from train tracks and their factors, then the regressor."""
    run, task = job.run, job.task
    with dtype_policy(run.execution.dtype_policy):
        features, codebook, metric, head = mlr.build_stages(
            run, task.targets.shape[1], task.dataset.info.audio
        )
    train, unseen = count_tones(job, features, codebook)
    roots = np.sqrt(train.values)
    mean, kernel = roots.mean(axis=0), kept(job.work / "metric.npz", lambda: _learn(job, roots))
    mlr.set_metric(metric, mean, kernel)
    placed = [TrackVectors((np.sqrt(one.values) - mean) @ kernel, one.rows) for one in (train, unseen)]
    regressed = regress(job, head, *placed)
    model = join_stages(run.key, features, codebook, metric, regressed.head)
    notes = (
        "its similar tracks are near by Euclidean distance under the metric that it learnt",
        *regressed.notes,
    )
    return Trained(model, regressed.fitted, regressed.predicted, notes, places=placed[1].values)


def _learn(job: Job, roots: Matrix) -> Matrix:
    """Return what leads from square roots of histograms, less their mean, to places, shape (n_centroids, n)."""
    run, config = job.run, job.run.model
    n = min(config.n_components, *roots.shape)
    components = PCA(n, svd_solver="full").fit(roots)
    # The metric starts from one scale for all: the components' own variances tell more from less.
    scale = 1 / np.sqrt(max(components.explained_variance_[0], LEAST_VARIANCE))
    n_relevant = max(
        1, min(config.n_relevant, (len(roots) - 1) // 2)
    )  # there must be others to come after them
    relevant = top_k_similar(job.task.item_factors[job.task.train], n_relevant).indices.astype(np.int64)

    def tell(number: int, loss: float) -> None:
        job.progress.log(f"{run.key}: pass {number} of {config.ranking.epochs}, ranking loss {loss:.4f}")

    root = learn_metric(components.transform(roots) * scale, relevant, config.ranking, run.seed, tell)
    kernel = np.zeros((roots.shape[1], config.n_components), np.float32)
    kernel[:, :n] = components.components_.T * scale @ root
    return kernel
