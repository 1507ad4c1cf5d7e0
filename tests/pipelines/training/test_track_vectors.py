"""What is predicted for tracks without a vector."""

import numpy as np
import pytest

from pipelines.training.procedures.track_vectors import mean_output


def test_the_mean_output_is_the_mean_of_the_targets() -> None:
    labels = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 0]], np.float32)
    assert mean_output(labels, "mse") == pytest.approx([1, 0, 1 / 3])
    odds = np.exp(mean_output(labels, "binary_crossentropy"))
    assert odds == pytest.approx([3.5 / 0.5, 0.5 / 3.5, 1.5 / 2.5])
    standardised = np.random.default_rng(0).standard_normal((1000, 4)).astype(np.float32)
    standardised -= standardised.mean(axis=0)
    assert not mean_output(standardised, "mse").any()
