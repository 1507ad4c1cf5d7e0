import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from implicit.evaluation import ranking_metrics_at_k
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score
from threadpoolctl import threadpool_limits

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.ranking import ndcg_at_k, rank_metrics, sum_gains
from cs_keras.evaluation.reference_predictors import mean_predictor
from cs_keras.evaluation.search import search
from cs_keras.evaluation.search.topk import top_k_dot
from cs_keras.evaluation.statistics.jackknife import cluster_artists

METRICS = ("recall", "precision", "ndcg", "average_precision")


def held_out_at(*rows: list[int], n_items: int) -> scipy.sparse.csr_matrix:
    dense = np.zeros((len(rows), n_items))
    for row, columns in zip(dense, rows, strict=True):
        row[columns] = 1
    return scipy.sparse.csr_matrix(dense)


@pytest.fixture
def interactions(random):
    """60 playlists × 90 tracks: about 5 held out and 10 seen each, nothing held out from playlist 7."""
    kinds = random.choice(3, size=(60, 90), p=[0.83, 0.06, 0.11])
    kinds[7][kinds[7] == 1] = 0
    return scipy.sparse.csr_matrix(kinds == 1, dtype=float), scipy.sparse.csr_matrix(kinds == 2, dtype=float)


@pytest.fixture
def factors(random):
    return random.standard_normal((60, 5)).astype(np.float32), random.standard_normal((90, 5)).astype(
        np.float32
    )


def test_hand_counted():
    # One factor: the tracks rank 4, 3, 2, 1, 0 for the first playlist, 0, 1, 2, 3, 4 for the second.
    held_out = held_out_at([4, 2, 0], [4], [], n_items=5)
    found = rank_metrics([[1.0], [-1.0], [1.0]], np.arange(5.0)[:, None], held_out, ks=(2, 3, 6))
    np.testing.assert_array_equal(found.playlists, [0, 1])
    assert found.n_left_out == 1
    two, three, six = found.at_k
    np.testing.assert_allclose(two.recall, [1 / 3, 0])
    np.testing.assert_allclose(two.precision, [1 / 2, 0])
    np.testing.assert_allclose(two.ndcg, [1 / (1 + 1 / np.log2(3)), 0])
    np.testing.assert_allclose(two.average_precision, [1 / 2, 0])
    np.testing.assert_allclose(three.average_precision, [(1 + 2 / 3) / 3, 0])
    np.testing.assert_allclose(found.auc, [3 / 6, 0])
    assert not six.available and six.ndcg is None
    assert found.means()["recall@2"] == pytest.approx(1 / 6)  # the playlist that finds nothing counts
    assert found.means()["map@6"] is None
    assert not found.tied.any()


def test_as_scikit_learn_on_what_was_not_seen(factors, interactions):
    playlists, items = factors
    held_out, seen = interactions
    found = rank_metrics(playlists, items, held_out, seen, ks=(1, 10, 50))
    assert found.n_left_out == 1 and 7 not in found.playlists
    for i, playlist in enumerate(found.playlists):
        candidates = np.flatnonzero(seen[playlist].toarray()[0] == 0)
        truth = held_out[playlist].toarray()[0][candidates]
        scores = (playlists[playlist].astype(float) @ items.T.astype(float))[candidates]
        assert found.n_candidates[i] == len(candidates)
        assert found.auc[i] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
        for row in found.at_k:
            assert row.ndcg[i] == pytest.approx(ndcg_score([truth], [scores], k=row.k), abs=1e-12)


def test_full_average_precision_as_scikit_learn(factors, interactions):
    playlists, items = factors
    held_out, _ = interactions
    found = rank_metrics(playlists, items, held_out, ks=(90,))
    scores = playlists.astype(float) @ items.T.astype(float)
    expected = [average_precision_score(held_out[u].toarray()[0], scores[u]) for u in found.playlists]
    # With k at least the number held out and all candidates in the list, the truncation does nothing.
    np.testing.assert_allclose(found.at_k[0].average_precision, expected, rtol=1e-12)
    np.testing.assert_array_equal(found.at_k[0].recall, 1)


def implicit_metrics(factors, held_out, seen, k):
    with threadpool_limits(1, "blas"):  # implicit warns of more
        model = AlternatingLeastSquares(factors=factors[0].shape[1])
    model.user_factors, model.item_factors = factors
    return ranking_metrics_at_k(
        model, seen.astype(np.float32), held_out.astype(np.float32), K=k, show_progress=False
    )


@pytest.mark.parametrize("k", [1, 10, 50])
def test_ndcg_and_map_as_implicit(factors, interactions, k):
    means = rank_metrics(*factors, *interactions, ks=(k,)).means()
    theirs = implicit_metrics(factors, *interactions, k)
    # implicit scores in float32; no two of these scores are so close that it matters.
    assert theirs["ndcg"] == pytest.approx(means[f"ndcg@{k}"], rel=1e-9)
    assert theirs["map"] == pytest.approx(means[f"map@{k}"], rel=1e-9)


def test_precision_of_implicit_pools_playlists_and_divides_by_what_can_be_found():
    """The example of docs/metrics.md."""
    items = np.arange(10.0, 0, -1, dtype=np.float32)[:, None]
    playlists = np.ones((2, 1), dtype=np.float32)
    held_out = held_out_at([0], [1, 6, 7, 8], n_items=10)
    nothing = scipy.sparse.csr_matrix((2, 10))
    at_4 = rank_metrics(playlists, items, held_out, ks=(4,)).at_k[0]
    np.testing.assert_array_equal(at_4.precision, [1 / 4, 1 / 4])
    np.testing.assert_array_equal(at_4.recall, [1, 1 / 4])
    assert implicit_metrics((playlists, items), held_out, nothing, 4)["precision"] == 2 / 5


def test_auc_of_implicit_guesses_beyond_k_and_counts_seen_tracks():
    """The example of docs/metrics.md."""
    items = np.arange(10.0, 0, -1, dtype=np.float32)[:, None]
    playlists = np.ones((1, 1), dtype=np.float32)
    held_out, nothing = held_out_at([1, 9], n_items=10), scipy.sparse.csr_matrix((1, 10))
    assert rank_metrics(playlists, items, held_out).auc[0] == 7 / 16
    assert implicit_metrics((playlists, items), held_out, nothing, 10)["auc"] == 7 / 16
    assert implicit_metrics((playlists, items), held_out, nothing, 4)["auc"] == (2 + 1.5 * 5) / 16
    seen = held_out_at([0, 2, 3, 4], n_items=10)
    assert rank_metrics(playlists, items, held_out, seen).auc[0] == 4 / 8
    assert implicit_metrics((playlists, items), held_out, seen, 6)["auc"] == (4 + 2 * 4) / 16


def test_ndcg_of_scikit_learn_averages_ties_and_ours_keeps_row_order():
    """The example of docs/metrics.md."""
    found = rank_metrics([[1.0]], np.ones((3, 1)), held_out_at([0], n_items=3), ks=(3,))
    assert found.at_k[0].ndcg[0] == 1 and found.tied[0]
    assert ndcg_score([[1, 0, 0]], [[1, 1, 1]]) == pytest.approx((1 + 1 / np.log2(3) + 1 / 2) / 3)
    assert found.auc[0] == roc_auc_score([1, 0, 0], [1, 1, 1]) == 0.5


def test_recall_of_liang_et_al_divides_by_what_can_be_found():
    """The example of docs/metrics.md."""
    items = np.arange(10.0, 0, -1)[:, None]
    at_2 = rank_metrics([[1.0]], items, held_out_at([0, 1, 6, 7], n_items=10), ks=(2,)).at_k[0]
    assert (at_2.recall[0], at_2.recall[0] * 4 / min(2, 4)) == (0.5, 1)


whole = st.integers(-2, 2)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_ties_in_row_order_and_auc_by_mid_ranks(data):
    n_items = data.draw(st.integers(2, 12))
    scores = np.array(data.draw(st.lists(whole, min_size=n_items, max_size=n_items)), dtype=float)
    truth = np.array(data.draw(st.lists(st.booleans(), min_size=n_items, max_size=n_items)))
    truth[data.draw(st.integers(0, n_items - 1))] = True
    k = data.draw(st.integers(1, n_items))
    found = rank_metrics([[1.0]], scores[:, None], scipy.sparse.csr_matrix(truth[None], dtype=float), ks=(k,))
    hits = truth[np.argsort(-scores, kind="stable")][:k]
    assert found.at_k[0].recall[0] == pytest.approx(hits.sum() / truth.sum())
    precisions = [hits[: i + 1].mean() for i in range(k) if hits[i]]
    assert found.at_k[0].average_precision[0] == pytest.approx(sum(precisions) / min(k, truth.sum()))
    assert found.tied[0] == any((scores == score).sum() > 1 for score in scores[truth])
    n_pairs = truth.sum() * (~truth).sum()
    if n_pairs:
        u = rankdata(scores)[truth].sum() - truth.sum() * (truth.sum() + 1) / 2
        assert found.auc[0] == pytest.approx(u / n_pairs)
    else:
        assert np.isnan(found.auc[0]) and found.means()["auc"] is None


def test_ndcg_alone_is_that_of_all_metrics(factors, interactions):
    held_out, _ = interactions
    alone = ndcg_at_k(*factors, held_out, 10)
    together = rank_metrics(*factors, held_out, ks=(10,))
    assert alone.shape == (60,) and np.isnan(alone[7])
    np.testing.assert_array_equal(np.delete(alone, 7), together.at_k[0].ndcg)


@pytest.mark.parametrize("queries, n_threads", [(1, 3), (7, 1), (1000, 2)])
def test_same_bits_for_any_block_size_and_number_of_threads(
    factors, interactions, queries, n_threads, monkeypatch
):
    playlists, items = factors
    items[50:60] = items[10:20]  # ties that rounding could break
    expected = rank_metrics(playlists, items, *interactions)
    monkeypatch.setattr(search, "BLOCK_SCORES", 1)
    monkeypatch.setattr(search, "LEAST_QUERIES", queries)
    monkeypatch.setattr("numba.get_num_threads", lambda: n_threads)
    received = rank_metrics(playlists, items, *interactions)
    np.testing.assert_array_equal(received.auc, expected.auc)
    for a, b in zip(received.at_k, expected.at_k, strict=True):
        for name in METRICS:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_k_beyond_the_candidates_of_any_playlist_is_not_available(factors, interactions):
    held_out, seen = interactions
    fewest = int(rank_metrics(*factors, held_out, seen).n_candidates.min())
    assert fewest < 90
    for k in (fewest, fewest + 1):
        assert rank_metrics(*factors, held_out, seen, ks=(k,)).at_k[0].available == (k == fewest)
    assert rank_metrics(*factors, held_out, ks=(90,)).at_k[0].available


def test_predictors_of_known_worth(random):
    playlists, items = random.standard_normal((200, 8)), random.standard_normal((300, 8))
    best = np.argsort(-playlists @ items.T, axis=1)[:, :5]
    held_out = held_out_at(*best.tolist(), n_items=300)
    perfect = rank_metrics(playlists, items, held_out, ks=(5, 10)).means()
    assert all(value == 1 for name, value in perfect.items() if name != "precision@10")
    assert perfect["precision@10"] == 0.5
    noise = rank_metrics(playlists, random.standard_normal((300, 8)), held_out, ks=(10,))
    # Chance, within 4 standard errors of the playlists.
    for values, chance in (
        (noise.auc, 1 / 2),
        (noise.at_k[0].recall, 10 / 300),
        (noise.at_k[0].precision, 5 / 300),
    ):
        assert abs(values.mean() - chance) < 4 * values.std() / np.sqrt(200)
    assert not noise.tied.any()
    constant = rank_metrics(playlists, mean_predictor(items.mean(axis=0), 300), held_out, ks=(10,))
    assert constant.tied.all()
    np.testing.assert_array_equal(constant.auc, 0.5)


def test_noise_takes_from_every_metric(random):
    playlists, items = random.standard_normal((200, 8)), random.standard_normal((300, 8))
    best = np.argsort(-playlists @ items.T, axis=1)[:, :5]
    held_out = held_out_at(*best.tolist(), n_items=300)
    noise = random.standard_normal((300, 8))
    rows = [rank_metrics(playlists, items + sd * noise, held_out, ks=(10,)).means() for sd in (0, 0.3, 1, 3)]
    for name in rows[0]:
        assert np.all(np.diff([row[name] for row in rows]) < 0), name


def test_bad_input_is_named(factors, interactions):
    playlists, items = factors
    held_out, seen = interactions
    with pytest.raises(DataError, match="at most 90.*Received: 91"):
        ndcg_at_k(playlists, items, held_out, 91)
    with pytest.raises(ConfigError, match="k is out of range"):
        ndcg_at_k(playlists, items, held_out, 0)
    with pytest.raises(DataError, match=r"shape \(60, 90\). Received: csr_matrix of shape \(90, 60\)"):
        rank_metrics(playlists, items, held_out.T.tocsr())
    with pytest.raises(DataError, match="seen must match.*Received: ndarray"):
        rank_metrics(playlists, items, held_out, seen.toarray())
    with pytest.raises(DataError, match=f"Received: {held_out.nnz} such pairs"):
        rank_metrics(playlists, items, held_out, held_out)
    with pytest.raises(DataError, match="nothing is held out"):
        rank_metrics(playlists, items, 0 * held_out)
    with pytest.raises(DataError, match="held_out must hold counts"):
        rank_metrics(playlists, items, -held_out)
    with pytest.raises(DataError, match="Received: 4 and 5"):
        rank_metrics(playlists[:, :4], items, held_out)


def test_counts_duplicates_and_stored_zeros_change_nothing(factors, interactions):
    held_out, seen = interactions
    expected = rank_metrics(*factors, held_out, seen, ks=(10,)).means()
    twice = scipy.sparse.csr_matrix(
        (3 * np.repeat(held_out.data, 2), np.repeat(held_out.indices, 2), 2 * held_out.indptr), held_out.shape
    )
    everywhere = scipy.sparse.csr_matrix(np.ones(seen.shape))
    everywhere.data[:] = seen.toarray().ravel()
    assert (twice.nnz, everywhere.nnz) == (2 * held_out.nnz, 60 * 90)
    assert rank_metrics(*factors, twice, everywhere, ks=(10,)).means() == expected
    assert (twice.data == 3).all() and (everywhere != seen).nnz == 0  # left as they were


@pytest.mark.parametrize("k", [1, 7, 80])
def test_gains_without_each_artist_as_ranked_again(random, factors, interactions, k):
    playlists, items = factors
    held_out = interactions[0]
    artists = np.append(random.integers(0, 40, 80), np.full(10, -1))
    clusters = cluster_artists(artists)
    lists = top_k_dot(playlists, items, 90)
    for metric in ("ndcg", "recall"):
        received = sum_gains(lists, held_out, k, artists, metric)
        assert received is not None and received.n_queries.sum() == np.count_nonzero(np.diff(held_out.indptr))
        means = received.sums[0].sum(axis=0) / received.n_queries.sum()
        expected = []
        for deleted in range(-1, clusters.max() + 1):
            left = clusters != deleted
            (at_k,) = rank_metrics(playlists, items[left], held_out[:, left], ks=(k,)).at_k
            expected.append(getattr(at_k, metric).mean())
        np.testing.assert_allclose(means, expected, rtol=1e-12)
    assert sum_gains(lists, scipy.sparse.csr_matrix(held_out.shape), k, artists) is None
