from itertools import combinations

import numpy as np
import pytest
from scipy.stats import permutation_test

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.statistics import comparison, resampling
from cs_keras.evaluation.statistics.comparison import (
    compare_all,
    compare_with,
    holm,
    sign_flip_p_values,
)
from cs_keras.evaluation.statistics.resampling import (
    Resampling,
    bootstrap_interval,
    resample_means,
    resample_models,
)


def sign_flip_test(differences, resampling=None):
    (p_value,) = sign_flip_p_values(np.asarray(differences)[np.newaxis], resampling or Resampling())
    return p_value


def scipy_p_value(differences, n_resamples):
    # With one sample, permutation_type="samples" flips signs: SciPy's own description of the paired test.
    return permutation_test(
        (differences, np.zeros(len(differences))),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=n_resamples,
        vectorized=True,
        rng=1,
    ).pvalue


@pytest.mark.parametrize("n_queries", [2, 5, 9])
def test_exact_sign_flips_as_scipy(random, n_queries):
    for shift in (0, 0.5, 3):
        differences = random.standard_normal(n_queries) + shift
        assert sign_flip_test(differences) == pytest.approx(scipy_p_value(differences, np.inf), rel=1e-12)
    ties = random.integers(-1, 2, n_queries) / 10
    assert sign_flip_test(ties) == pytest.approx(scipy_p_value(ties, np.inf), rel=1e-12)


def test_random_sign_flips_as_scipy(random):
    differences = random.standard_normal(60) + 0.2
    expected = scipy_p_value(differences, 20_000)
    received = sign_flip_test(differences, Resampling(n_permutations=20_000))
    assert received == pytest.approx(expected, abs=4 * np.sqrt(2 * expected * (1 - expected) / 20_000))


def test_exact_and_random_sign_flips_agree(random, monkeypatch):
    differences = random.standard_normal(16) + 0.3
    exact = sign_flip_test(differences)
    monkeypatch.setattr(comparison, "MAX_EXACT_QUERIES", 15)
    drawn = sign_flip_test(differences, Resampling(n_permutations=20_000))
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_sign_flips_do_not_depend_on_blocks(random, monkeypatch):
    differences = random.integers(-3, 4, 50) / 10 + 0.02  # sums tie often
    expected = sign_flip_test(differences)
    for entries in (1, 777, 5000):
        monkeypatch.setattr(comparison, "BATCH_ENTRIES", entries)
        assert sign_flip_test(differences) == expected


def test_p_value_is_uniform_without_a_difference(random):
    settings = Resampling(n_permutations=199)
    p_values = [sign_flip_test(random.standard_normal(30), settings) for _ in range(400)]
    for alpha in (0.05, 0.2, 0.5):
        # 4 standard errors of a share of 400.
        assert np.mean(np.array(p_values) <= alpha) == pytest.approx(
            alpha, abs=4 * np.sqrt(alpha * (1 - alpha) / 400)
        )
    assert sign_flip_test(np.zeros(30)) == sign_flip_test([2.0]) == 1


def test_holm_as_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-12)
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])
    np.testing.assert_array_equal(holm([0.2]), [0.2])


def test_interval_of_one_seed_is_that_of_the_differences(random):
    a, b = random.random((2, 200))
    row = compare_all({"a": a, "b": b})[0]
    assert row.difference == pytest.approx(np.mean(a - b))
    assert (row.low, row.high) == pytest.approx(bootstrap_interval(a - b), abs=1e-12)
    np.testing.assert_array_equal(
        np.quantile(resample_means(a[None], 500, 3)[0], [0.025, 0.975]), bootstrap_interval(a, 500, seed=3)
    )


def test_resampling_does_not_depend_on_blocks(random, monkeypatch):
    models = [random.random((3, 40)), random.random((2, 40))]
    expected = resample_models(models, 300, seed=4)
    for entries in (1, 777):
        monkeypatch.setattr(resampling, "BATCH_ENTRIES", entries)
        np.testing.assert_array_equal(resample_models(models, 300, seed=4), expected)


def test_two_way_bootstrap_has_the_variance_of_seeds_and_queries(random):
    n_seeds, n_queries = 5, 400
    seeds, queries = random.normal(0, 0.1, (n_seeds, 1)), random.normal(0, 1, (1, n_queries))
    spread = resample_models([seeds + queries], 20_000, seed=0)[0].var()
    # Additive effects: their variances as found in the sample, each over the number drawn.
    assert spread == pytest.approx(seeds.var() / n_seeds + queries.var() / n_queries, rel=0.05)


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
    assert rows["good", "same"].p_value == 1 / 10_000
    assert rows["good", "same"].p_holm == pytest.approx(6 / 10_000)
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
    with pytest.raises(DataError, match="no p-values"):
        holm([0.5, 1.5])
    with pytest.raises(ConfigError, match="n_bootstrap"):
        Resampling(n_bootstrap=0)
    with pytest.raises(ConfigError, match="n_permutations"):
        Resampling(n_permutations=1.5)
    with pytest.raises(ConfigError, match="level"):
        Resampling(level=1)
