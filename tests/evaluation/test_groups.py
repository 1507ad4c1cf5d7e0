import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.groups import assign_popularity_groups, measure_group_ndcg, measure_group_overlap
from cs_keras.evaluation.overlap import compare_lists
from cs_keras.evaluation.ranking import ndcg_at_k
from cs_keras.evaluation.search.topk import top_k_dot, top_k_similar


def test_popularity_quantiles_keep_ties_together():
    np.testing.assert_array_equal(assign_popularity_groups([5, 1, 8, 3], 4), [2, 0, 3, 1])
    np.testing.assert_array_equal(assign_popularity_groups([5, 1, 8, 3, 9, 4], 2), [1, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(assign_popularity_groups([0, 0, 0, 0, 0, 2], 3), [0, 0, 0, 0, 0, 2])
    np.testing.assert_array_equal(assign_popularity_groups([7, 7], 4), [0, 0])


def test_popularity_groups_of_different_counts_are_even(random):
    sizes = np.bincount(assign_popularity_groups(random.permutation(103), 4))
    assert sizes.sum() == 103 and sizes.max() - sizes.min() <= 1


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match="n_groups"):
        assign_popularity_groups([1, 2], 0)


RANDOM = np.random.default_rng(0)
PLAYLISTS = RANDOM.standard_normal((40, 5)).astype(np.float32)
ITEMS = RANDOM.standard_normal((30, 5)).astype(np.float32)
OTHERS = ITEMS + RANDOM.standard_normal((30, 5)).astype(np.float32)
HELD_OUT = scipy.sparse.csr_matrix(RANDOM.random((40, 30)) < 0.1, dtype=np.float32)
GROUPS = np.array(["b", "a", "c"])[RANDOM.integers(0, 3, 30)]


@pytest.mark.parametrize("filtered", [False, True])
def test_overlap_of_groups_is_that_of_their_queries(filtered: bool) -> None:
    artists = np.arange(30) // 3
    lists = [top_k_similar(one, 29) for one in (ITEMS, OTHERS)]
    found = measure_group_overlap(*lists, 4, GROUPS, artists, filtered)
    (every,) = compare_lists(*lists, (4,), artists=artists, filtered=filtered, n_permutations=0, seed=0)
    assert [(one.group, one.n) for one in found] == [(label, (label == GROUPS).sum()) for label in "abc"]
    for one in found:
        assert one.mean == pytest.approx(every.shares[one.group == GROUPS].mean())
        assert one.low is not None and one.high is not None and one.low <= one.mean <= one.high
    assert measure_group_overlap(*lists, 4, GROUPS == "a", np.full(30, -1), filtered=True) == []


@pytest.mark.parametrize("k", [1, 7, 30])
def test_ndcg_of_a_group_is_that_of_its_own_columns(k: int) -> None:
    found = measure_group_ndcg(top_k_dot(PLAYLISTS, ITEMS, 30), HELD_OUT, k, GROUPS)
    for one in found:
        columns = HELD_OUT.multiply((one.group == GROUPS)[np.newaxis]).tocsr()
        values = ndcg_at_k(PLAYLISTS, ITEMS, columns, k)
        assert one.n == np.count_nonzero(~np.isnan(values))
        assert one.mean == pytest.approx(np.nanmean(values), rel=1e-12)
    assert [one.group for one in found] == ["a", "b", "c"]
    (every,) = measure_group_ndcg(top_k_dot(PLAYLISTS, ITEMS, 30), HELD_OUT, k, np.ones(30, dtype=bool))
    assert every.mean == pytest.approx(np.nanmean(ndcg_at_k(PLAYLISTS, ITEMS, HELD_OUT, k)), rel=1e-12)


def test_what_does_not_match_is_reported() -> None:
    lists = top_k_dot(PLAYLISTS, ITEMS, 3)
    with pytest.raises(DataError, match=r"each of the 30 tracks. Received: shape \(29,\)"):
        measure_group_ndcg(lists, HELD_OUT, 3, np.ones(29))
    with pytest.raises(DataError, match=r"expected shape \(40, 30\). Received: \(39, 30\)"):
        measure_group_ndcg(lists, HELD_OUT[:39], 3, np.ones(30))
