import numpy as np
import pytest
from scipy import stats

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.search.intersection import chance_overlap, list_overlap
from cs_keras.evaluation.search.topk import top_k_dot, top_k_similar
from cs_keras.evaluation.statistics import permutation_test as permutations
from cs_keras.evaluation.statistics import resampling
from cs_keras.evaluation.statistics.permutation_test import permutation_test
from cs_keras.evaluation.statistics.resampling import bootstrap_interval


@pytest.mark.parametrize("k, n_candidates, n_queries", [(10, 100, 1), (500, 11_332, 11_333)])
def test_chance_as_hypergeometric(k, n_candidates, n_queries):
    expected = stats.hypergeom(n_candidates, k, k)
    mean, sd = chance_overlap(k, n_candidates, n_queries)
    assert mean == pytest.approx(expected.mean() / k, rel=1e-12)
    assert sd == pytest.approx(expected.std() / k / np.sqrt(n_queries), rel=1e-12)


def test_chance_is_certain_if_all_candidates_are_in_the_list():
    assert chance_overlap(7, 7, 3) == (1, 0)
    assert chance_overlap(1, 1) == (1, 0)


def test_bootstrap_interval_as_scipy(random):
    values = random.gamma(2.0, size=300)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", random_state=np.random.default_rng(1)
    ).confidence_interval
    low, high = bootstrap_interval(values, 4000, level=0.95, seed=2)
    # Both are quantiles of 4,000 draws, which have a standard error of about 4 % of the mean's own, 0.08.
    assert low == pytest.approx(expected.low, abs=0.015)
    assert high == pytest.approx(expected.high, abs=0.015)


def test_bootstrap_interval_of_a_constant_and_in_small_batches(random, monkeypatch):
    assert bootstrap_interval(np.full(10, 0.25), 50) == (0.25, 0.25)
    values = random.random(100)
    assert bootstrap_interval(values, 99, seed=3) == bootstrap_interval(values, 99, seed=3)
    expected = bootstrap_interval(values, 2000)
    monkeypatch.setattr(resampling, "BATCH_ENTRIES", 1000)
    assert bootstrap_interval(values, 2000) == expected


@pytest.mark.parametrize("queries", [None, np.arange(5, 30)])
def test_relabelled_lists_as_lists_of_permuted_factors(random, queries):
    reference, predicted = random.standard_normal((2, 40, 6))
    ks = (3, 8)
    lists = top_k_similar(reference, 8, queries=queries)
    found = top_k_similar(predicted, 8, queries=queries)
    counts = permutations._null_counts(lists, found, ks, 20, seed=4)
    drawn = permutations._draw_permutations(lists, np.random.default_rng(4))
    for count in counts:
        items, _ = next(drawn)
        np.testing.assert_array_equal(np.sort(items), np.arange(40))
        permuted = top_k_similar(predicted[items], 8, queries=queries)
        for k, shared in zip(ks, count, strict=True):
            assert shared == round(
                list_overlap(lists.prefix(k).indices, permuted.prefix(k).indices).sum() * k
            )


def test_relabelled_lists_as_lists_of_permuted_factors_by_dot_product(random):
    playlists = random.standard_normal((25, 6))
    reference, predicted = random.standard_normal((2, 40, 6))
    lists, found = top_k_dot(playlists, reference, 8), top_k_dot(playlists, predicted, 8)
    counts = permutations._null_counts(lists, found, (8,), 20, seed=4)
    drawn = permutations._draw_permutations(lists, np.random.default_rng(4))
    for (shared,) in counts:
        items, _ = next(drawn)
        permuted = top_k_dot(playlists, predicted[items], 8)
        assert shared == round(list_overlap(lists.indices, permuted.indices).sum() * 8)


def test_permutations_do_not_depend_on_how_many_are_held_at_a_time(random, monkeypatch):
    playlists = random.standard_normal((25, 6))
    reference, predicted = random.standard_normal((2, 40, 6))
    pairs = [[top_k_dot(playlists, rows, 8) for rows in (reference, predicted)]]
    pairs += [
        [top_k_similar(rows, 8, queries=queries) for rows in (reference, predicted)]
        for queries in (None, [3, 9, 30])
    ]
    expected = [permutations._null_counts(*pair, (3, 8), 20, seed=4) for pair in pairs]
    monkeypatch.setattr(permutations, "LEAST_QUERIES", 1)
    for batch, permuted, listed in ((7, 10_000, 10_000), (64, 100, 130), (64, 1, 1)):
        monkeypatch.setattr(permutations, "BATCH_PERMUTATIONS", batch)
        monkeypatch.setattr(permutations, "PERMUTED_ENTRIES", permuted)
        monkeypatch.setattr(permutations, "LISTED_ENTRIES", listed)
        for pair, counts in zip(pairs, expected, strict=True):
            np.testing.assert_array_equal(permutations._null_counts(*pair, (3, 8), 20, seed=4), counts)


@pytest.mark.medium
def test_p_value_is_uniform_without_relation_and_smallest_with_identity(random):
    p_values = []
    for _ in range(200):
        reference, predicted = random.standard_normal((2, 60, 4))
        tests = permutation_test(
            top_k_similar(reference, 10), top_k_similar(predicted, 10), (10,), n_permutations=49, seed=5
        )
        p_values.append(tests[0].p_value)
    # A p-value of 1 / 50 steps: each tenth of the range should hold 20 of 200; 1e-4 lets one seed in 10,000 fail.
    counts = np.histogram(p_values, bins=10, range=(0.001, 1.001))[0]
    assert stats.chisquare(counts).pvalue > 1e-4

    lists = top_k_similar(reference, 10)
    identity = permutation_test(lists, lists, (5, 10), n_permutations=99)
    assert [test.p_value for test in identity] == [0.01, 0.01]
    # The mean of 99 permutations lies within 5 standard errors of chance.
    assert identity[1].null_mean == pytest.approx(10 / 59, abs=5 * identity[1].null_sd / np.sqrt(99))


def test_lists_that_cannot_be_compared_are_named(random):
    factors = random.standard_normal((20, 3))
    lists = top_k_similar(factors, 5)
    for other, message in (
        (top_k_similar(factors, 5, metric="euclidean"), "metric"),
        (top_k_similar(factors[:19], 5), "n_items"),
        (top_k_similar(factors, 5, queries=[1, 2]), "same queries"),
    ):
        with pytest.raises(DataError, match=message):
            permutation_test(lists, other, (5,))
    with pytest.raises(DataError, match="prefix"):
        permutation_test(lists, lists, (6,))
    with pytest.raises(ConfigError, match="n_permutations"):
        permutation_test(lists, lists, (5,), n_permutations=0)
    with pytest.raises(ConfigError, match="at most 4"):
        chance_overlap(5, 4)
    with pytest.raises(ConfigError, match="level"):
        bootstrap_interval([0.1], level=95)
