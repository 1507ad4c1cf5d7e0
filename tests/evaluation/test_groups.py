import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.groups import assign_popularity_groups, measure_group_means, measure_group_ndcg
from cs_keras.evaluation.ranking import ndcg_at_k
from cs_keras.evaluation.search.topk import top_k_dot
from cs_keras.evaluation.statistics.resampling import bootstrap_interval


def test_means_of_groups(random):
    values = random.random(50)
    labels = np.where(np.arange(50) < 49, np.arange(50) % 2, 7)
    even, odd, single = measure_group_means(values, labels)
    assert [row.group for row in (even, odd, single)] == [0, 1, 7]
    assert (even.n, even.mean) == (25, pytest.approx(values[:49:2].mean()))
    assert (even.low, even.high) == bootstrap_interval(values[:49:2])
    assert (single.n, single.mean, single.low, single.high) == (1, values[49], None, None)
    assert sum(row.n * row.mean for row in (even, odd, single)) == pytest.approx(values.sum())


def test_labels_of_any_kind():
    values = [0.0, 1.0, 1.0]
    assert [row.group for row in measure_group_means(values, ["b", "a", "b"])] == ["a", "b"]
    assert [(row.group, row.mean) for row in measure_group_means(values, [True, False, False])] == [
        (False, 1),
        (True, 0),
    ]


def test_popularity_quantiles_keep_ties_together():
    np.testing.assert_array_equal(assign_popularity_groups([5, 1, 8, 3], 4), [2, 0, 3, 1])
    np.testing.assert_array_equal(assign_popularity_groups([5, 1, 8, 3, 9, 4], 2), [1, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(assign_popularity_groups([0, 0, 0, 0, 0, 2], 3), [0, 0, 0, 0, 0, 2])
    np.testing.assert_array_equal(assign_popularity_groups([7, 7], 4), [0, 0])


def test_popularity_groups_of_different_counts_are_even(random):
    sizes = np.bincount(assign_popularity_groups(random.permutation(103), 4))
    assert sizes.sum() == 103 and sizes.max() - sizes.min() <= 1


def test_bad_input_is_named():
    with pytest.raises(DataError, match=r"each of the 2 values. Received: shape \(3,\)"):
        measure_group_means([0.0, 1.0], [0, 1, 1])
    with pytest.raises(DataError, match="finite"):
        measure_group_means([0.0, np.nan], [0, 1])
    with pytest.raises(ConfigError, match="n_groups"):
        assign_popularity_groups([1, 2], 0)


RANDOM = np.random.default_rng(0)
PLAYLISTS = RANDOM.standard_normal((40, 5)).astype(np.float32)
ITEMS = RANDOM.standard_normal((30, 5)).astype(np.float32)
HELD_OUT = scipy.sparse.csr_matrix(RANDOM.random((40, 30)) < 0.1, dtype=np.float32)


@pytest.mark.parametrize("k", [1, 7, 30])
def test_each_group_is_the_ndcg_of_its_own_columns(k: int) -> None:
    groups = RANDOM.integers(0, 3, 30)
    found = measure_group_ndcg(top_k_dot(PLAYLISTS, ITEMS, k), HELD_OUT, groups)
    assert list(found) == [0, 1, 2]
    for label, values in found.items():
        columns = HELD_OUT.multiply((groups == label)[np.newaxis]).tocsr()
        np.testing.assert_allclose(values, ndcg_at_k(PLAYLISTS, ITEMS, columns, k), rtol=1e-12)


def test_one_group_is_the_ordinary_ndcg() -> None:
    found = measure_group_ndcg(top_k_dot(PLAYLISTS, ITEMS, 10), HELD_OUT, np.ones(30, dtype=bool))
    np.testing.assert_allclose(found[True], ndcg_at_k(PLAYLISTS, ITEMS, HELD_OUT, 10), rtol=1e-12)


def test_what_does_not_match_is_reported() -> None:
    with pytest.raises(DataError, match=r"expected shapes \(40, 30\) and \(30,\)"):
        measure_group_ndcg(top_k_dot(PLAYLISTS, ITEMS, 3), HELD_OUT, np.ones(29))
