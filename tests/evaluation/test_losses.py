import numpy as np
import pytest
from scipy.spatial.distance import cosine
from sklearn.metrics import mean_squared_error, r2_score

from cs_keras.errors import DataError
from cs_keras.evaluation.losses import measure_regression_losses


def test_losses_as_scikit_learn_and_scipy(random):
    reference = (random.standard_normal((50, 6)) * np.arange(1, 7)).astype(np.float32)
    predicted = (reference + random.standard_normal((50, 6))).astype(np.float32)
    losses = measure_regression_losses(reference, predicted)
    truth, guess = reference.astype(float), predicted.astype(float)
    assert losses.mse == pytest.approx(mean_squared_error(truth, guess), rel=1e-12)
    assert losses.r2 == pytest.approx(r2_score(truth, guess, multioutput="variance_weighted"), rel=1e-12)
    distances = [cosine(a, b) for a, b in zip(truth, guess, strict=True)]
    assert losses.cosine_distance == pytest.approx(np.mean(distances), rel=1e-12)


def test_known_answers():
    reference = np.array([[1.0, 0.0], [0.0, 2.0]])
    perfect = measure_regression_losses(reference, reference)
    assert (perfect.mse, perfect.r2, perfect.cosine_distance) == (0, 1, 0)
    mean = measure_regression_losses(reference, [[0.5, 1.0]] * 2)
    assert (mean.mse, mean.r2) == (0.625, 0)
    zero = measure_regression_losses(reference, np.zeros((2, 2)))
    assert (zero.mse, zero.cosine_distance) == (1.25, 1)
    assert measure_regression_losses(np.full((3, 2), 0.1), np.zeros((3, 2))).r2 is None


def test_bad_input_is_named():
    with pytest.raises(DataError, match="do not match"):
        measure_regression_losses(np.ones((3, 2)), np.ones((2, 2)))
    with pytest.raises(DataError, match="predicted factors"):
        measure_regression_losses(np.ones((3, 2)), np.full((3, 2), np.nan))
