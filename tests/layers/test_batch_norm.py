import keras
import numpy as np
import pytest
import tensorflow as tf

from cs_keras.layers.batch_norm import FixedStatisticsNormalization, FusedBatchNormalization, fix_statistics


def network():
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    y = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(5, name="dense")(x))
    model = keras.Model(x, keras.layers.Dense(2, name="out")(y))
    random = np.random.default_rng(0)
    model.get_layer("norm").set_weights([random.uniform(0.5, 2, 5) for _ in range(4)])
    return model


SAMPLES = np.random.default_rng(1).normal(size=(8, 6)).astype(np.float32)


def test_it_predicts_as_the_network_it_was_made_from():
    model = network()
    fixed = fix_statistics(model)
    for training in (False, True):
        assert np.array_equal(fixed(SAMPLES, training=training), model(SAMPLES, training=False))


def test_scale_and_offset_are_trained_and_statistics_are_not():
    model = fix_statistics(network())
    outer = keras.Sequential(
        [keras.Input((6,)), model]
    )  # inside another model, where `training` is passed on
    before = model.get_layer("norm").get_weights()
    outer.compile("sgd", "mse")
    outer.fit(SAMPLES, np.ones((8, 2)), epochs=2, verbose=0)
    after = model.get_layer("norm").get_weights()
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [False, False, True, True]


def test_it_survives_saving_and_loading(tmp_path):
    model = fix_statistics(network())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert isinstance(loaded.get_layer("norm"), FixedStatisticsNormalization)
    assert np.array_equal(loaded(SAMPLES), model(SAMPLES))


def train_once(kind, x, dtype):
    """Return outputs, gradients by input, scale and offset, and moving statistics after one training step."""
    layer = kind(momentum=0.7, dtype=dtype)
    layer.build(x.shape)
    random = np.random.default_rng(2)
    layer.set_weights([random.uniform(0.5, 2, x.shape[-1]) for _ in range(4)])
    inputs = tf.constant(x, layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * random.normal(size=x.shape).astype(np.float32))
    weights = [variable.value for variable in layer.trainable_variables]
    return [outputs, *tape.gradient(loss, [inputs, *weights]), layer.moving_mean, layer.moving_variance]


@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (7, 4, 6), (9, 6), (1, 6)])
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-4), ("mixed_float16", 2e-2)])
def test_the_fused_batch_norm_is_keras_own(shape, dtype, rtol):
    x = np.random.default_rng(3).normal(5, 3, shape).astype(np.float32)
    fused, own = (
        train_once(one, x, dtype) for one in (FusedBatchNormalization, keras.layers.BatchNormalization)
    )
    for a, b in zip(fused, own, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def test_a_frozen_or_masked_fused_batch_norm_is_keras_own():
    x = np.random.default_rng(3).normal(5, 3, (4, 7, 6)).astype(np.float32)
    mask = np.arange(7) < np.array([[7], [3], [5], [1]])
    for options, trainable in (({"mask": mask}, True), ({}, False)):
        fused, own = (
            kind(trainable=trainable) for kind in (FusedBatchNormalization, keras.layers.BatchNormalization)
        )
        results = [layer(x, training=True, **options) for layer in (fused, own)]
        assert np.array_equal(*results) and np.array_equal(fused.moving_variance, own.moving_variance)
