import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation.group_ranking import measure_group_ndcg
from cs_keras.evaluation.ranking import ndcg_at_k
from cs_keras.evaluation.search.topk import top_k_dot

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


def test_what_does_not_match_is_told() -> None:
    with pytest.raises(DataError, match=r"expected shapes \(40, 30\) and \(30,\)"):
        measure_group_ndcg(top_k_dot(PLAYLISTS, ITEMS, 3), HELD_OUT, np.ones(29))
