import numpy as np
import pytest
from scipy.stats import ortho_group

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.overlap import evaluate_overlap, rank_reference
from cs_keras.evaluation.reference_predictors import mean_predictor, random_predictor, score_by_mean_playlist

FEW = {"n_permutations": 99}


@pytest.fixture
def reference(random):
    return random.standard_normal((150, 8)).astype(np.float32)


@pytest.fixture
def playlists(random):
    return (random.standard_normal((80, 8)) + 0.5).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_identity_and_rotation_overlap_fully(reference, metric):
    rotated = reference @ ortho_group.rvs(8, random_state=0)
    for predicted in (reference, rotated):
        for row in evaluate_overlap(reference, predicted, ks=(5, 50), metric=metric, **FEW):
            # Rounding to float32 may swap a pair at the border; the identity may not lose anything.
            assert row.overlap == 1 if predicted is reference else row.overlap > 0.999
            assert row.p_value == 0.01
            assert row.low <= row.overlap <= row.high
            assert not row.flagged


def test_rotation_of_tracks_and_playlists_overlaps_fully(reference, playlists):
    same = evaluate_overlap(reference, reference, ks=(5,), playlist_factors=playlists, **FEW)[0]
    assert (same.overlap, same.n_queries, same.n_candidates) == (1, 80, 150)
    rotated = evaluate_overlap(
        reference, reference @ ortho_group.rvs(8), ks=(5,), playlist_factors=playlists, **FEW
    )
    assert rotated[0].overlap < 0.5  # playlists that did not turn along


def test_noise_overlaps_as_chance(random):
    reference = random.standard_normal((400, 20))
    for row in evaluate_overlap(reference, random_predictor(reference, seed=1), ks=(10, 100), **FEW):
        assert row.chance == row.k / 399
        # 4 standard deviations for independent lists; those of near neighbours are not quite.
        assert abs(row.overlap - row.chance) < 4 * row.chance_sd
        assert row.p_value > 0.01
        assert row.null_mean == pytest.approx(row.chance, rel=0.02)


def test_mean_predictor_is_flagged(reference, playlists):
    predicted = mean_predictor(reference.mean(axis=0), len(reference))
    for queries in (None, playlists):
        row = evaluate_overlap(reference, predicted, ks=(10,), playlist_factors=queries, **FEW)[0]
        assert row.flagged and row.tied_share == 1


def test_lists_beyond_the_candidates_are_not_available(reference, playlists):
    rows = evaluate_overlap(reference, reference, ks=(150, 10, 149), **FEW)
    assert [(row.k, row.available, row.overlap) for row in rows] == [
        (150, False, None),
        (10, True, 1),
        (149, True, 1),
    ]
    assert rows[0].n_candidates == 149 and rows[0].flagged is None
    rows = evaluate_overlap(reference, reference, ks=(150, 151), playlist_factors=playlists, **FEW)
    assert [row.available for row in rows] == [True, False]
    assert not evaluate_overlap(reference, reference, ks=(500,), **FEW)[0].available


def test_ready_reference_lists_change_nothing(random, reference, playlists):
    predicted = reference + random.standard_normal(reference.shape)
    for queries in (None, playlists):
        lists = rank_reference(reference, ks=(5, 40), playlist_factors=queries)
        settings = {"ks": (5, 20), "playlist_factors": queries, **FEW}
        expected = evaluate_overlap(reference, predicted, **settings)
        assert evaluate_overlap(reference, predicted, reference_lists=lists, **settings) == expected
        assert evaluate_overlap(reference, predicted, **settings) == expected


def test_prefixes_are_lists_of_their_own(random, reference):
    predicted = reference + random.standard_normal(reference.shape)
    together = evaluate_overlap(reference, predicted, ks=(5, 50), **FEW)
    assert together == [evaluate_overlap(reference, predicted, ks=(k,), **FEW)[0] for k in (5, 50)]


def test_queries_without_a_reference_order_are_left_out(reference, playlists):
    reference[[4, 9]] = 0
    playlists[3] = 0
    assert evaluate_overlap(reference, reference, ks=(5,), **FEW)[0].n_queries == 148
    assert evaluate_overlap(reference, reference, ks=(5,), metric="euclidean", **FEW)[0].n_queries == 150
    row = evaluate_overlap(reference, reference, ks=(5,), playlist_factors=playlists, **FEW)[0]
    assert (row.n_queries, row.n_candidates) == (79, 150)
    predicted = reference.copy()
    predicted[20:60] = 0  # the model's own fault: counted, and seen
    row = evaluate_overlap(reference, predicted, ks=(5,), **FEW)[0]
    assert row.n_queries == 148 and row.flagged
    with pytest.raises(DataError, match="there are no queries"):
        evaluate_overlap(0 * reference, reference, ks=(5,), **FEW)


def test_queries_are_sampled(reference, playlists):
    row = evaluate_overlap(reference, reference, ks=(5,), max_queries=30, **FEW)[0]
    assert (row.n_queries, row.n_candidates, row.overlap, row.p_value) == (30, 149, 1, 0.01)
    row = evaluate_overlap(reference, reference, ks=(5,), playlist_factors=playlists, max_queries=30, **FEW)[
        0
    ]
    assert (row.n_queries, row.n_candidates, row.overlap) == (30, 150, 1)


def test_one_ranking_is_the_same_for_every_playlist(reference, playlists):
    scores = score_by_mean_playlist(reference, playlists)
    row = evaluate_overlap(reference, scores, ks=(15,), playlist_factors=playlists, **FEW)[0]
    single = set(np.argsort(-scores)[:15])
    expected = [
        len(single & set(order[:15])) / 15 for order in np.argsort(-playlists @ reference.T, axis=1).tolist()
    ]
    assert row.overlap == pytest.approx(np.mean(expected), rel=1e-12)
    assert row.overlap > row.chance
    with pytest.raises(DataError, match="predicted factors is not a factor matrix"):
        evaluate_overlap(reference, scores, ks=(15,), **FEW)


def test_bad_input_is_named(reference, playlists):
    with pytest.raises(DataError, match=r"\(150, 8\) and \(150, 7\)"):
        evaluate_overlap(reference, reference[:, :7], **FEW)
    with pytest.raises(DataError, match="predicted factors holds"):
        evaluate_overlap(reference, np.full_like(reference, np.inf), ks=(5,), **FEW)
    with pytest.raises(DataError, match="n_items. Received: 150 and 149"):
        evaluate_overlap(reference, np.arange(149.0), ks=(5,), playlist_factors=playlists, **FEW)
    with pytest.raises(DataError, match="are of another reference"):
        evaluate_overlap(reference, reference, reference_lists=rank_reference(reference[:100]), **FEW)
    with pytest.raises(DataError, match="expected k from 1 to 7"):
        evaluate_overlap(
            reference, reference, ks=(9,), reference_lists=rank_reference(reference, ks=(5,)), **FEW
        )
    for ks in ((), (0,), (1.5,), 10):
        with pytest.raises(ConfigError):
            evaluate_overlap(reference, reference, ks=ks)
    with pytest.raises(ConfigError, match="max_queries"):
        rank_reference(reference, max_queries=0)


@pytest.fixture
def population(random):
    """Factors of 300 tracks, and a prediction good enough for overlaps to differ from query to query."""
    reference = random.standard_normal((300, 8)).astype(np.float32)
    return reference, (reference + random.standard_normal(reference.shape)).astype(np.float32)


def test_intervals_of_sampled_queries_hold_what_all_queries_give(population):
    whole = evaluate_overlap(*population, ks=(10,), n_permutations=1)[0].overlap
    rows = [
        evaluate_overlap(*population, ks=(10,), max_queries=25, seed=seed, n_permutations=1)[0]
        for seed in range(200)
    ]
    n_held = sum(row.low <= whole <= row.high for row in rows)
    # 95 % of 200 and 5 standard errors below. A twelfth of all queries is drawn, so a little more is right too.
    assert 190 - 5 * np.sqrt(200 * 0.95 * 0.05) <= n_held < 200
    assert np.mean([row.overlap for row in rows]) == pytest.approx(
        whole, abs=4 * np.std([row.overlap for row in rows]) / np.sqrt(200)
    )


def test_fewer_queries_have_wider_intervals(population):
    def width(max_queries):
        rows = [
            evaluate_overlap(*population, ks=(10,), max_queries=max_queries, seed=seed, n_permutations=1)[0]
            for seed in range(20)
        ]
        assert {row.n_queries for row in rows} == {max_queries}
        return np.mean([row.high - row.low for row in rows])

    # The part of the queries falls as the square root of their number, that of the candidates stays.
    assert 1.4 < width(25) / width(100) < 2.1
