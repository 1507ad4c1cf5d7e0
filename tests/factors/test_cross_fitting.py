import dataclasses

import numpy as np
import pytest
import scipy.sparse
from implicit.cpu.als import AlternatingLeastSquares
from scipy.stats import ortho_group
from threadpoolctl import threadpool_limits

from benchmarks.demo_truth import Study
from cs_keras.data.demo.config import DemoConfig
from cs_keras.errors import DataError
from cs_keras.factors.cross_fitting import MAX_GROUPS, cross_fit, group_folds
from cs_keras.factors.wmf import WmfConfig, draw_item_factors, fit_protocol, fit_wmf
from pipelines.demo import DEMO_FACTORS
from tests.factors.plays import random_counts, solve_items

CONFIG = WmfConfig(factors=4, alpha=5.0, regularization=0.1, iterations=5, seed=3)
FOLDS = np.arange(30) % 5
IS_TRAIN = FOLDS < 3


def cross_fitted(user_items):
    fit = fit_protocol(user_items, IS_TRAIN, CONFIG)
    return fit, cross_fit(user_items, IS_TRAIN, group_folds(FOLDS, IS_TRAIN), fit, CONFIG)


def test_initial_factors_are_those_of_implicit():
    user_items = random_counts(40, 30)
    confidence = user_items.copy()
    confidence.data = 1 + CONFIG.alpha * confidence.data
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(4, 0.1, iterations=5, use_cg=False, random_state=3, num_threads=1)
        model.fit(confidence, show_progress=False)
    np.testing.assert_array_equal(fit_wmf(user_items, CONFIG)[0], model.item_factors)


def test_held_out_tracks_are_folded_into_fits_of_the_others_and_rotated():
    user_items = random_counts(60, 30)
    fit, crossed = cross_fitted(user_items)
    initial = draw_item_factors((60, int(IS_TRAIN.sum())), CONFIG)
    for fold, residual in zip(range(3), crossed.residuals, strict=True):
        rest, is_out = IS_TRAIN & (fold != FOLDS), fold == FOLDS
        _, playlists = fit_wmf(
            user_items[:, rest], CONFIG, initial_item_factors=initial[fold != FOLDS[IS_TRAIN]]
        )
        left, _, right = np.linalg.svd(playlists.T.astype(np.float64) @ fit.playlist_factors)
        # Normal equations do not change with the rotation of the playlists. Solved in float32.
        turned = playlists @ (left @ right)
        expected = solve_items(user_items[:, is_out], turned, alpha=5.0, regularization=0.1)
        np.testing.assert_allclose(crossed.fit.item_factors[is_out], expected, rtol=2e-3, atol=2e-4)
        main = fit.playlist_factors[
            playlists.any(axis=1)
        ]  # playlists of held-out tracks alone are not shared
        difference = np.linalg.norm(turned[playlists.any(axis=1)] - main) ** 2
        assert residual == pytest.approx(difference / np.linalg.norm(main) ** 2, rel=1e-4)
    np.testing.assert_array_equal(crossed.fit.item_factors[~IS_TRAIN], fit.item_factors[~IS_TRAIN])
    np.testing.assert_array_equal(crossed.fit.playlist_factors, fit.playlist_factors)


def test_a_tracks_own_interactions_do_not_change_the_playlists_it_is_folded_into():
    counts = random_counts(60, 30).toarray()
    _, before = cross_fitted(scipy.sparse.csr_matrix(counts))
    counts[:, 0] = 1 - np.minimum(counts[:, 0], 1)  # of fold 0
    _, after = cross_fitted(scipy.sparse.csr_matrix(counts))
    # The main fit changes, and with it rotations; tracks of fold 0 keep their products with each other.
    others = (FOLDS == 0) & (np.arange(30) > 0)
    gram = [one.fit.item_factors[others] @ one.fit.item_factors[others].T for one in (before, after)]
    np.testing.assert_allclose(gram[0], gram[1], rtol=1e-4, atol=1e-5)  # float32


def test_the_rotation_of_a_fit_does_not_matter():
    user_items = random_counts(60, 30)
    fit, crossed = cross_fitted(user_items)
    rotation = ortho_group.rvs(4, random_state=0).astype(np.float32)
    turned = dataclasses.replace(
        fit, item_factors=fit.item_factors @ rotation, playlist_factors=fit.playlist_factors @ rotation
    )
    other = cross_fit(user_items, IS_TRAIN, group_folds(FOLDS, IS_TRAIN), turned, CONFIG)
    np.testing.assert_allclose(
        other.fit.item_factors, crossed.fit.item_factors @ rotation, rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(other.residuals, crossed.residuals, rtol=1e-4)


def test_a_track_alone_in_its_playlists_with_its_fold_has_no_factors():
    counts = random_counts(60, 30).toarray()
    counts[:, 0] = 0
    counts[60 - 2 :] = 0
    counts[58, [0, 5]], counts[59, [5, 10]] = 1, 1  # tracks 0, 5 and 10 are all of fold 0
    fit, crossed = cross_fitted(scipy.sparse.csr_matrix(counts))
    assert fit.has_factors[0] and not crossed.fit.has_factors[0]
    assert not crossed.fit.item_factors[0].any()


def test_groups_are_of_whole_folds_and_at_most_eight():
    folds, is_train = np.arange(40) % 20, np.arange(40) % 20 < 18
    groups = group_folds(folds, is_train)
    assert (groups[~is_train] == -1).all()
    numbers = [set(groups[folds == fold]) for fold in range(18)]
    assert all(len(one) == 1 for one in numbers) and len(set.union(*numbers)) <= MAX_GROUPS
    assert group_folds(FOLDS, IS_TRAIN)[:5].tolist() == [0, 1, 2, -1, -1]


def test_a_single_fold_is_refused():
    user_items = random_counts(60, 30)
    fit = fit_protocol(user_items, IS_TRAIN, CONFIG)
    with pytest.raises(DataError, match="expected two folds or more. Received: 1"):
        cross_fit(user_items, IS_TRAIN, group_folds(np.zeros(30), IS_TRAIN), fit, CONFIG)


@pytest.mark.slow
def test_regressions_that_overfit_gain_by_cross_fitted_targets_and_the_best_loses_nothing():
    first_demo = Study(DemoConfig.of_size(480, n_playlists=2500), WmfConfig(32, 40.0)).compare_targets()
    in_sample, crossed = first_demo["ridge, penalty 1"]
    assert in_sample < 0.02 and crossed > in_sample + 0.06  # gains of five data sets: docs/decisions.md
    gains = {
        name: own[1] - own[0] for name, own in Study(DemoConfig(), DEMO_FACTORS).compare_targets().items()
    }
    assert gains["ridge, penalty 1"] > 0.01
    assert gains["kernel ridge, penalty 0.5"] > 0.02
    assert abs(gains["best from sound"]) < 0.02
