import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_keras.errors import DataError
from cs_keras.evaluation.search import intersection
from cs_keras.evaluation.search.intersection import count_shared, list_overlap


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_shared_items_as_python_sets(seed, n_queries, k):
    random = np.random.default_rng(seed)
    a, b = (np.argsort(random.random((n_queries, 15)), axis=1)[:, :k] for _ in range(2))
    expected = [len(set(x) & set(y)) / k for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    np.testing.assert_allclose(list_overlap(a, b), expected, rtol=0, atol=0)
    shorter = (k + 1) // 2
    expected = [
        len(set(x) & set(y)) for x, y in zip(a[:, :shorter].tolist(), b[:, :shorter].tolist(), strict=True)
    ]
    np.testing.assert_array_equal(count_shared(a, b, (shorter, k), 15)[0], expected)


def test_blocks_change_nothing(random, monkeypatch):
    a, b = (np.argsort(random.random((50, 300)), axis=1).astype(np.int32) for _ in range(2))
    expected = list_overlap(a[:, :270], b[:, :270])  # more than a byte holds
    for entries in (1, 2100):  # one query at a time, and seven
        monkeypatch.setattr(intersection, "TABLE_ENTRIES", entries)
        np.testing.assert_array_equal(list_overlap(a[:, :270], b[:, :270]), expected)


def test_bad_lists_are_named():
    with pytest.raises(DataError, match=r"\(1, 2\) and \(1, 3\)"):
        list_overlap([[1, 2]], [[1, 2, 3]])
    with pytest.raises(DataError, match="float64"):
        list_overlap([[1.0, 2.0]], [[1, 2]])
    with pytest.raises(DataError, match="whole numbers from 0"):
        list_overlap([[-1, 2]], [[1, 2]])
