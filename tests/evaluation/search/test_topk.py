import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.search import search
from cs_keras.evaluation.search.topk import (
    filter_artists,
    filtered_length,
    top_k_dot,
    top_k_ranking,
    top_k_similar,
)
from tests.evaluation.search import full_sort

# Small whole numbers: their dot products and squared distances are exact in float64, so that ties are true ties.
whole_numbers = hnp.arrays(
    np.float32, st.tuples(st.integers(3, 25), st.integers(1, 4)), elements=st.integers(-3, 3)
)
reals = hnp.arrays(
    np.float32, st.tuples(st.integers(3, 25), st.integers(1, 4)), elements=st.floats(-10, 10, width=32)
)


@given(whole_numbers, st.data())
@settings(max_examples=60, deadline=None)
def test_whole_numbers_as_full_stable_sort(factors, data):
    k = data.draw(st.integers(1, len(factors) - 1))
    nearest = top_k_similar(factors, k, metric="euclidean")
    np.testing.assert_array_equal(nearest.indices, full_sort.top_k(full_sort.scores(factors, "euclidean"), k))

    playlists = factors[::2] + 1
    best = top_k_dot(playlists, factors, k)
    np.testing.assert_array_equal(best.indices, full_sort.top_k(playlists.astype(float) @ factors.T, k))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@given(factors=reals | whole_numbers, data=st.data())
@settings(max_examples=60, deadline=None)
def test_real_numbers_as_full_sort(metric, factors, data):
    k = data.draw(st.integers(1, len(factors) - 1))
    lists = top_k_similar(factors, k, metric=metric)
    found = full_sort.scores(factors, metric)
    expected = np.take_along_axis(found, full_sort.top_k(found, k), axis=1)
    # Rounding may swap scores that are equal in exact arithmetic: compare the scores, place by place. The error of
    # a score is 1e-14 of the largest squared length, 400.
    received = np.take_along_axis(found, lists.indices.astype(int), axis=1)
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-13 if metric == "cosine" else 1e-11)
    assert all(len(set(row)) == k and query not in row for query, row in enumerate(lists.indices.tolist()))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_gaussian_factors_as_full_sort_and_not_tied(random, metric):
    factors = random.standard_normal((1500, 40)).astype(np.float32)
    lists = top_k_similar(factors, 100, metric=metric)
    if metric == "euclidean":
        x = factors.astype(float)
        lengths = np.square(x).sum(axis=1)
        found = 2 * x @ x.T - lengths - lengths[:, None]
        np.fill_diagonal(found, -np.inf)
    else:
        found = full_sort.scores(factors, metric)
    np.testing.assert_array_equal(lists.indices, full_sort.top_k(found, 100))
    assert lists.indices.dtype == np.int32
    assert lists.tied.mean() < 0.005


@pytest.mark.parametrize("queries, n_threads", [(1, 3), (7, 1), (199, 2)])
def test_same_bits_for_any_block_size_and_number_of_threads(random, queries, n_threads, monkeypatch):
    factors = random.standard_normal((200, 50)).astype(np.float32)
    factors[100:150] = factors[50:100]  # ties that rounding could break

    def find():
        similar = (top_k_similar(factors, 30, metric=metric) for metric in ("cosine", "euclidean"))
        return [*similar, top_k_dot(factors, factors, 30)]

    expected = find()
    monkeypatch.setattr(search, "BLOCK_SCORES", 1)
    monkeypatch.setattr(search, "LEAST_QUERIES", queries)
    monkeypatch.setattr("numba.get_num_threads", lambda: n_threads)
    for a, b in zip(expected, find(), strict=True):
        np.testing.assert_array_equal(a.indices, b.indices)
        np.testing.assert_array_equal(a.ties, b.ties)


@pytest.mark.parametrize("outlier", [1, 1e4, 1e30])
def test_rounding_and_outliers_lose_no_candidate(random, outlier):
    """Scores that float32 cannot order: rows that differ by a millionth, some of them twice, and one huge item."""
    items = (1 + 1e-6 * random.standard_normal((400, 30))).astype(np.float32)
    items[200:300] = items[100:200]
    items[7] *= outlier
    playlists = random.standard_normal((50, 30)).astype(np.float32)
    lists = top_k_dot(playlists, items, 100)
    # Sums of 30 exact products, rounded once: equal for equal rows, whichever way they are added.
    scores = np.array([[math.fsum(row) for row in p * items.astype(float)] for p in playlists.astype(float)])
    np.testing.assert_array_equal(lists.indices, full_sort.top_k(scores, 100))
    np.testing.assert_array_equal(lists.indices[:, :9], top_k_dot(playlists, items, 9).indices)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_rows_are_in_row_order_and_tied(random, metric):
    lists = top_k_similar(np.repeat(random.standard_normal((1, 20)), 700, axis=0), 5, metric=metric)
    np.testing.assert_array_equal(lists.indices[0], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(lists.indices[2], [0, 1, 3, 4, 5])
    np.testing.assert_array_equal(lists.indices[600], [0, 1, 2, 3, 4])
    assert lists.tied.all()


@pytest.mark.parametrize("n_factors", [2, 8, 200])
def test_collinear_and_collapsed_rows_are_tied(random, n_factors):
    direction = random.standard_normal(n_factors)
    collinear = random.uniform(0.1, 5, (300, 1)) * direction
    collapsed = direction * (1 + 1e-7 * random.standard_normal((300, n_factors)))
    for factors in (collinear, collapsed):
        lists = top_k_similar(factors.astype(np.float32), 10)
        assert lists.tied.all()
        assert lists.prefix(3).tied.all()


def test_a_close_cluster_is_not_tied(random):
    factors = random.standard_normal(30) + 0.05 * random.standard_normal((1000, 30))
    assert top_k_similar(factors, 100).tied.mean() < 0.01


def test_only_ties_at_the_border_count():
    items = np.array([[4.0], [3.0], [3.0], [2.0], [1.0]])
    lists = top_k_dot([[1.0]], items, 5)
    np.testing.assert_array_equal(lists.indices[0], [0, 1, 2, 3, 4])
    assert [bool(lists.prefix(k).tied[0]) for k in (1, 2, 3, 4, 5)] == [False, True, False, False, False]


def test_zero_rows_have_cosine_zero(random):
    factors = random.standard_normal((20, 5))
    factors[[3, 11]] = 0
    lists = top_k_similar(factors, 19)
    np.testing.assert_array_equal(lists.indices[3], np.delete(np.arange(20), 3))
    cosines = full_sort.scores(factors, "cosine")
    np.testing.assert_array_equal(lists.indices[0], full_sort.top_k(cosines, 19)[0])
    assert top_k_similar(factors, 5).tied[[3, 11]].all()
    assert top_k_dot(np.zeros((1, 5)), factors, 5).tied[0]
    assert not lists.tied.any()  # all candidates are in the list: nothing hangs on a tie


@pytest.mark.parametrize("scale", [1e-35, 1e-20, 1e30])
def test_scale_does_not_matter(random, scale):
    factors = random.standard_normal((100, 8))
    for metric in ("cosine", "euclidean"):
        expected = top_k_similar(factors, 10, metric=metric)
        received = top_k_similar(factors * scale, 10, metric=metric)
        np.testing.assert_array_equal(received.indices, expected.indices)
    received = top_k_dot(factors / scale, factors * scale, 10)
    np.testing.assert_array_equal(received.indices, top_k_dot(factors, factors, 10).indices)


def test_some_queries_get_the_lists_of_all(random):
    factors = random.standard_normal((60, 6))
    rows = np.array([50, 3, 7])
    np.testing.assert_array_equal(
        top_k_similar(factors, 9, queries=rows).indices, top_k_similar(factors, 9).indices[rows]
    )
    np.testing.assert_array_equal(
        top_k_dot(factors, factors, 9, queries=rows).indices, top_k_dot(factors, factors, 9).indices[rows]
    )


@given(whole_numbers, st.data())
@settings(max_examples=60, deadline=None)
def test_artist_filtered_lists_as_full_sort_of_the_other_artists(factors, data):
    n = len(factors)
    artists = np.array(data.draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n)))
    k = data.draw(st.integers(1, n - 1))
    lists = top_k_similar(factors, filtered_length(k, artists), metric="euclidean")
    filtered = filter_artists(lists, artists, k)
    found = full_sort.scores(factors, "euclidean")
    found[artists[:, None] == artists] = -np.inf
    counts = np.isfinite(found).sum(axis=1)
    queries = np.flatnonzero((artists >= 0) & (counts >= k))
    np.testing.assert_array_equal(filtered.queries, queries)
    np.testing.assert_array_equal(filtered.indices, full_sort.top_k(found, k)[queries])
    np.testing.assert_array_equal(filtered.candidate_counts, counts[queries])
    scores = -np.sort(-found, axis=1)[queries]
    if len(queries):
        assert filtered.chance == pytest.approx(np.mean(k / counts[queries]))
    expected = (scores[:, k - 1] == scores[:, k]) & np.isfinite(scores[:, k])
    np.testing.assert_array_equal(filtered.tied, expected)


def test_lists_that_cannot_be_filtered_are_named(random):
    factors = random.standard_normal((10, 4))
    artists = np.array([0, 0, 0, 1, 1, 2, -1, -1, 3, 4])
    assert [filtered_length(k, artists) for k in (1, 5, 8, 9)] == [3, 7, 9, 9]
    assert filtered_length(3, np.full(10, -1)) == 3
    with pytest.raises(DataError, match="expected 7 entries for k = 5. Received: 6"):
        filter_artists(top_k_similar(factors, 6), artists, 5)
    with pytest.raises(DataError, match="each of 10 tracks.*shape .9,."):
        filter_artists(top_k_similar(factors, 6), artists[1:], 1)
    with pytest.raises(DataError, match="lists of tracks"):
        filter_artists(top_k_dot(factors, factors, 6), artists, 1)


def test_one_ranking_for_all():
    lists = top_k_ranking([0.5, 2.0, 2.0, -1.0, 0.5], 3, queries=[4, 9])
    np.testing.assert_array_equal(lists.indices, [[1, 2, 0], [1, 2, 0]])
    np.testing.assert_array_equal(lists.queries, [4, 9])
    assert lists.tied.all()
    assert not lists.prefix(2).tied.any()
    assert lists.prefix(1).tied.all()


def test_bad_input_is_named(random):
    factors = random.standard_normal((10, 4))
    with pytest.raises(DataError, match="at most 9.*Received: 10"):
        top_k_similar(factors, 10)
    with pytest.raises(DataError, match="at most 10.*Received: 11"):
        top_k_dot(factors, factors, 11)
    with pytest.raises(DataError, match="at most 10"):
        top_k_ranking(np.arange(10.0), 11, queries=[0])
    for k in (0, -1, 2.0, True):
        with pytest.raises(ConfigError, match="whole number"):
            top_k_similar(factors, k)
    with pytest.raises(ConfigError, match="'dot'"):
        top_k_similar(factors, 1, metric="dot")
    with pytest.raises(DataError, match=r"shape \(10,\)"):
        top_k_similar(factors[:, 0], 1)
    with pytest.raises(DataError, match="1 such rows, the first is row 2"):
        top_k_similar(np.where(np.arange(10)[:, None] == 2, np.nan, factors), 1)
    with pytest.raises(DataError, match="finite float32"):
        top_k_similar(factors * 1e60, 1)
    with pytest.raises(DataError, match="Received: 3 and 4"):
        top_k_dot(factors[:, :3], factors, 1)
    with pytest.raises(DataError, match="from 0 to 9"):
        top_k_similar(factors, 1, queries=[10])
    with pytest.raises(DataError, match="different whole numbers"):
        top_k_similar(factors, 1, queries=[1, 1])
    with pytest.raises(DataError, match="one finite number per track"):
        top_k_ranking([1.0, np.inf], 1, queries=[0])
    with pytest.raises(DataError, match="from 1 to 2"):
        top_k_similar(factors, 2).prefix(3)
