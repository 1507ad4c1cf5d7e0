from itertools import combinations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.statistics.comparison import compare_all, compare_with, holm
from cs_keras.evaluation.statistics.resampling import bootstrap_interval


def test_holm_as_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-12)
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])
    np.testing.assert_array_equal(holm([0.2]), [0.2])


def test_one_seed_as_the_paired_t_test(random):
    a, b = random.random((2, 200))
    row, expected = compare_all({"a": a, "b": b})[0], ttest_rel(a, b)
    assert row.difference == pytest.approx(np.mean(a - b))
    assert (row.low, row.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert row.p_value == pytest.approx(expected.pvalue)


def test_p_value_is_uniform_without_a_difference(random):
    p_values = [compare_all(dict(enumerate(random.random((2, 30)))))[0].p_value for _ in range(400)]
    for alpha in (0.05, 0.2, 0.5):
        # 4 standard errors of a share of 400.
        assert np.mean(np.array(p_values) <= alpha) == pytest.approx(
            alpha, abs=4 * np.sqrt(alpha * (1 - alpha) / 400)
        )


def test_seeds_that_disagree_widen_the_interval(random):
    queries = random.random(500)
    steady = queries + np.zeros((5, 1))
    moody = queries + 0.2 * random.standard_normal((5, 1))
    other = queries - 0.01
    narrow = compare_all({"a": steady, "b": other})[0]
    wide = compare_all({"a": moody, "b": other})[0]
    assert narrow.low == pytest.approx(narrow.high)  # every query agrees on 0.01, and so do the seeds
    assert wide.low < wide.difference - 0.05 < wide.difference + 0.05 < wide.high


def test_equal_models_are_not_distinguished_and_others_are(random):
    queries = random.random(300)
    values = {
        "good": queries + 0.1 + 0.1 * random.standard_normal((3, 300)),
        "noise": random.random(300),
        "same": queries,
        "twin": queries.copy(),
    }
    rows = {(row.model, row.other): row for row in compare_all(values)}
    assert list(rows) == list(combinations(values, 2))
    twins = rows["same", "twin"]
    assert (twins.difference, twins.low, twins.high, twins.p_value, twins.p_holm) == (0, 0, 0, 1, 1)
    assert rows["good", "same"].p_value < 1e-3
    assert all(row.p_holm >= row.p_value and row.low <= row.difference <= row.high for row in rows.values())


def test_with_a_baseline(random):
    queries = random.random(100)
    values = {"a": queries, "best": queries + 0.1 * random.random((2, 100)), "c": random.random(100) - 0.2}
    rows = compare_with(values, "c")
    assert [(row.model, row.other) for row in rows] == [("a", "c"), ("best", "c")]
    pairs = {(row.model, row.other): row for row in compare_all(values)}
    assert rows[1].difference == pairs["best", "c"].difference
    np.testing.assert_allclose([row.p_holm for row in rows], holm([row.p_value for row in rows]))


def test_bad_input_is_named(random):
    a = random.random(10)
    with pytest.raises(DataError, match="at least two models. Received: 1"):
        compare_all({"a": a})
    with pytest.raises(DataError, match="Received: {}"):
        compare_all({})
    with pytest.raises(DataError, match="'a': 10, 'b': 9"):
        compare_all({"a": a, "b": a[:9]})
    with pytest.raises(DataError, match="the values of b cannot"):
        compare_all({"a": a, "b": np.where(a > 0.5, np.nan, a)})
    with pytest.raises(DataError, match="expected one of a, b. Received: 'c'"):
        compare_with({"a": a, "b": a}, "c")
    with pytest.raises(DataError, match="p-values are out of range"):
        holm([0.5, 1.5])
    with pytest.raises(ConfigError, match="n_resamples"):
        bootstrap_interval(a, n_resamples=0)
    with pytest.raises(ConfigError, match="level"):
        bootstrap_interval(a, level=1)
