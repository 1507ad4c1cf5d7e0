import dataclasses

import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.spark.counts import map_regularization
from cs_keras.factors.wmf import WmfConfig, fit_protocol, fit_wmf, fold_in_boosted, fold_in_items
from tests.factors.plays import checkerboard, random_counts, solve_as_spark, solve_items

CONFIG = WmfConfig(factors=8, alpha=5.0, regularization=0.1, iterations=5, seed=3)
# Solved in float32 (relative rounding 6e-8), by normal equations of condition up to about 1e3.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


def test_checkerboard_predicts_the_missing_diagonal():
    user_items = checkerboard()
    items, playlists = fit_wmf(user_items, WmfConfig(factors=2))  # one dimension for each colour
    scores = playlists @ items.T
    is_even = np.indices(scores.shape).sum(axis=0) % 2 == 0
    assert scores[is_even].min() > 0.95
    assert np.abs(scores[~is_even]).max() < 0.05


def test_item_factors_solve_the_dense_normal_equations():
    user_items = random_counts(40, 25)
    items, playlists = fit_wmf(user_items, CONFIG)
    expected = solve_items(user_items, playlists, alpha=5.0, regularization=0.1)
    np.testing.assert_allclose(items, expected, **TOLERANCE)


def test_playlist_factors_solve_theirs_after_convergence():
    user_items = random_counts(40, 25)
    config = WmfConfig(factors=3, alpha=5.0, regularization=1.0, iterations=300)
    items, playlists = fit_wmf(user_items, config)
    expected = solve_items(user_items.T.tocsr(), items, alpha=5.0, regularization=1.0)
    np.testing.assert_allclose(playlists, expected, rtol=1e-3, atol=1e-3)


def test_fold_in_solves_the_dense_normal_equations_and_agrees_with_the_fit():
    user_items = random_counts(40, 25)
    items, playlists = fit_wmf(user_items, CONFIG)
    new = random_counts(40, 6, seed=9)
    expected = solve_items(new, playlists, alpha=5.0, regularization=0.1)
    np.testing.assert_allclose(fold_in_items(new, playlists, CONFIG), expected, **TOLERANCE)
    np.testing.assert_allclose(fold_in_items(user_items, playlists, CONFIG), items, **TOLERANCE)


def test_same_seed_same_bits_for_any_number_of_threads():
    user_items = random_counts(300, 200, density=0.05)
    config = WmfConfig(factors=32, iterations=3)
    one, two = (fit_wmf(user_items, config, num_threads=n) for n in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    folded = [fold_in_items(user_items, one[1], config, num_threads=n) for n in (1, 2)]
    assert np.array_equal(*folded)
    other, _ = fit_wmf(user_items, WmfConfig(factors=32, iterations=3, seed=1))
    assert not np.array_equal(one[0], other)


def test_input_is_left_as_it_was_and_its_storage_does_not_matter():
    user_items = random_counts(30, 20)
    before = user_items.copy()
    items, _ = fit_wmf(user_items, CONFIG)
    assert np.array_equal(user_items.data, before.data)
    coo = user_items.tocoo()
    halves = scipy.sparse.csr_matrix(  # each count as two stored halves, in reverse, with a stored zero
        (
            np.concatenate([coo.data[::-1] / 2, coo.data / 2, [0]]).astype(np.float32),
            (np.concatenate([coo.row[::-1], coo.row, [0]]), np.concatenate([coo.col[::-1], coo.col, [0]])),
        ),
        shape=coo.shape,
    )
    assert np.array_equal(fit_wmf(halves, CONFIG)[0], items)


@pytest.mark.parametrize(
    ("weight", "weigh"), [("count", lambda r: r), ("log", np.log1p), ("binary", np.sign)]
)
def test_the_weight_of_counts_is_applied_in_fits_and_fold_ins(weight, weigh):
    user_items = random_counts(40, 25)
    config = dataclasses.replace(CONFIG, weight=weight)
    items, playlists = fit_wmf(user_items, config)
    weights = scipy.sparse.csr_matrix(weigh(user_items.toarray()))
    expected = solve_items(weights, playlists, alpha=5.0, regularization=0.1)
    np.testing.assert_allclose(items, expected, **TOLERANCE)
    np.testing.assert_allclose(fold_in_items(user_items, playlists, config), expected, **TOLERANCE)


def test_with_sparks_penalty_new_tracks_are_solved_by_their_numbers_of_interactions():
    user_items, playlists = random_counts(40, 25), fit_wmf(random_counts(40, 25, seed=1), CONFIG)[1]
    expected = solve_as_spark(user_items, playlists, alpha=5.0, regularization=0.1)
    config = dataclasses.replace(CONFIG, engine="spark")
    np.testing.assert_allclose(fold_in_items(user_items, playlists, config), expected, **TOLERANCE)


@pytest.mark.parametrize("engine", ["implicit", "spark"])
def test_a_boosted_fold_in_is_the_least_squares_fit_to_filled_preferences(engine):
    rng = np.random.default_rng(0)
    config = dataclasses.replace(CONFIG, engine=engine)
    user_items = random_counts(40, 6).tolil()
    user_items[:, 2] = 0
    user_items = user_items.tocsr()
    playlists, predicted = (rng.normal(size=(n, 8)).astype(np.float32) for n in (40, 6))
    found = fold_in_boosted(user_items, playlists, config, predicted, half_fill=3)
    for track, counts in enumerate(user_items.toarray().T):
        n = np.count_nonzero(counts)
        filled = 3 / (3 + n) * playlists @ predicted[track]
        root = np.sqrt(1 + 5.0 * counts)
        penalty = np.sqrt(0.1 * (n if engine == "spark" else 1)) * np.eye(8)
        rows = np.vstack([root[:, np.newaxis] * playlists, penalty])
        wanted = np.concatenate([root * np.where(counts > 0, 1, filled), np.zeros(8)])
        expected = np.linalg.lstsq(rows, wanted, rcond=None)[0] if n else predicted[track]
        np.testing.assert_allclose(found[track], expected, rtol=1e-4, atol=1e-5)  # results are float32
    barely = fold_in_boosted(user_items[:, 3:], playlists, config, predicted[3:], half_fill=1e-9)
    np.testing.assert_allclose(barely, fold_in_items(user_items[:, 3:], playlists, config), **TOLERANCE)


def test_mapped_to_spark_a_regular_matrix_has_the_same_optimum():
    # Each of 60 playlists has 12 tracks and each of 40 tracks 18 playlists: penalties differ by a factor alone.
    held = (2 * np.arange(60)[:, np.newaxis] + np.arange(12)) % 40
    user_items = scipy.sparse.csr_matrix(
        (np.ones(720), (np.arange(60).repeat(12), held.ravel())), dtype=np.float32
    )
    assert set(user_items.sum(axis=0).A1) == {18}
    config = WmfConfig(factors=4, alpha=5.0, regularization=2.0, iterations=60)
    items, playlists = fit_wmf(user_items, config)
    mapped = dataclasses.replace(
        config, engine="spark", regularization=map_regularization(2.0, 720, (60, 40))
    )
    by_spark = items
    for _ in range(60):
        others = fold_in_items(user_items.T, by_spark, mapped)
        by_spark = fold_in_items(user_items, others, mapped)
    np.testing.assert_allclose(others @ by_spark.T, playlists @ items.T, atol=1e-3)


def test_an_unknown_weight_is_refused():
    with pytest.raises(ConfigError, match="weight must be one of count, log, binary. Received: 'tf'"):
        WmfConfig(weight="tf")


def test_what_nobody_listened_to_gets_zero_rows():
    user_items = random_counts(30, 20).tolil()
    user_items[:, 4] = 0
    user_items[7, :] = 0
    items, playlists = fit_wmf(user_items.tocsr(), CONFIG)
    assert not items[4].any() and not playlists[7].any()
    new = scipy.sparse.csr_matrix(([3.0], ([7], [1])), shape=(30, 2))  # held by the empty playlist alone
    assert not fold_in_items(new, playlists, CONFIG).any()


class TestProtocol:
    n_playlists, n_tracks = 60, 30
    is_train = np.arange(n_tracks) % 3 > 0
    test_track = 0

    def counts(self):
        return random_counts(self.n_playlists, self.n_tracks)

    def with_other_test_interactions(self):
        changed = self.counts().tolil()
        changed[:, self.test_track] = 7 * (np.arange(self.n_playlists) % 2)[:, None]
        return changed.tocsr()

    @pytest.mark.parametrize(("protocol", "is_same"), [("strict", True), ("thesis", False)])
    def test_only_strict_excludes_test_interactions(self, protocol, is_same):
        assert not self.is_train[self.test_track]
        fits = [
            fit_protocol(counts, self.is_train, CONFIG, protocol=protocol)
            for counts in (self.counts(), self.with_other_test_interactions())
        ]
        before, after = fits
        others = np.arange(self.n_tracks) != self.test_track
        assert np.array_equal(before.playlist_factors, after.playlist_factors) is is_same
        assert np.array_equal(before.item_factors[others], after.item_factors[others]) is is_same
        assert not np.array_equal(before.item_factors[self.test_track], after.item_factors[self.test_track])

    def test_strict_is_a_fit_on_train_and_a_fold_in_of_the_rest(self):
        counts = self.counts()
        fit = fit_protocol(counts, self.is_train, CONFIG)
        items, playlists = fit_wmf(counts[:, self.is_train], CONFIG)
        assert np.array_equal(fit.item_factors[self.is_train], items)
        assert np.array_equal(fit.playlist_factors, playlists)
        expected = solve_items(counts, playlists, alpha=5.0, regularization=0.1)
        np.testing.assert_allclose(fit.item_factors, expected, **TOLERANCE)

    def test_playlists_without_train_tracks_and_tracks_without_interactions_are_marked(self):
        counts = self.counts().tolil()
        counts[5, :] = 0
        counts[5, 0] = 2  # playlist 5 holds test track 0 and no other; track 0 is in no other playlist
        counts[:5, 0] = 0
        counts[6:, 0] = 0
        counts[:, 4] = 0
        fit = fit_protocol(counts.tocsr(), self.is_train, CONFIG)
        assert fit.n_unfitted_playlists == 1 and not fit.playlist_factors[5].any()
        assert np.flatnonzero(~fit.has_factors).tolist() == [0, 4]
        assert fit_protocol(counts.tocsr(), self.is_train, CONFIG, protocol="thesis").has_factors[0]

    def test_all_tracks_may_be_train_tracks(self):
        everything = np.ones(self.n_tracks, dtype=bool)
        strict, thesis = (
            fit_protocol(self.counts(), everything, CONFIG, protocol=p) for p in ("strict", "thesis")
        )
        assert np.array_equal(strict.item_factors, thesis.item_factors)

    def test_bad_arguments(self):
        with pytest.raises(ConfigError, match="protocol must be one of strict, thesis. Received: 'loose'"):
            fit_protocol(self.counts(), self.is_train, CONFIG, protocol="loose")
        with pytest.raises(DataError, match=r"is_train must be bool of shape \(30,\). Received: int64"):
            fit_protocol(self.counts(), np.arange(self.n_tracks), CONFIG)
        with pytest.raises(DataError, match="expected interactions to fit on"):
            fit_protocol(self.counts(), np.zeros(self.n_tracks, dtype=bool), CONFIG)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("factors", 0, "factors must be an integer of at least 1. Received: 0"),
        ("factors", 2.0, "factors must be an integer"),
        ("iterations", 0, "iterations must be an integer of at least 1"),
        ("seed", -1, "seed must be an integer of at least 0"),
        ("alpha", 0, "alpha must be a finite number above 0"),
        ("alpha", float("inf"), "alpha must be a finite number above 0. Received: inf"),
        ("regularization", float("nan"), "regularization must be a finite number above 0"),
        ("regularization", "0.1", "regularization must be a finite number above 0. Received: '0.1'"),
    ],
)
def test_config_outside_its_range(name, value, message):
    with pytest.raises(ConfigError, match=message):
        WmfConfig(**{name: value})


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (-1, "counts must be finite and at least 0"),
        (np.nan, "counts must be finite"),
        (1e38, "cannot be solved"),
    ],
)
def test_counts_that_cannot_be_fitted(count, message):
    counts = random_counts(20, 10)
    counts.data[3] = count
    with pytest.raises(DataError, match=message):
        fit_wmf(counts, CONFIG)


def test_fold_in_of_another_shape():
    with pytest.raises(DataError, match=r"playlist_factors must be of shape \(20, 8\). Received: \(19, 8\)"):
        fold_in_items(random_counts(20, 3), np.zeros((19, 8), np.float32), CONFIG)


def test_fewer_tracks_than_factors_are_still_solved() -> None:
    plays = random_counts(40, 5)
    config = WmfConfig(factors=200, seed=1)
    items, playlists = fit_wmf(plays, config)
    assert np.isfinite(items).all() and np.isfinite(playlists).all()
    preferred = plays.toarray() > 0
    scores = playlists @ items.T
    assert scores[preferred].min() > scores[~preferred].max()
