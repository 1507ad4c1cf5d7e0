import keras
import numpy as np
import pytest
import tensorflow as tf

from cs_keras.layers.stochastic_pooling import StochasticPooling1D
from cs_keras.models import load_model


def activations(*shape, seed=0):
    """Rectified: about half are 0."""
    return np.maximum(np.random.default_rng(seed).normal(size=shape), 0).astype(np.float32)


def by_hand(x, size):
    """Zeiler & Fergus 2013, equation 6, one window after another in float64."""
    batch, steps, n = x.shape
    y = np.zeros((batch, -(-steps // size), n))
    for i, j, c in np.ndindex(y.shape):
        window = x[i, j * size : (j + 1) * size, c].astype(float)
        if window.any():
            y[i, j, c] = (window / window.sum() * window).sum()
    return y


@pytest.mark.parametrize(("steps", "size"), [(12, 4), (13, 4), (7, 2), (3, 5), (5, 1)])
def test_prediction_is_the_mean_by_strength(steps, size):
    x, layer = activations(3, steps, 6), StochasticPooling1D(size)
    y = np.asarray(layer(x))
    assert y.shape == layer.compute_output_shape(x.shape)
    np.testing.assert_allclose(y, by_hand(x, size), rtol=1e-6)  # float32 sums of at most five


def test_training_draws_in_proportion_to_strength():
    keras.utils.set_random_seed(0)
    window = np.array([1, 0, 4, 5], np.float32)
    x = np.broadcast_to(window[None, :, None], (200, 4, 100))
    y = np.asarray(StochasticPooling1D(4)(x, training=True))
    assert y.shape == (200, 1, 100)
    shares = [(y == strength).mean() for strength in window]
    # Four standard deviations of a share of 20,000 draws are at most 0.014.
    np.testing.assert_allclose(shares, window / window.sum(), atol=0.015)


def test_each_channel_is_sampled_independently_from_its_activations():
    keras.utils.set_random_seed(0)
    x = activations(50, 11, 8)
    y = np.asarray(StochasticPooling1D(4)(x, training=True))
    for j in range(3):
        window = x[:, 4 * j : 4 * j + 4]
        assert ((y[:, j, None] == window).any(axis=1) | ~window.any(axis=1)).all()
        assert (y[:, j][window.any(axis=1)] > 0).all()
    same = np.repeat(x[:, :, :1], 8, axis=2)
    assert (np.ptp(np.asarray(StochasticPooling1D(4)(same, training=True)), axis=2) > 0).any()


def test_windows_of_zeros_give_zero_without_gradient():
    x = keras.Variable(np.zeros((2, 4, 3), np.float32))
    for training in (False, True):
        with tf.GradientTape() as tape:
            y = StochasticPooling1D(2)(x, training=training)
        assert not np.asarray(y).any()
        assert np.isfinite(tape.gradient(y, x.value)).all()


def test_it_survives_saving(tmp_path):
    inputs = keras.Input((10, 3))
    model = keras.Model(inputs, StochasticPooling1D(4, name="pool")(inputs))
    model.save(tmp_path / "model.keras")
    loaded, x = load_model(tmp_path / "model.keras"), activations(5, 10, 3)
    assert loaded.get_layer("pool").pool_size == 4
    assert np.array_equal(loaded(x, training=False), model(x, training=False))
