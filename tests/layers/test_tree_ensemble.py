import keras
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from cs_keras.layers.plain import plain_model
from cs_keras.layers.tree_ensemble import TreeEnsemble
from cs_keras.training.feature_learning.boosted_trees import BoostedTrees, join_trees

N_TREES = 20


def problem(n=200, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    return x, np.stack([np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2], np.abs(x[:, 3])], axis=1)


def machines():
    x, y = problem()
    return [
        HistGradientBoostingRegressor(max_iter=N_TREES, max_leaf_nodes=9, early_stopping=False).fit(x, column)
        for column in y.T
    ]


def as_model(fitted, kernel):
    trees = join_trees([tree.nodes for machine in fitted for (tree,) in machine._predictors])
    first = np.array([machine._baseline_prediction.item() for machine in fitted])
    solution = BoostedTrees(trees, kernel, first @ kernel, 9, N_TREES, 0.0)
    features = keras.Input((5,))
    return keras.Model(features, solution.layer("factors")(features))


def test_scikit_learn_has_the_two_attributes_that_are_read_without_a_public_way():
    machine = machines()[0]
    for name in ("_predictors", "_baseline_prediction"):
        assert hasattr(machine, name), (
            f"boosted_trees reads HistGradientBoostingRegressor.{name}: find it anew"
        )


def test_it_predicts_what_scikit_learn_does(tmp_path):
    fitted, kernel = machines(), np.array([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]])
    # Values on thresholds too: the midpoints of train values, in float32, are where rounding would change sides.
    at_threshold = np.concatenate([tree.nodes["num_threshold"] for m in fitted for (tree,) in m._predictors])
    new = np.concatenate([problem(300, 1)[0], np.repeat(at_threshold[:, None], 5, axis=1)]).astype(np.float32)
    expected = np.stack([machine.predict(new) for machine in fitted], axis=1) @ kernel
    model = as_model(fitted, kernel)
    assert model.output.dtype == "float32"
    np.testing.assert_allclose(model(new), expected, atol=1e-5)  # sums of 20 values in float32
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(loaded(new), model(new))
    plain_model(model).save(tmp_path / "plain.keras")
    plain = keras.saving.load_model(tmp_path / "plain.keras")
    np.testing.assert_allclose(plain(new), model(new), atol=1e-5)
    assert np.array_equal(np.concatenate([loaded(new[i : i + 1]) for i in range(50)]), model(new[:50]))


@pytest.mark.parametrize("batch", [0, 4])
def test_without_trees_it_is_its_intercept(batch):
    layer = TreeEnsemble(0, 0, 2, 2, 0)
    assert np.array_equal(layer(np.ones((batch, 3))), np.zeros((batch, 2)))
    layer.intercept.assign([1.0, 2.0])
    assert np.array_equal(layer(np.ones((batch, 3))), np.tile([1.0, 2.0], (batch, 1)))
