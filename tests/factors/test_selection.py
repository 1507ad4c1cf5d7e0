import dataclasses
import json

import numpy as np
import pytest
import scipy.sparse
import scipy.stats

from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.grid import Grid
from cs_keras.factors.interactions import hold_out_tracks
from cs_keras.factors.selection import (
    Averaging,
    Failure,
    Mean,
    Result,
    Selection,
    parse_averaging,
    parse_outcome,
    rank_results,
)
from cs_keras.factors.wmf import WmfConfig
from tests.factors.plays import random_counts


def result(rank, ndcg, agreement, error=0.01):
    mean = Mean(agreement, 0.01, 100)
    return Result(
        WmfConfig(rank), Mean(ndcg, error, 50), Mean(ndcg, error, 50), mean, mean, None, None, seconds=1.0
    )


def selection(results, failures=()):
    ranked, n_eligible = rank_results(results)
    return Selection(ranked, n_eligible, tuple(failures), n_seeds=2, n_train=101, n_validation=5)


def test_grid_in_order_and_its_random_parts():
    grid = Grid((2, 4), (1.0,), (0.1, 1.0), (5, 10))
    every = grid.settings(seed=3)
    assert len(every) == 8 and every[0] == WmfConfig(2, 1.0, 0.1, 5, seed=3)
    assert [one.iterations for one in every[:4]] == [5, 10, 5, 10]
    parts = [grid.settings(n, seed=3) for n in range(1, 9)]
    assert [len(part) for part in parts] == list(range(1, 9))
    assert all(set(less) < set(more) for less, more in zip(parts, parts[1:], strict=False))
    assert all([one for one in every if one in part] == part for part in parts)
    assert grid.settings(3, seed=4) != [dataclasses.replace(one, seed=4) for one in parts[2]]


def test_bad_grids_are_refused():
    for values, message in (
        ({"factors": ()}, "factors must have one value"),
        ({"alpha": (1.0, 1.0)}, r"several that differ. Received: \(1.0, 1.0\)"),
        ({"regularization": (0.0,)}, "regularization must be a finite number above 0"),
        ({"iterations": (0,)}, "iterations must be an integer of at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            Grid(**values)
    with pytest.raises(ConfigError, match="At least one setting must be tried. Received: 0"):
        Grid().settings(0)


def test_a_share_of_each_playlist_is_held_out():
    user_items = random_counts(60, 40, density=0.3)
    rest, held_out = hold_out_tracks(user_items, 0.2, seed=1)
    assert (rest + held_out != user_items).nnz == 0
    assert rest.multiply(held_out).nnz == 0
    np.testing.assert_array_equal(held_out.getnnz(axis=1), np.floor(0.2 * user_items.getnnz(axis=1)))
    again, other = (hold_out_tracks(user_items, 0.2, seed)[1] for seed in (1, 2))
    assert (again != held_out).nnz == 0 and (other != held_out).nnz > 0


def test_any_track_of_a_playlist_may_be_held_out():
    user_items = scipy.sparse.csr_matrix(np.ones((1, 5), np.float32))
    drawn = [hold_out_tracks(user_items, 0.2, seed)[1].indices.item() for seed in range(100)]
    assert set(drawn) == set(range(5))


def test_playlists_too_short_to_hold_out_from():
    with pytest.raises(DataError, match="at least 5. Received: at most 4"):
        hold_out_tracks(scipy.sparse.csr_matrix(np.ones((3, 4), np.float32)), 0.2, seed=0)


def test_mean_and_error_as_scipy():
    values = np.random.default_rng(0).random(30)
    mean = Mean.over(values)
    assert (mean.value, mean.error) == pytest.approx((values.mean(), scipy.stats.sem(values)))
    assert Mean.over(values[:1]) == Mean(values[0], 0.0, 1)


def test_the_most_stable_of_the_good_is_recommended():
    best, stable, bad = result(32, 0.30, 0.5), result(16, 0.29, 0.7), result(8, 0.289, 0.99)
    found = selection([best, bad, stable])
    assert found.results == (stable, best, bad)  # 0.29 is just within one standard error, 0.289 is not
    assert found.n_eligible == 2
    assert found.describe() == (
        "Recommended: 16 factors, alpha 40, regularization 0.01, 15 iterations; of 3 settings 2 have an nDCG@10 "
        "within one standard error (1.0) of the best (30.0 %), and of these its seeds agree most, on 70.0 % of the "
        "top 10 of train tracks."
    )
    assert "only this one has" in selection([best, bad]).describe()


def test_ties_are_broken_by_number_of_factors():
    wide, narrow = result(32, 0.30, 0.7004), result(16, 0.295, 0.6996)
    assert selection([wide, narrow]).recommended is narrow
    assert selection([wide, result(16, 0.295, 0.699)]).recommended is wide


def test_recommendations_at_an_end_of_the_grid():
    low, middle, high = (result(rank, 0.3, agreement) for rank, agreement in ((8, 0.5), (16, 0.9), (32, 0.5)))
    assert selection([low, middle, high]).at_edge == ()
    assert selection([low, middle]).at_edge == ("factors",)
    assert selection([low, middle], [Failure(WmfConfig(64), "too wide")]).at_edge == ()
    assert selection([low]).at_edge == ()


def test_nothing_to_choose_from():
    with pytest.raises(DataError, match="no setting could be fitted"):
        rank_results([])


@pytest.mark.parametrize(("low", "is_better"), [(0.001, True), (0.0, False), (-0.1, False)])
def test_an_average_is_used_if_it_gains_significantly(low, is_better):
    single, averaged = Mean(0.5, 0.01, 100), Mean(0.6, 0.01, 100)
    averaging = Averaging(4, single, averaged, low, 0.2, None, averaged, single, averaged)
    found = dataclasses.replace(selection([result(8, 0.3, 0.5)]), averaging=averaging)
    assert averaging.is_better is is_better
    assert found.n_averaged == (4 if is_better else 1)
    assert averaging.describe().endswith("the average is used." if is_better else "so a single seed is used.")
    assert "a difference of 10.0" in averaging.describe()
    assert parse_averaging(json.loads(json.dumps(dataclasses.asdict(averaging)))) == averaging


def test_outcomes_survive_as_json():
    for outcome in (result(8, 0.3, 0.5), Failure(WmfConfig(4), "no")):
        assert parse_outcome(json.loads(json.dumps(dataclasses.asdict(outcome)))) == outcome
