from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy import stats

from cs_keras.errors import DataError
from cs_keras.evaluation.search.intersection import list_overlap
from cs_keras.evaluation.search.topk import filter_artists, filtered_length, top_k_dot, top_k_similar
from cs_keras.evaluation.statistics.jackknife import (
    cluster_artists,
    delete_clusters,
    estimate,
    pool_folds,
    refilled_length,
    stack_seeds,
    sum_values,
)

N_TRACKS = 60


@pytest.fixture
def artists(random):
    return np.append(random.integers(0, 9, N_TRACKS - 6), np.full(6, -1))


def overlaps_without(deleted, factors, artists, k, kind, playlists):
    """Overlap of each query left, by ranking the tracks left again."""
    rows = np.flatnonzero(~deleted)
    if kind == "dot":
        lists = [top_k_dot(playlists, one[rows], k) for one in factors]
    elif kind == "similarity":
        lists = [top_k_similar(one[rows], k) for one in factors]
    else:
        length = filtered_length(k, artists[rows])
        lists = [filter_artists(top_k_similar(one[rows], length), artists[rows], k) for one in factors]
    queries = lists[0].queries if kind == "dot" else rows[lists[0].queries]
    return dict(zip(queries.tolist(), list_overlap(*(one.indices for one in lists)), strict=True))


@pytest.mark.parametrize("kind", ["similarity", "filtered", "dot"])
@pytest.mark.parametrize("k", [1, 7, 30])
def test_lists_refilled_as_ranked_again(random, artists, kind, k):
    factors = random.standard_normal((2, N_TRACKS, 5)).astype(np.float32)
    playlists = random.standard_normal((8, 5)).astype(np.float32)
    clusters = cluster_artists(artists)
    own = artists if kind == "filtered" else None
    length = min(refilled_length(k, clusters, own), N_TRACKS - (kind != "dot"))
    if kind == "dot":
        lists = [top_k_dot(playlists, one, length) for one in factors]
    else:
        lists = [top_k_similar(one, length) for one in factors]
    received = delete_clusters(*lists, k, clusters, own)
    for column in range(received.sums.shape[2]):
        deleted = clusters == column - 1
        overlaps = overlaps_without(deleted, factors, artists, k, kind, playlists)
        of_queries = np.arange(8) if kind == "dot" else clusters
        expected = np.zeros(len(received.n_queries))
        np.add.at(expected, of_queries[list(overlaps)], list(overlaps.values()))
        np.testing.assert_allclose(received.sums[0, :, column], expected, atol=1e-12)
        if not column:
            assert received.n_queries.sum() == len(overlaps)
    np.testing.assert_array_equal(received.n_tracks, np.bincount(clusters))


def test_clusters_are_artists_or_equal_groups_of_them(random):
    np.testing.assert_array_equal(cluster_artists([7, -1, 3, 7, -1]), [1, 2, 0, 1, 3])
    artists = np.append(random.integers(0, 180, 900), np.full(50, -1))
    clusters = cluster_artists(artists)
    sizes = np.bincount(clusters)
    assert len(sizes) == 100 and sizes.min() >= 9 and sizes.max() <= np.bincount(artists[:900]).max()
    for artist in range(180):
        assert len(np.unique(clusters[artists == artist])) == 1


def test_values_of_independent_queries_as_scipy(random):
    a, b = random.standard_normal((2, 40)) + [[0.3], [0]]
    found = estimate(sum_values(a), sum_values(b))
    expected = stats.ttest_rel(a, b)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.interval(0.9) == pytest.approx(tuple(expected.confidence_interval(0.9)), rel=1e-9)
    clustered = estimate(sum_values(np.repeat(a, 5), np.repeat(np.arange(40), 5)))
    assert clustered.interval() == pytest.approx(
        tuple(stats.ttest_1samp(a, 0).confidence_interval(0.95)), rel=1e-9
    )


def test_seeds_add_their_variance(random):
    queries, seeds = random.standard_normal(30), random.standard_normal((4, 1))
    found = estimate(sum_values(queries + seeds))
    parts = np.array([queries.var(ddof=1) / 30, seeds.var(ddof=1) / 4])
    assert found.standard_error == pytest.approx(np.sqrt(parts.sum()))
    assert found.df == pytest.approx(parts.sum() ** 2 / (parts[0] ** 2 / 29 + parts[1] ** 2 / 3))
    by_seed = [sum_values(queries + seed) for seed in seeds[:, 0]]
    assert estimate(stack_seeds(by_seed)) == found


def test_models_that_are_equal_and_a_single_cluster(random):
    values = sum_values(random.random(20))
    same = estimate(values, values)
    assert (same.mean, same.standard_error, same.p_value) == (0, 0, 1)
    assert estimate(values, sum_values(values.sums[0, :, 0] - 0.5)).p_value == pytest.approx(0, abs=1e-12)
    alone = estimate(sum_values([0.5]))
    assert alone.interval() == (-np.inf, np.inf) and alone.p_value == 1


def test_deletions_that_change_nothing_leave_the_spread_of_queries(random, artists):
    """The same lists by both: every overlap is 1, whatever is deleted."""
    clusters = cluster_artists(artists)
    lists = top_k_similar(random.standard_normal((N_TRACKS, 4)), refilled_length(5, clusters))
    found = estimate(delete_clusters(lists, lists, 5, clusters))
    assert (found.mean, found.standard_error) == (1, 0)


def test_a_playlist_that_occurs_twice_is_in_one_cluster(random):
    factors, playlists = random.standard_normal((2, 20, 4)), random.standard_normal((9, 4))
    once = [top_k_dot(playlists, one, 20) for one in factors]
    twice = [
        replace(one, indices=np.tile(one.indices, (2, 1)), queries=np.tile(one.queries, 2)) for one in once
    ]
    expected, received = (delete_clusters(*lists, 5, np.arange(20) % 7) for lists in (once, twice))
    np.testing.assert_array_equal(received.sums, 2 * expected.sums)
    assert astuple(estimate(received)) == pytest.approx(astuple(estimate(expected)))


@pytest.mark.parametrize("kind", ["similarity", "filtered", "dot"])
def test_pooled_folds_as_ranked_again_without_an_artist_of_each(random, kind):
    k, folds, expected = 4, [], 0.0
    for n_artists in (6, 8):
        artists = random.integers(0, n_artists, 40)
        clusters, own = cluster_artists(artists), artists if kind == "filtered" else None
        factors = random.standard_normal((2, 40, 5)).astype(np.float32)
        playlists = random.standard_normal((8, 5)).astype(np.float32)
        if kind == "dot":
            lists = [top_k_dot(playlists, one, 40) for one in factors]
        else:
            lists = [top_k_similar(one, 39) for one in factors]
        folds.append(delete_clusters(*lists, k, clusters, own))
        without = [
            overlaps_without(clusters == n, factors, artists, k, kind, playlists) for n in range(-1, 8)
        ]
        expected = expected + np.array([sum(overlaps.values()) for overlaps in without])
    pooled = pool_folds(folds)
    np.testing.assert_allclose(pooled.sums[0].sum(axis=0), expected, atol=1e-12)
    assert pooled.n_queries.sum() == sum(one.n_queries.sum() for one in folds)
    assert pooled.n_tracks.sum() == 80 and len(pooled.n_tracks) == 8


def test_bad_input_is_named(random, artists):
    clusters = cluster_artists(artists)
    lists = top_k_similar(random.standard_normal((N_TRACKS, 4)), 10)
    with pytest.raises(DataError, match="too short to be refilled: expected .* for k = 10. Received: 10"):
        delete_clusters(lists, lists, 10, clusters)
    with pytest.raises(DataError, match="same queries and tracks"):
        estimate(sum_values([0, 1]), sum_values([0, 1, 2]))
