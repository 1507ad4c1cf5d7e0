import functools
import itertools

import keras
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import KernelCenterer, StandardScaler
from sklearn.svm import SVR

from cs_keras import config
from cs_keras.models import bot, choi_features, get_baseline, regressors
from cs_keras.training.feature_learning import boosted_trees, kernel_ridge
from cs_keras.training.feature_learning.regressors import (
    PENALTIES,
    RegressionData,
    apply_head,
    choose_examples,
    fit_output_layer,
)

N_CENTROIDS = 12
FIGURES = ["loss", "val_loss", "seconds", "sequences_per_s", "mb_per_s", "input_wait_share"]


def problem(n, n_features=N_CENTROIDS, seed=0):
    """Histograms, and three factors that are bent functions of them."""
    random = np.random.default_rng(seed)
    x = random.gamma(1.0, size=(n, n_features)).astype(np.float32)
    y = np.stack([np.sin(x[:, 0]), x[:, 1] - x[:, 2], np.tanh(x[:, 3])], axis=1)
    return RegressionData(x, (y - y.mean(axis=0)).astype(np.float32))


def bot_baseline(**settings):
    return config.replace(get_baseline("bot"), {"model": {"n_centroids": N_CENTROIDS, **settings}})


def solved(baseline, train, validation, module=bot):
    head = module.build_regressor(baseline, 3)
    module.adapt(head, baseline, train.inputs)
    return fit_output_layer(head, train, validation, baseline.model)


def scaled(x, scaling, train):
    if scaling == "tfidf":
        return x * (np.log((1 + len(train)) / (1 + (train > 0).sum(axis=0))) + 1)
    return np.log1p(x) if scaling == "log" else x


@pytest.mark.parametrize("scaling", bot.SCALINGS)
def test_ridge_is_that_of_scikit_learn(scaling):
    train, validation = problem(50), problem(20, seed=1)
    train.inputs[train.inputs < 1] = 0
    head, _ = solved(bot_baseline(regressor="ridge", penalty=3.0, scaling=scaling), train, validation)
    ridge = Ridge(alpha=3.0).fit(scaled(train.inputs, scaling, train.inputs), train.targets)
    expected = ridge.predict(scaled(validation.inputs, scaling, train.inputs))
    np.testing.assert_allclose(head(validation.inputs), expected, atol=1e-5)  # float32 against float64


def test_each_factor_has_the_penalty_of_generalised_cross_validation():
    train, validation = problem(60), problem(20, seed=1)
    train.targets[:, 2] = np.random.default_rng(3).normal(size=60)  # noise: the highest penalties
    sizes = np.geomspace(0.1, 100, N_CENTROIDS, dtype=np.float32)
    sizes[5] = 0.0  # never varies
    train, validation = (RegressionData(part.inputs * sizes, part.targets) for part in (train, validation))
    head, _ = solved(bot_baseline(regressor="ridge_gcv"), train, validation)
    scaler = StandardScaler().fit(train.inputs.astype(float))
    chosen = []
    for factor, targets in enumerate(train.targets.T):
        ridge = RidgeCV(alphas=PENALTIES).fit(scaler.transform(train.inputs.astype(float)), targets)
        expected = ridge.predict(scaler.transform(validation.inputs.astype(float)))
        np.testing.assert_allclose(head(validation.inputs)[:, factor], expected, atol=1e-4)  # float32
        chosen.append(ridge.alpha_)
    assert chosen[2] > max(chosen[:2])


def fit_with_kernels(x, y, new, gamma, penalty):
    """Kernel ridge regression by scikit-learn: the intercept is that of a centred kernel."""
    centerer = KernelCenterer().fit(rbf_kernel(x, gamma=gamma))
    machine = KernelRidge(kernel="precomputed", alpha=penalty)
    machine.fit(centerer.transform(rbf_kernel(x, gamma=gamma)), y - y.mean(axis=0))
    return machine.predict(centerer.transform(rbf_kernel(new, x, gamma=gamma))) + y.mean(axis=0)


def test_kernel_ridge_is_the_best_of_refits_without_each_fold():
    train, validation = problem(50), problem(20, seed=1)
    x, y = train.inputs.astype(float), train.targets.astype(float)
    folds, errors = kernel_ridge.group_folds(np.arange(50) // 2, 0), {}
    assert np.array_equal(folds[::2], folds[1::2]) and np.bincount(folds).tolist() == [10] * 5
    for width, penalty in itertools.product(kernel_ridge.WIDTHS, kernel_ridge.PENALTIES):
        gamma, predicted = width / (N_CENTROIDS * x.var()), np.zeros_like(y)
        for fold in range(5):
            is_own = folds == fold
            predicted[is_own] = fit_with_kernels(x[~is_own], y[~is_own], x[is_own], gamma, penalty)
        errors[gamma, penalty] = np.mean((predicted - y) ** 2)
    solve = functools.partial(kernel_ridge.solve_kernel_ridge, y=y, folds=folds)
    solution = solve(x)
    best = min(errors, key=errors.get)
    assert (solution.gamma, solution.penalty) == pytest.approx(best)
    assert solution.loss == pytest.approx(errors[best], rel=1e-8)
    assert np.mean((solution.held_out - y) ** 2) == pytest.approx(errors[best], rel=1e-8)
    head = bot.build_regressor(baseline := bot_baseline(regressor="kernel_ridge", scaling="none"), 3)
    fitted, _ = fit_output_layer(head, train, validation, baseline.model, solve=solve)
    expected = fit_with_kernels(x, y, validation.inputs.astype(float), *best)
    np.testing.assert_allclose(fitted(validation.inputs), expected, atol=1e-4)  # float32 against float64


def test_kernel_ridge_takes_the_loss_that_it_is_given():
    data, folds = problem(50), np.arange(50) % 5
    x, y = data.inputs.astype(float), data.targets.astype(float)
    pairs = list(itertools.product(kernel_ridge.WIDTHS, kernel_ridge.PENALTIES))
    width, penalty = pairs[13]
    losses = (float(number != 13) for number in range(len(pairs)))
    solution = kernel_ridge.solve_kernel_ridge(x, y, folds, lambda predicted: next(losses))
    assert (solution.loss, solution.penalty) == (0, penalty)
    assert solution.gamma == pytest.approx(width / (N_CENTROIDS * x.var()))


@pytest.mark.parametrize("scaling", bot.SCALINGS)
def test_svm_is_that_of_scikit_learn(scaling):
    train, validation = problem(50), problem(20, seed=1)
    settings = {"C": 2.0, "epsilon": 0.05, "gamma": 0.5, "scaling": scaling}
    head, _ = solved(bot_baseline(regressor="svm", **settings), train, validation)
    x, new = (scaled(part.inputs.astype(float), scaling, train.inputs) for part in (train, validation))
    for factor, targets in enumerate(train.targets.T):
        machine = SVR(C=2.0, epsilon=0.05, gamma=0.5 / (N_CENTROIDS * x.var())).fit(x, targets)
        np.testing.assert_allclose(head(validation.inputs)[:, factor], machine.predict(new), atol=1e-5)


@pytest.mark.parametrize("regressor", ["ridge", "svm"])
def test_features_of_any_size_are_standardised_by_train_tracks(regressor):
    changes = {"model": {"regressor": regressor, "penalty": 3.0}}
    baseline = config.replace(get_baseline("choi-features"), changes)
    train, validation = problem(50, choi_features.N_FEATURES), problem(20, choi_features.N_FEATURES, 1)
    sizes = np.geomspace(0.1, 1000, choi_features.N_FEATURES, dtype=np.float32)
    sizes[5] = 0.0  # never varies
    train, validation = (RegressionData(part.inputs * sizes, part.targets) for part in (train, validation))
    head, _ = solved(baseline, train, validation, choi_features)
    mean = train.inputs.mean(axis=0, dtype=float)
    deviation = np.sqrt(train.inputs.var(axis=0, dtype=float) + regressors.MIN_VARIANCE)
    x, new = ((part.inputs - mean) / deviation for part in (train, validation))
    for factor, targets in enumerate(train.targets.T):
        machine = Ridge(alpha=3.0) if regressor == "ridge" else SVR()
        expected = machine.fit(x, targets).predict(new)
        # Standardised in float32, which scikit-learn's solver answers by less than its own tolerance.
        np.testing.assert_allclose(head(validation.inputs)[:, factor], expected, atol=1e-4)


@pytest.mark.parametrize("regressor", ["ridge", "svm"])
def test_its_history_is_one_epoch_with_the_figures_of_a_fit(regressor):
    train, validation = problem(50), problem(20, seed=1)
    head, fitted = solved(bot_baseline(regressor=regressor), train, validation)
    (epoch,) = fitted.history
    assert list(epoch) == FIGURES and fitted.best_epoch == 1 and fitted.seconds == epoch["seconds"]
    for name, part in (("loss", train), ("val_loss", validation)):
        assert epoch[name] == pytest.approx(np.mean((head(part.inputs) - part.targets) ** 2), rel=1e-5)
    assert epoch["val_loss"] < np.mean(validation.targets**2), "no better than the mean"
    assert epoch["mb_per_s"] == pytest.approx(epoch["sequences_per_s"] * N_CENTROIDS * 4 / 1e6)


@pytest.mark.parametrize("regressor", ["ridge", "svm"])
def test_it_is_solved_to_the_same_numbers_again_and_survives_saving(regressor, tmp_path):
    train, validation = problem(50), problem(20, seed=1)
    baseline = bot_baseline(regressor=regressor, scaling="tfidf")
    (one, _), (two, _) = (solved(baseline, train, validation) for _ in range(2))
    assert np.array_equal(one(validation.inputs), two(validation.inputs))
    one.save(tmp_path / "head.keras")
    loaded = keras.saving.load_model(tmp_path / "head.keras", safe_mode=True)
    assert np.array_equal(loaded(validation.inputs), one(validation.inputs))


def test_every_factor_is_reported():
    reported = []
    head = bot.build_regressor(baseline := bot_baseline(regressor="svm"), 3)
    fit_output_layer(head, problem(50), problem(20), baseline.model, reported.append)
    assert reported == [1, 1, 1]


def test_factors_that_epsilon_covers_need_no_support_vector():
    train = RegressionData(problem(50).inputs, np.zeros((50, 3), np.float32))
    head, fitted = solved(bot_baseline(regressor="svm"), train, train)
    assert head.get_layer("factors").n_vectors == 0 and fitted.history[0]["loss"] == 0


def test_support_vectors_come_from_a_sample_that_the_seed_decides():
    settings = bot_baseline(regressor="svm", max_examples=10).model
    one, again, other = (choose_examples(100, settings, seed) for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert len(set(one.tolist())) == 10 and one.tolist() == sorted(one.tolist()) and one.max() < 100
    assert choose_examples(10, settings, 0).tolist() == list(range(10))
    ridge = bot_baseline(regressor="ridge", max_examples=10).model
    assert len(choose_examples(100, ridge, 0)) == 100


def test_a_model_is_applied_to_more_than_one_batch():
    head = bot.build_regressor(bot_baseline(regressor="ridge"), 3)
    head.get_layer("factors").kernel.assign(np.random.default_rng(0).normal(size=(N_CENTROIDS, 3)))
    x = problem(2500).inputs
    np.testing.assert_allclose(apply_head(head, x), head(x), rtol=1e-5, atol=1e-5)


def test_trees_are_the_best_of_all_sizes_and_numbers(monkeypatch):
    monkeypatch.setattr(boosted_trees, "MAX_TREES", 30)
    train, validation = problem(80), problem(30, seed=1)
    x, y = train.inputs.astype(float), train.targets.astype(float)
    new, directions = validation.inputs, boosted_trees.find_directions(x, y)
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-12)
    predicted = {}
    for n_leaves, n_iterations in itertools.product(boosted_trees.LEAVES, (10, 20, 30)):
        machine = HistGradientBoostingRegressor(
            learning_rate=boosted_trees.LEARNING_RATE, max_iter=n_iterations, max_leaf_nodes=n_leaves
        )
        sums = [machine.fit(x, (y - y.mean(axis=0)) @ direction).predict(new) for direction in directions]
        predicted[n_leaves, n_iterations] = np.stack(sums, axis=1) @ directions + y.mean(axis=0)
    errors = {choice: np.mean((values - validation.targets) ** 2) for choice, values in predicted.items()}
    best = min(errors, key=errors.get)
    solution = boosted_trees.boost_trees(
        x, y, new, lambda values: np.mean((values - validation.targets) ** 2)
    )
    assert (solution.n_leaves, solution.n_iterations) == best
    assert solution.loss == pytest.approx(errors[best])
    head = bot.build_regressor(baseline := bot_baseline(regressor="trees", scaling="none"), 3)
    fitted, _ = fit_output_layer(head, train, validation, baseline.model, solve=lambda inputs: solution)
    np.testing.assert_allclose(fitted(new), predicted[best], atol=1e-5)  # float32 against float64
