"""Metric learning to rank: a Mahalanobis distance under which a track's nearest neighbours are its relevant ones.

McFee and Lanckriet, "Metric Learning to Rank" (ICML 2010), with their loss for the area under the ROC curve. They
take cutting planes; here the same convex objective is minimised by projected stochastic subgradients, which need no
solver and no more memory than a batch.

For a query q with relevant tracks P and others N, scores s_i = -(q - x_i)ᵀ W (q - x_i) and the loss 1 - AUC, the
ranking that violates the margin most swaps exactly the pairs with s_i - s_j < 1/2, so the slack is

    ξ_q = Σ_{i in P, j in N} max(0, 1 - 2 (s_i - s_j)) / (|P| |N|),

and W ⪰ 0 minimises  tr(W) / C + the mean of ξ_q over queries.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.models.mlr import RankingConfig

Matrix = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


def learn_metric(
    features: npt.ArrayLike,
    relevant: Rows,
    config: RankingConfig,
    seed: int,
    on_epoch: Callable[[int, float], None] = lambda number, loss: None,
) -> Matrix:
    """Return the matrix L that maps features to vectors whose Euclidean distances are the learnt metric's.

    Parameters
    ----------
    features : array_like, shape (n_tracks, n_features)
        Centred, of comparable scale: the metric starts at the identity.
    relevant : ndarray of int64, shape (n_tracks, n_relevant)
        For each track, as a query, the rows of its relevant tracks; never itself.
    seed
        Seed of the order of queries and of the sampled irrelevant tracks.

    Returns
    -------
    ndarray of float64, shape (n_features, n_features)
        L with W = L Lᵀ, which maps a row x to x L. W is the average of the second half of the iterates, for which
        subgradient methods converge.

    Raises
    ------
    DataError
        Every other track is relevant to each, so that there is nothing to rank.
    """
    x = np.asarray(features, np.float64)
    n, d = x.shape
    if relevant.shape[1] >= n - 1:
        raise DataError(
            f"Ranking needs tracks that are not relevant: expected more than {relevant.shape[1] + 1} train tracks. "
            f"Received: {n}."
        )
    # No query's subgradient is longer than twice the largest squared distance, which bounds the step length.
    reach = 4 * float(np.square(x).sum(axis=1).max()) or 1.0
    random = np.random.default_rng(seed)
    metric, mean, n_steps, n_averaged = np.eye(d), np.zeros((d, d)), 0, 0
    for epoch in range(config.epochs):
        order, losses = random.permutation(n), []
        for first in range(0, n, config.batch_size):
            n_steps += 1
            gradient = np.eye(d) / config.C
            queries = order[first : first + config.batch_size]
            for query in queries.tolist():
                others = _others(n, query, relevant[query], config.max_others, random)
                loss, part = _slack(x, metric, query, relevant[query], others)
                gradient += part / len(queries)
                losses.append(loss)
            metric = _nearest_metric(metric - config.step * d / reach / np.sqrt(n_steps) * gradient)
            if epoch >= config.epochs // 2:
                n_averaged += 1
                mean += (metric - mean) / n_averaged
        on_epoch(epoch + 1, float(np.mean(losses)))
    return _root(mean)


def _others(n: int, query: int, relevant: Rows, most: int, random: np.random.Generator) -> Rows:
    """Return tracks that are neither the query nor relevant to it."""
    is_other = np.ones(n, np.bool_)
    is_other[relevant] = is_other[query] = False
    others = np.flatnonzero(is_other)
    return others if len(others) <= most else random.choice(others, most, replace=False)


def _slack(x: Matrix, metric: Matrix, query: int, relevant: Rows, others: Rows) -> tuple[float, Matrix]:
    """Return a query's slack and its subgradient with respect to the metric."""
    positive, negative = x[relevant] - x[query], x[others] - x[query]
    near = np.einsum("nd,nd->n", positive @ metric, positive)  # distances: the negated scores
    far = np.einsum("nd,nd->n", negative @ metric, negative)
    margin = 1 - 2 * (far - near[:, np.newaxis])
    violated = margin > 0
    scale = 1 / margin.size
    gradient = (
        2
        * scale
        * (
            (positive * violated.sum(axis=1)[:, np.newaxis]).T @ positive
            - (negative * violated.sum(axis=0)[:, np.newaxis]).T @ negative
        )
    )
    return float(margin[violated].sum() * scale), gradient


def _nearest_metric(matrix: Matrix) -> Matrix:
    """Return the nearest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)


def _root(metric: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(metric)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))
