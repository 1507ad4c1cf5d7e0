import numpy as np

from cs_keras.evaluation.reference_predictors import predict_from_features

ROWS = {"train": np.arange(250), "validation": np.arange(250, 300), "test": np.arange(300, 350)}


def test_smooth_functions_of_style_are_predicted_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    style = rng.standard_normal((350, 3))
    factors = np.column_stack([np.exp(-0.3 * np.square(style).sum(axis=1)) + 5, rng.standard_normal(350)])
    predicted = predict_from_features(style, factors, ROWS)
    assert predicted.shape == (50, 2)
    assert np.corrcoef(predicted[:, 0], factors[300:, 0])[0, 1] > 0.9
    assert abs(np.corrcoef(predicted[:, 1], factors[300:, 1])[0, 1]) < 0.5
