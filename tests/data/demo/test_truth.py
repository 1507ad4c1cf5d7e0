import numpy as np
import pytest

from benchmarks.demo_truth import predict_from_styles


def test_smooth_functions_of_style_are_predicted_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    style = rng.standard_normal((300, 3)).astype(np.float32)
    factors = np.column_stack([np.exp(-0.3 * np.square(style).sum(axis=1)) + 5, rng.standard_normal(300)])
    predicted = predict_from_styles(style[:250], factors[:250].astype(np.float32), style[250:])
    assert predicted.shape == (50, 2) and predicted.dtype == np.float32
    assert np.corrcoef(predicted[:, 0], factors[250:, 0])[0, 1] > 0.9
    assert abs(np.corrcoef(predicted[:, 1], factors[250:, 1])[0, 1]) < 0.5


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="inconsistent"):
        predict_from_styles(
            np.zeros((4, 2), np.float32), np.zeros((5, 2), np.float32), np.zeros((1, 2), np.float32)
        )
