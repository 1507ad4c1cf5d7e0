"""Interactions split into fold-ins and held-out rest, and ways to combine fold-ins with predictions."""

import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation.hybrid import (
    blend_factors,
    cascade_scores,
    mean_cosine,
    split_interactions,
    switch_factors,
)
from cs_keras.evaluation.rank_fusion import top_k_scored
from cs_keras.evaluation.search.topk import TopK


@pytest.fixture
def user_items() -> scipy.sparse.csr_matrix:
    rng = np.random.default_rng(0)
    return scipy.sparse.csr_matrix((rng.random((40, 12)) < 0.5) * rng.integers(1, 9, (40, 12)))


def test_no_pair_is_both_selected_and_held_back(user_items: scipy.sparse.csr_matrix) -> None:
    split = split_interactions(user_items, 5, seed=0)
    held = user_items[:, split.tracks].toarray()
    rest = split.rest.toarray()
    for n in range(6):
        selected = split.select_first(n).toarray()
        assert (np.count_nonzero(selected, axis=0) == n).all()
        assert not (selected.astype(bool) & rest.astype(bool)).any()
        assert ((selected == held) | (selected == 0)).all()
    np.testing.assert_array_equal(split.select_first(5).toarray() + rest, held)


def test_more_playlists_include_the_earlier_ones(user_items: scipy.sparse.csr_matrix) -> None:
    split = split_interactions(user_items, 5, seed=0)
    for n in range(5):
        assert (split.select_first(n).toarray() <= split.select_first(n + 1).toarray()).all()


def test_tracks_in_too_few_playlists_are_left_out() -> None:
    user_items = scipy.sparse.csr_matrix([[1, 1, 1], [1, 0, 1], [1, 0, 1], [1, 0, 0]])
    assert split_interactions(user_items, 2, seed=0).tracks.tolist() == [0]
    with pytest.raises(DataError, match="at least 6 playlists.*Received: at most 4"):
        split_interactions(user_items, 3, seed=0)


def test_another_seed_selects_other_playlists(user_items: scipy.sparse.csr_matrix) -> None:
    first, again, other = (
        split_interactions(user_items, 3, seed).select_first(3).toarray() for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_weighting_moves_from_prediction_to_fold_in() -> None:
    predicted, folded = np.float32([[3, 0]]), np.float32([[0, 0.1]])
    np.testing.assert_array_equal(blend_factors(predicted, folded, 0, 4), predicted)
    np.testing.assert_allclose(
        blend_factors(predicted, folded, 4, 4), 3 * np.float32([[1, 1]]) / np.sqrt(2), rtol=1e-6
    )
    x, y = blend_factors(predicted, folded, 12, 4)[0]
    assert y / x == pytest.approx(3)


def test_weighting_takes_each_tracks_own_number() -> None:
    predicted, folded = np.float32([[1, 0], [1, 0]]), np.float32([[0, 1], [0, 1]])
    mixed = blend_factors(predicted, folded, [0, 1], 1)
    np.testing.assert_allclose(mixed, [[1, 0], [np.sqrt(0.5), np.sqrt(0.5)]], rtol=1e-6)


def test_a_track_without_a_fold_in_keeps_its_prediction() -> None:
    predicted = np.float32([[1, 2]])
    np.testing.assert_allclose(
        blend_factors(predicted, np.zeros((1, 2), np.float32), 3, 1), predicted, rtol=1e-6
    )


def test_switching() -> None:
    predicted, folded = np.float32([[1, 0], [1, 0]]), np.float32([[0, 1], [0, 1]])
    np.testing.assert_array_equal(switch_factors(predicted, folded, [1, 2], 2), [[1, 0], [0, 1]])
    np.testing.assert_array_equal(switch_factors(predicted, folded, 9, None), predicted)


@pytest.mark.parametrize("tier_size", [1, 3, 9])
def test_a_cascade_equals_a_sort_by_tier_then_score(tier_size: int) -> None:
    rng = np.random.default_rng(tier_size)
    coarse, fine = rng.integers(0, 5, (4, 9)).astype(float), rng.normal(size=(4, 9))
    coarse[:, 8] = -np.inf  # the query's own item
    queries = np.arange(4)
    lists = TopK(np.zeros((4, 8), np.int32), np.zeros((4, 8), bool), queries, 9, "cosine")
    found = top_k_scored(cascade_scores(lambda q: coarse[q], lambda q: fine[q], tier_size), lists)
    for query in queries:
        better = [sum(other > own for other in coarse[query]) for own in coarse[query]]
        order = sorted(range(8), key=lambda i: (better[i] // tier_size, -fine[query, i]))
        assert found.indices[query].tolist() == order


def test_mean_cosine() -> None:
    rows = np.float32([[1, 0], [0, 2], [0, 0]])
    assert mean_cosine(rows, np.float32([[5, 0], [0, -1], [1, 1]])) == 0
    assert mean_cosine(rows[:2], rows[:2]) == 1
