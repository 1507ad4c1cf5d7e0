"""Concatenated branches are standardised, and dropped at random in training, never all."""

import keras
import numpy as np

from cs_keras.layers.branches import JoinedBranches
from cs_keras.models import get_baseline
from cs_keras.models.fusion import adapt, build_head

WIDTHS = (3, 1, 2)


def joined(n, has):
    """Vectors of random numbers, with flags; missing branches are not 0, because their values are ignored."""
    values = np.random.default_rng(0).normal(2, 3, (n, 6)).astype(np.float32)
    return np.concatenate([values, np.broadcast_to(np.asarray(has, np.float32), (n, 3))], axis=1)


def test_missing_branches_are_zero_and_the_rest_is_standardised():
    layer, x = JoinedBranches(WIDTHS), joined(4, [1, 0, 1])
    layer(x)
    mean, scale = np.arange(6, dtype=np.float32), np.array([1, 2, 0, 4, 5, 6], np.float32)
    layer.set_statistics(mean, scale)
    output = layer(x).numpy()
    expected = (x[:, :6] - mean) * np.divide(1, scale, out=np.zeros(6, np.float32), where=scale > 0)
    expected[:, 3] = 0
    np.testing.assert_allclose(output[:, :6], expected, rtol=1e-6, atol=1e-6)
    assert not output[:, 2].any()  # a number that does not vary
    assert np.array_equal(output[:, 6:], x[:, 6:])


def test_training_drops_branches_at_random_but_never_all():
    keras.utils.set_random_seed(0)
    layer, n = JoinedBranches(WIDTHS, 0.5), 20_000
    is_there = layer(joined(n, [1, 1, 1]), training=True).numpy()[:, 6:] > 0
    assert is_there.any(axis=1).all()
    # All would be dropped with probability 1/8, and then one of three stays: 1/2 - 1/24. Five standard errors.
    np.testing.assert_allclose(1 - is_there.mean(axis=0), 0.5 - 1 / 24, atol=5 * 0.5 / np.sqrt(n))
    is_there = layer(joined(n, [0, 1, 0]), training=True).numpy()[:, 6:] > 0
    assert np.array_equal(is_there, np.broadcast_to([False, True, False], (n, 3)))


def test_dropped_branches_have_flag_zero():
    keras.utils.set_random_seed(0)
    output = JoinedBranches(WIDTHS, 0.5)(joined(200, [1, 1, 1]), training=True).numpy()
    shown = np.repeat(output[:, 6:], WIDTHS, axis=1) > 0
    assert np.array_equal(output[:, :6] != 0, shown)


def test_statistics_are_those_of_tracks_that_have_the_branch():
    head = build_head(get_baseline("fusion"), 2, (2, 1))
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(5, 3, (50, 3)), np.ones((50, 2))], axis=1).astype(np.float32)
    x[:, 1] = 0.1  # does not vary; its float32 mean is another number
    x[:20, 2], x[:20, 4] = 0, 0
    adapt(head, x)
    output = head.get_layer("branches")(x).numpy()
    np.testing.assert_allclose(output[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(output[:, 0].std(), 1, rtol=1e-5)
    assert not output[:, 1].any() and not output[:20, 2].any()
    np.testing.assert_allclose([output[20:, 2].mean(), output[20:, 2].std()], [0, 1], atol=1e-5)
