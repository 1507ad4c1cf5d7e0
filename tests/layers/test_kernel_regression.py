import keras
import numpy as np
import pytest
from sklearn.svm import SVR

from cs_keras.layers.kernel_regression import KernelRegression


def problem(n=60, n_features=5, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, n_features))
    return x, np.sin(x[:, 0]) + 0.3 * x[:, 1]


def as_model(machine, n_features):
    features = keras.Input((n_features,))
    layer = KernelRegression(len(machine.support_), n_features, 1, machine._gamma, name="factors")
    outputs = layer(features)
    layer.set_solution(machine.support_vectors_, machine.dual_coef_.T, machine.intercept_)
    return keras.Model(features, outputs)


@pytest.mark.parametrize("gamma", ["scale", 0.01, 3.0])
def test_it_predicts_what_scikit_learn_does(gamma):
    x, y = problem()
    machine = SVR(C=2.0, gamma=gamma).fit(x, y)
    new = problem(200, seed=1)[0]
    output = as_model(machine, 5)(new.astype(np.float32)).numpy()
    assert output.shape == (200, 1) and output.dtype == np.float32
    # Weights of at most C = 2 on 60 kernels, each rounded to seven digits.
    np.testing.assert_allclose(output[:, 0], machine.predict(new), atol=1e-5)


def test_it_survives_saving_loading_and_other_batch_sizes(tmp_path):
    x, y = problem()
    model = as_model(SVR().fit(x, y), 5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = x.astype(np.float32)
    assert np.array_equal(loaded(x), model(x))
    alone = np.concatenate([loaded(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_allclose(alone, model(x), atol=1e-6)  # sums of float32 in another order


def test_without_vectors_it_is_its_intercept(tmp_path):
    features = keras.Input((3,))
    layer = KernelRegression(0, 3, 2, 1.0)
    model = keras.Model(features, layer(features))
    assert np.array_equal(model(np.ones((4, 3))), np.zeros((4, 2)))
    layer.set_solution(np.zeros((0, 3)), np.zeros((0, 2)), [1.0, 2.0])
    model.save(tmp_path / "model.keras")
    assert np.array_equal(keras.saving.load_model(tmp_path / "model.keras")(np.ones((1, 3))), [[1.0, 2.0]])


def test_it_computes_in_float32_under_mixed_precision():
    x, y = problem()
    machine = SVR().fit(x, y)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = as_model(machine, 5)
    finally:
        keras.config.set_dtype_policy("float32")
    x = x.astype(np.float32)
    assert np.array_equal(mixed(x), as_model(machine, 5)(x))
