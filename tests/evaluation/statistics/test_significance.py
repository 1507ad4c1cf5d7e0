from itertools import permutations as permute

import numpy as np
import pytest
from scipy import stats

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.search.intersection import chance_overlap, list_overlap
from cs_keras.evaluation.search.topk import filter_artists, filtered_length, top_k_dot, top_k_similar
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


ARTISTS = np.repeat(np.arange(-1, 12), [4, 4, 4, 4, 4, 3, 3, 3, 2, 2, 2, 1, 4])


@pytest.mark.parametrize("within", ["tracks", "artists"])
@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("queries", [None, np.arange(5, 30)])
def test_counts_as_of_lists_of_permuted_factors(random, monkeypatch, queries, filtered, within):
    monkeypatch.setattr(permutations, "PERMUTED_ENTRIES", 130)  # three at a time
    drawn = []
    draw = permutations._draw
    monkeypatch.setattr(permutations, "_draw", lambda *all: drawn.extend(each := list(draw(*all))) or each)
    reference, predicted = random.standard_normal((2, 40, 6))
    artists = random.permutation(ARTISTS)
    ks, length = (8, 3), filtered_length(8, artists)
    lists, found = (top_k_similar(rows, length, queries=queries) for rows in (reference, predicted))
    tests = permutation_test(
        lists, found, ks, n_permutations=20, seed=4, artists=artists, filtered=filtered, within=(within,)
    )[within]
    drawn = np.concatenate(drawn)
    assert len(drawn) == 21 and (drawn[0] == np.arange(40)).all()

    def prefix(factors, k):
        found = top_k_similar(factors, length, queries=queries)
        return filter_artists(found, artists, k) if filtered else found.prefix(k)

    for k, test in zip(ks, tests, strict=True):
        own = prefix(reference, k)
        means = [list_overlap(own.indices, prefix(predicted[items], k).indices).mean() for items in drawn]
        assert test.null_mean == pytest.approx(np.mean(means[1:]), rel=1e-12)
        assert test.null_sd == pytest.approx(np.std(means[1:]), rel=1e-12)
        assert test.p_value == (1 + np.sum(np.array(means[1:]) >= means[0] - 1e-12)) / 21
    is_query = np.isin(np.arange(40), lists.queries)
    for items in drawn:
        np.testing.assert_array_equal(np.sort(items), np.arange(40))
        assert (is_query[items] == is_query).all()
        if within == "artists":
            assert (items[artists < 0] == np.flatnonzero(artists < 0)).all()
            for artist in range(12):  # all of an artist's tracks get those of one artist
                assert len(set(artists[items[artists == artist]])) == 1


@pytest.mark.parametrize("dense_share", [0, 1])
def test_counts_as_of_lists_of_permuted_factors_by_dot_product(random, monkeypatch, dense_share):
    monkeypatch.setattr(permutations, "DENSE_SHARE", dense_share)
    monkeypatch.setattr(permutations, "TRACKS_PER_THREAD", 7)
    drawn = []
    draw = permutations._draw
    monkeypatch.setattr(permutations, "_draw", lambda *all: drawn.extend(each := list(draw(*all))) or each)
    playlists = random.standard_normal((25, 6))
    reference, predicted = random.standard_normal((2, 40, 6))
    lists, found = top_k_dot(playlists, reference, 8), top_k_dot(playlists, predicted, 8)
    tests = permutation_test(lists, found, (3, 8), n_permutations=20, seed=4)["tracks"]
    for k, test in zip((3, 8), tests, strict=True):
        permuted = [top_k_dot(playlists, predicted[items], k) for items in np.concatenate(drawn)]
        means = [list_overlap(lists.prefix(k).indices, each.indices).mean() for each in permuted]
        assert test.null_mean == pytest.approx(np.mean(means[1:]), rel=1e-12)
        assert test.null_sd == pytest.approx(np.std(means[1:]), rel=1e-12)
        assert test.p_value == (1 + np.sum(np.array(means[1:]) >= means[0] - 1e-12)) / 21


def test_all_arrangements_of_a_tiny_catalogue(random):
    """Two artists of two tracks, one of one, one unknown track: 2 exchanges times 2 times 2 orders."""
    artists = np.array([0, 0, 1, 1, 2, -1])
    reference, predicted = random.standard_normal((2, 6, 3))
    lists, found = top_k_similar(reference, 2), top_k_similar(predicted, 2)
    pairs = [(a, b) for x, y in (([0, 1], [2, 3]), ([2, 3], [0, 1])) for a in permute(x) for b in permute(y)]
    overlaps = np.array(
        [
            list_overlap(lists.indices, top_k_similar(predicted[[*a, *b, 4, 5]], 2).indices).mean()
            for a, b in pairs
        ]
    )
    ((test,),) = permutation_test(
        lists, found, (2,), n_permutations=4000, artists=artists, within=("artists",)
    ).values()
    assert test.n_arrangements == len(pairs) == 8
    # Means and shares of 4,000 draws, within 5 standard errors.
    assert test.null_mean == pytest.approx(overlaps.mean(), abs=5 * overlaps.std() / np.sqrt(4000))
    assert test.p_value == pytest.approx(
        np.mean(overlaps >= overlaps[0] - 1e-12), abs=5 * 0.5 / np.sqrt(4000)
    )
    (any_information,) = permutation_test(lists, found, (2,), n_permutations=9)["tracks"]
    assert any_information.n_arrangements == 720
    factors = random.standard_normal((400, 3))
    lists = top_k_similar(factors, 2)
    (many,) = permutation_test(lists, lists, (2,), n_permutations=1)["tracks"]
    assert many.n_arrangements == pytest.approx(1e300)


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_long_lists_are_tested_on_some_of_the_queries(random, monkeypatch, metric):
    reference = random.standard_normal((300, 5))
    predicted = reference + random.standard_normal((300, 5))
    find = top_k_similar if metric == "cosine" else (lambda rows, k: top_k_dot(reference, rows, k))
    lists, found = find(reference, 50), find(predicted, 50)
    whole = permutation_test(lists, found, (5, 50), n_permutations=99)["tracks"]
    monkeypatch.setattr(permutations, "MAX_LOOKUPS", 50 * 60)  # all 300 for lists of 5, 60 for those of 50
    monkeypatch.setattr(permutations, "MAX_PAIRS", 50**2 * 60)
    part = permutation_test(lists, found, (5, 50), n_permutations=99)["tracks"]
    assert part[0] == whole[0] and part[1].p_value == whole[1].p_value == 0.01
    assert part[1].null_sd != whole[1].null_sd
    # Two means under the null, of 300 lists and of 60 among them.
    assert part[1].null_mean == pytest.approx(whole[1].null_mean, abs=5 * part[1].null_sd / np.sqrt(99))


def test_recognising_the_artist_is_no_information_beyond_it(random):
    """Predictions that are the same for all tracks of an artist, at random between artists."""
    artists = np.repeat(np.arange(30), 5)
    style = random.standard_normal((30, 6))[artists]
    reference = style + 0.5 * random.standard_normal((150, 6))
    predicted = random.standard_normal((30, 6))[artists] + 0.1 * random.standard_normal((150, 6))
    lists, found = top_k_similar(reference, 10), top_k_similar(predicted, 10)
    both = permutation_test(
        lists, found, (10,), artists=artists, within=("artists", "tracks"), n_permutations=199
    )
    assert both["tracks"] == permutation_test(lists, found, (10,), n_permutations=199)["tracks"]
    (beyond,), (any_information,) = both.values()
    assert any_information.p_value == 1 / 200 and beyond.p_value > 0.05
    assert beyond.null_mean > 2 * any_information.null_mean


@pytest.mark.medium
def test_p_value_is_uniform_without_relation_and_smallest_with_identity(random):
    p_values = []
    for _ in range(200):
        reference, predicted = random.standard_normal((2, 60, 4))
        tests = permutation_test(
            top_k_similar(reference, 10), top_k_similar(predicted, 10), (10,), n_permutations=49, seed=5
        )["tracks"]
        p_values.append(tests[0].p_value)
    # A p-value of 1 / 50 steps: each tenth of the range should hold 20 of 200; 1e-4 lets one seed in 10,000 fail.
    counts = np.histogram(p_values, bins=10, range=(0.001, 1.001))[0]
    assert stats.chisquare(counts).pvalue > 1e-4

    lists = top_k_similar(reference, 10)
    identity = permutation_test(lists, lists, (5, 10), n_permutations=99)["tracks"]
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
    with pytest.raises(DataError, match="needs artists"):
        permutation_test(lists, lists, (5,), within=("artists",))
    with pytest.raises(DataError, match="each of 20 tracks"):
        permutation_test(lists, lists, (5,), artists=[1, 2])
    one_artist = np.zeros(20, int)
    with pytest.raises(DataError, match="too short to be filtered: expected 19"):
        permutation_test(lists, lists, (5,), artists=one_artist, filtered=True)
    whole = top_k_similar(factors, 19)
    with pytest.raises(DataError, match="no query has enough candidates: expected 5"):
        permutation_test(whole, whole, (5,), artists=one_artist, filtered=True)
    with pytest.raises(ConfigError, match="within"):
        permutation_test(lists, lists, (5,), within=("albums",))
    with pytest.raises(ConfigError, match="n_permutations"):
        permutation_test(lists, lists, (5,), n_permutations=0)
    with pytest.raises(ConfigError, match="at most 4"):
        chance_overlap(5, 4)
    with pytest.raises(ConfigError, match="level"):
        bootstrap_interval([0.1], level=95)
