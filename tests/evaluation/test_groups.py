import numpy as np
import pytest

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.groups import assign_popularity_groups, find_known_artists, measure_group_means
from cs_keras.evaluation.statistics.significance import bootstrap_interval


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


def test_popularity_in_quantiles_keeps_equals_together():
    np.testing.assert_array_equal(assign_popularity_groups([5, 1, 8, 3], 4), [2, 0, 3, 1])
    np.testing.assert_array_equal(assign_popularity_groups([5, 1, 8, 3, 9, 4], 2), [1, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(assign_popularity_groups([0, 0, 0, 0, 0, 2], 3), [0, 0, 0, 0, 0, 2])
    np.testing.assert_array_equal(assign_popularity_groups([7, 7], 4), [0, 0])


def test_popularity_groups_of_different_counts_are_even(random):
    sizes = np.bincount(assign_popularity_groups(random.permutation(103), 4))
    assert sizes.sum() == 103 and sizes.max() - sizes.min() <= 1


def test_artists_known():
    np.testing.assert_array_equal(find_known_artists(["x", "y", "x"], ["x", "z"]), [True, False, True])


def test_bad_input_is_named():
    with pytest.raises(DataError, match=r"each of the 2 values. Received: shape \(3,\)"):
        measure_group_means([0.0, 1.0], [0, 1, 1])
    with pytest.raises(DataError, match="finite"):
        measure_group_means([0.0, np.nan], [0, 1])
    with pytest.raises(ConfigError, match="n_groups"):
        assign_popularity_groups([1, 2], 0)
