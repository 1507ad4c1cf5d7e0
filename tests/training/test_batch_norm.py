"""Moving statistics of batch norm after a short training are those of the data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cs_keras import config
from cs_keras.data.batches import ArrayBatches
from cs_keras.layers.batch_norm import FixedStatisticsNormalization
from cs_keras.models.spec import TrainingConfig
from cs_keras.training import batch_norm
from cs_keras.training.fit import fit

RNG = np.random.default_rng(0)
X = (5 + 3 * RNG.normal(size=(22, 4))).astype(np.float32)  # batches of 8, 8 and 6
Y = RNG.normal(size=(22, 2)).astype(np.float32)
TRAIN = ArrayBatches(X, Y, 8, seed=0)
VALIDATION = tf.data.Dataset.from_tensor_slices((X[:9], Y[:9])).batch(4)
CONFIG = TrainingConfig(learning_rate=1e-2, epochs=1, batch_size=8)


def build(norm=keras.layers.BatchNormalization, **options):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), norm(name="first", **options)], name="nested")
    x = keras.layers.Dense(3, name="dense")(inner(inputs))
    x = keras.layers.BatchNormalization(name="second")(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="factors")(x))


def statistics(layer):
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_moving_statistics_are_those_of_the_data_after_three_steps(tmp_path, ema):
    model = build()
    fit(model, TRAIN, VALIDATION, config.replace(CONFIG, {"ema": ema}), tmp_path)
    first = model.get_layer("nested").get_layer("first")
    mean, variance = statistics(first)
    np.testing.assert_allclose(mean, X.mean(axis=0), rtol=1e-5)  # float32 sums
    np.testing.assert_allclose(variance, X.var(axis=0), rtol=1e-5)
    # The second sees each batch normalised by the batch's own statistics, through the weights that are kept.
    parts = []
    for x, _ in TRAIN.from_epoch(0).take(3):
        z = (x - np.mean(x, axis=0)) / np.sqrt(np.var(x, axis=0) + first.epsilon)
        parts.append(z * first.gamma.numpy() + first.beta.numpy())
    hidden = (
        np.concatenate(parts) @ model.get_layer("dense").kernel.numpy()
        + model.get_layer("dense").bias.numpy()
    )
    mean, variance = statistics(model.get_layer("second"))
    np.testing.assert_allclose(mean, hidden.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(variance, hidden.var(axis=0), rtol=1e-4)


def test_a_pass_is_bounded_and_leaves_momentum(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_norm, "MAX_BATCHES", 2)
    model = build()
    fit(model, TRAIN, VALIDATION, CONFIG, tmp_path)
    first = model.get_layer("nested").get_layer("first")
    seen = np.concatenate([x for x, _ in TRAIN.from_epoch(0).take(2)])
    np.testing.assert_allclose(statistics(first)[0], seen.mean(axis=0), rtol=1e-5)
    assert first.momentum == 0.99


@pytest.mark.parametrize(
    ("norm", "options"),
    [(FixedStatisticsNormalization, {}), (keras.layers.BatchNormalization, {"trainable": False})],
)
def test_frozen_statistics_stay(tmp_path, norm, options):
    model = build(norm, **options)
    fit(model, TRAIN, VALIDATION, CONFIG, tmp_path)
    mean, variance = statistics(model.get_layer("nested").get_layer("first"))
    assert not mean.any()
    assert (variance == 1).all()
