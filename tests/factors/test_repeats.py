import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.factors.repeats import fit_halves, refit_with_next_seed
from cs_keras.factors.wmf import WmfConfig, fit_protocol
from tests.factors.plays import random_counts, solve_items

CONFIG = WmfConfig(factors=4, alpha=5.0, regularization=0.1, iterations=5, seed=3)
IS_TRAIN = np.arange(20) < 14


def test_the_second_seed_is_the_next_one():
    user_items = random_counts(40, 20)
    second = refit_with_next_seed(user_items, IS_TRAIN, CONFIG, "strict")
    other = fit_protocol(user_items, IS_TRAIN, WmfConfig(4, 5.0, 0.1, 5, seed=4))
    assert np.array_equal(second.item_factors, other.item_factors)
    assert np.array_equal(second.playlist_factors, other.playlist_factors)
    last = WmfConfig(4, 5.0, 0.1, 5, seed=2**32 - 1)
    begun_again = refit_with_next_seed(user_items, IS_TRAIN, last, "strict")
    first = fit_protocol(user_items, IS_TRAIN, WmfConfig(4, 5.0, 0.1, 5, seed=0))
    assert np.array_equal(begun_again.item_factors, first.item_factors)


@pytest.mark.parametrize(("protocol", "fitted"), [("strict", IS_TRAIN), ("thesis", np.ones(20, dtype=bool))])
def test_all_playlists_are_folded_into_each_half(protocol, fitted):
    user_items = random_counts(41, 20)
    for half in fit_halves(user_items, IS_TRAIN, CONFIG, protocol):
        expected = solve_items(
            user_items[:, fitted].T.tocsr(), half.item_factors[fitted], alpha=5.0, regularization=0.1
        )
        # Solved in float32, by normal equations of condition up to about 1e3.
        np.testing.assert_allclose(half.playlist_factors, expected, rtol=1e-3, atol=1e-4)


def test_halves_share_no_playlist():
    groups = scipy.sparse.csr_matrix(np.eye(12, dtype=np.float32))  # each track is in one playlist only
    halves = fit_halves(groups, np.ones(12, dtype=bool), CONFIG, "strict")
    placed = [half.item_factors.any(axis=1) for half in halves]
    assert placed[0].sum() == 6 and np.array_equal(placed[0], ~placed[1])


def test_under_strict_the_interactions_of_test_tracks_change_no_other_factors():
    user_items = random_counts(40, 20).toarray()
    changed = user_items.copy()
    changed[:, ~IS_TRAIN] = 1 - np.minimum(changed[:, ~IS_TRAIN], 1)
    for fits in (fit_halves, lambda *given: (refit_with_next_seed(*given),)):
        before, after = (
            fits(scipy.sparse.csr_matrix(counts), IS_TRAIN, CONFIG, "strict")
            for counts in (user_items, changed)
        )
        for old, new in zip(before, after, strict=True):
            assert np.array_equal(old.item_factors[IS_TRAIN], new.item_factors[IS_TRAIN])
            assert np.array_equal(old.playlist_factors, new.playlist_factors)
            assert not np.array_equal(old.item_factors[~IS_TRAIN], new.item_factors[~IS_TRAIN])


def test_too_few_interactions_for_halves_are_an_error():
    with pytest.raises(DataError, match="expected interactions to fit on"):
        fit_halves(random_counts(1, 20), IS_TRAIN, CONFIG, "strict")
