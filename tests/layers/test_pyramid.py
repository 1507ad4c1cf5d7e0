"""Pyramids against SciPy's smoothing, and the Laplacian one added up again."""

import keras
import numpy as np
import pytest
import scipy.ndimage

from cs_keras.layers.pyramid import BINOMIAL, gaussian_pyramid, laplacian_pyramid


def spectrogram(frames):
    return np.random.default_rng(0).normal(-30, 10, (2, frames, 5)).astype(np.float32)


def levels_of(pyramid, x, n_levels):
    given = keras.Input(x.shape[1:])
    model = keras.Model(given, pyramid(given, n_levels))
    return [level.numpy() for level in model(x, training=False)]


@pytest.mark.parametrize("frames", [24, 25, 31])
def test_each_level_is_the_one_before_smoothed_and_halved(frames):
    x = spectrogram(frames)
    levels = levels_of(gaussian_pyramid, x, 4)
    assert np.array_equal(levels[0], x) and len(levels) == 4
    for fine, coarse in zip(levels, levels[1:], strict=False):
        # SciPy's "mirror" is "reflect" elsewhere: the outermost frame occurs once.
        expected = scipy.ndimage.correlate1d(fine.astype(np.float64), BINOMIAL, axis=1, mode="mirror")[:, ::2]
        np.testing.assert_allclose(coarse, expected, rtol=1e-5)


def expand(coarse, n_frames):
    """Zeros between frames, smoothed by twice the kernel; at the ends mirrored, the outermost frame twice."""
    mirrored = np.pad(coarse.astype(np.float64), ((0, 0), (1, 1), (0, 0)), mode="symmetric")
    spaced = np.zeros((len(mirrored), 2 * mirrored.shape[1], mirrored.shape[2]))
    spaced[:, ::2] = mirrored
    smoothed = scipy.ndimage.correlate1d(spaced, 2 * np.array(BINOMIAL), axis=1, mode="constant")
    return smoothed[:, 2 : 2 + n_frames]


@pytest.mark.parametrize("frames", [24, 25, 31])
def test_a_laplacian_pyramid_expanded_and_added_up_is_the_spectrogram(frames):
    x = spectrogram(frames)
    levels = levels_of(laplacian_pyramid, x, 4)
    assert [level.shape for level in levels] == [g.shape for g in levels_of(gaussian_pyramid, x, 4)]
    total = levels[-1].astype(np.float64)
    for level in reversed(levels[:-1]):
        total = level + expand(total, level.shape[1])
    np.testing.assert_allclose(total, x, atol=1e-4)  # of levels down to -60, in float32


def test_a_constant_signal_has_no_detail():
    x = np.full((1, 24, 3), -20, np.float32)
    *details, last = levels_of(laplacian_pyramid, x, 3)
    for detail in details:
        np.testing.assert_allclose(detail, 0, atol=1e-5)
    np.testing.assert_allclose(last, -20, rtol=1e-6)


def test_a_pyramid_of_one_level_is_the_spectrogram():
    x = spectrogram(10)
    for pyramid in (gaussian_pyramid, laplacian_pyramid):
        (level,) = pyramid(x, 1)
        assert level is x
