"""Formulas of scikit-hubness, written out pair by pair, and catalogues with planted hubs."""

import numpy as np
import pytest
import scipy.stats

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.beyond_accuracy import measure_exposure
from cs_keras.evaluation.hubness import (
    SCORES,
    measure_cosines,
    measure_neighbourhoods,
    score_mutual_proximity,
    top_k_reduced,
)
from cs_keras.evaluation.search import search
from cs_keras.evaluation.search.topk import top_k_similar
from tests.evaluation.search.full_sort import scores, top_k


def csls_by_hand(cosines: np.ndarray, n_neighbours: int = 10) -> np.ndarray:
    nearest = np.sort(cosines, axis=1)[:, ::-1][:, : min(n_neighbours, len(cosines) - 1)].mean(axis=1)
    return 2 * cosines - nearest[:, None] - nearest


def mutual_proximity_by_hand(cosines: np.ndarray) -> np.ndarray:
    """P(d(q, X) > d(q, i)) P(d(i, X) > d(q, i)), normal in the distance 1 - cosine, of each pair by itself."""
    distances, n = 1 - cosines, len(cosines)
    others = [np.delete(distances[row], row) for row in range(n)]
    found = np.full((n, n), -np.inf)
    for q in range(n):
        for i in set(range(n)) - {q}:
            found[q, i] = sum(
                scipy.stats.norm.logsf(distances[q, i], others[row].mean(), others[row].std())
                for row in (q, i)
            )
    return found


@pytest.mark.parametrize(("n", "n_factors"), [(7, 3), (60, 8)])
def test_as_by_hand(random, n, n_factors):
    factors = (random.standard_normal((n, n_factors)) + 0.5).astype(np.float32)
    cosines, queries, k = scores(factors, "cosine"), np.arange(0, n, 2), min(n - 1, 20)
    for name, expected in (
        ("csls", csls_by_hand(cosines)),
        ("mutual-proximity", mutual_proximity_by_hand(cosines)),
    ):
        found = top_k_reduced(factors, k, name, queries=queries)
        np.testing.assert_array_equal(found.indices, top_k(expected, k)[queries])
        assert not found.ties[:, :-1].any()
    means, sds = measure_cosines(factors)
    others = cosines[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    np.testing.assert_allclose(means, others.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(sds, others.std(axis=1), atol=1e-12)
    kept = score_mutual_proximity(cosines[0, 1:], (means[0], sds[0]), (means[1:], sds[1:]))
    np.testing.assert_allclose(kept, mutual_proximity_by_hand(cosines)[0, 1:], rtol=1e-9)


def test_ties_are_in_row_order_and_blocks_do_not_matter(random, monkeypatch):
    # Four copies of each of 30 tracks: each list begins with the query's copies, by row, which tie.
    factors = np.tile(random.standard_normal((30, 6)), (4, 1)).astype(np.float32)
    queries = np.arange(120)
    for name in SCORES:
        whole = top_k_reduced(factors, 5, name, queries=queries)
        copies = [[row for row in range(query % 30, 120, 30) if row != query] for query in queries]
        np.testing.assert_array_equal(whole.indices[:, :3], copies)
        assert whole.ties[:, :2].all() and not whole.ties[:, 2].any()
        with monkeypatch.context() as patch:
            patch.setattr(search, "BLOCK_SCORES", 500)
            patch.setattr(search, "LEAST_QUERIES", 7)
            blocked = top_k_reduced(factors, 5, name, queries=queries)
        np.testing.assert_array_equal(blocked.indices, whole.indices)
        some = top_k_reduced(factors, 5, name, queries=queries[::7])
        np.testing.assert_array_equal(some.indices, whole.indices[::7])


def test_close_to_a_probability_of_1_proximities_differ(random):
    # Pairs far nearer than all else: z is about 17, at which the normal distribution is 1 in float64.
    base = random.standard_normal((300, 400))
    factors = base.copy()
    factors[1:4] = base[0] + np.array([[0.1], [0.2], [0.3]]) * base[10:13]
    found = top_k_reduced(factors.astype(np.float32), 3, "mutual-proximity", queries=np.arange(1))
    np.testing.assert_array_equal(found.indices, [[1, 2, 3]])
    assert not found.ties[0, :2].any()


def test_planted_hubs_leave_the_lists_of_tracks_that_they_are_not_nearest_to(random):
    # 40 clusters of 10 tracks about directions that share a part; 3 hubs lie on the shared part, near everything.
    centres = random.standard_normal((40, 50))
    shared = np.zeros(50)
    shared[0] = 12.0
    tracks = np.repeat(centres, 10, axis=0) + 1.5 * random.standard_normal((400, 50)) + shared
    hubs = shared + 0.1 * random.standard_normal((3, 50))
    factors = np.concatenate([hubs, tracks]).astype(np.float32)
    cluster = np.concatenate([[-1, -2, -3], np.repeat(np.arange(40), 10)])
    queries = np.arange(3, 403)

    def measure(lists):
        exposure = measure_exposure(lists.indices, 403)
        in_cluster = np.mean(cluster[lists.indices] == cluster[queries][:, None])
        return exposure.occurrences[:3].mean(), exposure.hubness, exposure.never_reached, in_cluster

    plain = measure(top_k_similar(factors, 9, queries=queries))
    assert plain[0] > 300  # of 400 lists
    for name in SCORES:
        reduced = measure(top_k_reduced(factors, 9, name, queries=queries))
        assert reduced[0] < plain[0] / 5 and reduced[1] < plain[1] / 2
        assert reduced[2] < plain[2]
        assert reduced[3] > plain[3] + 0.1


def test_rows_of_zeros_equal_rows_and_few_tracks():
    zeros = np.array([[1, 0], [0, 0], [1, 0.1], [0, 0]], np.float32)
    for name in SCORES:
        found = top_k_reduced(zeros, 3, name, queries=np.arange(4))
        assert found.indices[0, 0] == 2 and found.indices[2, 0] == 0
        same = top_k_reduced(np.ones((5, 2), np.float32), 4, name, queries=np.arange(5))
        np.testing.assert_array_equal(same.indices[2], [0, 1, 3, 4])
        assert same.ties[:, :3].all()
        np.testing.assert_array_equal(
            top_k_reduced(np.eye(2), 1, name, queries=np.arange(2)).indices, [[1], [0]]
        )
    np.testing.assert_allclose(measure_neighbourhoods(np.eye(3)[[0, 0, 1]], 5), [0.5, 0.5, 0])


def test_bad_input_is_named():
    with pytest.raises(DataError, match="a single track has no neighbours"):
        top_k_reduced(np.ones((1, 2)), 1, "csls", queries=np.arange(1))
    with pytest.raises(DataError, match="k is longer"):
        top_k_reduced(np.eye(3), 3, "csls", queries=np.arange(3))
    with pytest.raises(ConfigError, match="n_neighbours"):
        measure_neighbourhoods(np.eye(3), 0)
