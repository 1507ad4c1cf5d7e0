import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler, normalize

from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.scaling import fit_scaler

RNG = np.random.default_rng(0)
TRAIN = RNG.normal([0, 5, -2, 0.01], [1, 3, 0.1, 0.001], (200, 4)).astype(np.float32)
OTHER = RNG.normal(size=(50, 4)).astype(np.float32)
CLOSE = {"rtol": 1e-4, "atol": 1e-4}  # offset and scale are kept as float32, sklearn's as float64


def fit(kind, factors=TRAIN):
    if kind != "minmax":
        return fit_scaler(kind, factors)
    with pytest.warns(UserWarning, match="collapsed every model of the reference thesis"):
        return fit_scaler(kind, factors)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [("standardize", StandardScaler()), ("minmax", MinMaxScaler((-1, 1)))],
)
def test_against_sklearn(kind, reference):
    reference.fit(TRAIN.astype(np.float64))
    scaler = fit(kind)
    for factors in (TRAIN, TRAIN[:10] + 0.01):
        np.testing.assert_allclose(scaler.transform(factors), reference.transform(factors), **CLOSE)
    np.testing.assert_allclose(scaler.inverse(OTHER), reference.inverse_transform(OTHER), **CLOSE)


def test_unit_norm_against_sklearn_keeps_zero_rows_and_does_not_come_back():
    factors = np.vstack([OTHER, np.zeros(4, np.float32)])
    scaler = fit("unit_norm")
    scaled = scaler.transform(factors)
    np.testing.assert_allclose(scaled, normalize(factors), rtol=1e-6)
    assert not scaled[-1].any()
    assert np.array_equal(scaler.inverse(scaled), scaled)


@pytest.mark.parametrize("kind", ["standardize", "minmax", "none"])
def test_inverse_undoes_transform(kind):
    scaler = fit(kind)
    np.testing.assert_allclose(scaler.inverse(scaler.transform(TRAIN)), TRAIN, rtol=1e-5, atol=1e-6)


def test_none_changes_nothing():
    assert np.array_equal(fit("none").transform(OTHER), OTHER)


@pytest.mark.parametrize("kind", ["standardize", "minmax"])
def test_constant_factors_are_centred_and_keep_scale_one(kind):
    train = TRAIN.copy()
    train[:, 1] = 0.1  # its float64 mean is off by a rounding error, and so its variance is not 0
    scaler = fit(kind, train)
    assert scaler.scale[1] == 1
    assert not scaler.transform(train)[:, 1].any()


@pytest.mark.parametrize("kind", ["standardize", "unit_norm", "minmax", "none"])
def test_results_are_float32(kind):
    scaler = fit(kind, TRAIN.astype(np.float64))
    assert scaler.transform(OTHER).dtype == scaler.inverse(OTHER).dtype == np.float32
    assert scaler.offset.dtype == scaler.scale.dtype == np.float32


def test_bad_arguments():
    with pytest.raises(ConfigError, match="scaling must be one of standardize, .* Received: 'robust'"):
        fit_scaler("robust", TRAIN)
    for bad in (TRAIN[:0], TRAIN[0], np.full((2, 2), np.nan, np.float32)):
        with pytest.raises(DataError, match="train_factors must be a matrix of finite values"):
            fit_scaler("none", bad)
    for method in (fit("standardize").transform, fit("standardize").inverse):
        with pytest.raises(DataError, match=r"factors must be of shape \(n, 4\). Received: \(50, 3\)"):
            method(OTHER[:, :3])
