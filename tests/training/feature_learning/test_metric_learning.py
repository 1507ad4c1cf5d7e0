"""Metric learning to rank, on data where the right metric is known."""

import numpy as np
import pytest
import scipy.optimize

from cs_keras.errors import ConfigError, DataError
from cs_keras.models.mlr import RankingConfig
from cs_keras.training.feature_learning.metric_learning import _slack, learn_metric


def ranking_auc(vectors: np.ndarray, relevant: np.ndarray) -> float:
    """Return the mean AUC of ranking all other tracks by distance, with a track's relevant ones as positives."""
    x = np.asarray(vectors, np.float64)
    values = []
    for query, positive in enumerate(relevant):
        distance = np.square(x - x[query]).sum(axis=1)
        negative = np.setdiff1d(np.arange(len(x)), [query, *positive])
        pairs = distance[positive][:, np.newaxis] - distance[negative]
        values.append(np.mean((pairs < 0) + 0.5 * (pairs == 0)))
    return float(np.mean(values))


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray]:
    """Features of which the first two alone say who is relevant, and the five nearest by those."""
    x = np.random.default_rng(0).normal(size=(150, 8)) * [1, 1, 2, 2, 2, 2, 2, 2]
    distance = np.square(x[:, None, :2] - x[None, :, :2]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return x, np.argsort(distance, axis=1)[:, :5]


def test_the_right_metric_is_found(planted: tuple[np.ndarray, np.ndarray]) -> None:
    x, relevant = planted
    losses: list[float] = []
    root = learn_metric(x, relevant, RankingConfig(epochs=40), 0, lambda number, loss: losses.append(loss))
    assert ranking_auc(x, relevant) < 0.75
    assert ranking_auc(x @ root, relevant) > 0.97
    metric = root @ root.T
    assert np.trace(metric[:2, :2]) > 0.9 * np.trace(metric)
    assert losses[-1] < 0.5 * losses[0]


def test_it_works_for_tracks_it_has_not_seen(planted: tuple[np.ndarray, np.ndarray]) -> None:
    x, relevant = planted
    new = np.random.default_rng(1).normal(size=(100, 8)) * [1, 1, 2, 2, 2, 2, 2, 2]
    distance = np.square(new[:, None, :2] - new[None, :, :2]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1)[:, :5]
    root = learn_metric(x, relevant, RankingConfig(epochs=40), 0)
    assert ranking_auc(new @ root, near) > ranking_auc(new, near) + 0.15


def test_the_subgradient_is_that_of_the_slack(planted: tuple[np.ndarray, np.ndarray]) -> None:
    x, relevant = planted
    rng = np.random.default_rng(2)
    root = rng.normal(size=(8, 8)) / 4
    metric, others = root @ root.T, np.setdiff1d(np.arange(150), [3, *relevant[3]])
    _, gradient = _slack(x, metric, 3, relevant[3], others)

    def slack(flat: np.ndarray) -> float:
        return _slack(x, flat.reshape(8, 8), 3, relevant[3], others)[0]

    numeric = scipy.optimize.approx_fprime(metric.ravel(), slack, 1e-7)
    np.testing.assert_allclose(gradient.ravel(), numeric, atol=1e-4)


def test_the_slack_bounds_one_less_auc(planted: tuple[np.ndarray, np.ndarray]) -> None:
    x, relevant = planted
    metric = np.diag([1.0, 1, 0, 0, 0, 0, 0, 0])
    for query in range(20):
        others = np.setdiff1d(np.arange(150), [query, *relevant[query]])
        loss, _ = _slack(x, metric, query, relevant[query], others)
        right, wrong = (
            np.square((x[rows] - x[query])[:, :2]).sum(axis=1) for rows in (relevant[query], others)
        )
        assert loss >= 1 - np.mean(right[:, None] < wrong) - 1e-12


def test_a_strong_trace_penalty_shrinks_the_metric(planted: tuple[np.ndarray, np.ndarray]) -> None:
    x, relevant = planted
    weak, strong = (learn_metric(x, relevant, RankingConfig(C=c, epochs=10), 0) for c in (1e6, 1e-2))
    assert np.square(strong).sum() < 0.5 * np.square(weak).sum()


def test_the_same_seed_gives_the_same_metric(planted: tuple[np.ndarray, np.ndarray]) -> None:
    x, relevant = planted
    config = RankingConfig(epochs=2, max_others=20)
    first, again, other = (learn_metric(x, relevant, config, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(DataError, match="more than 3 train tracks. Received: 3"):
        learn_metric(np.eye(3), np.array([[1, 2], [0, 2], [0, 1]]), RankingConfig(), 0)
    with pytest.raises(ConfigError, match="model.ranking.C must be above 0"):
        RankingConfig(C=0)
