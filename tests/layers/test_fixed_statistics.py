import keras
import numpy as np

from cs_keras.layers.fixed_statistics import FixedStatisticsNormalization, fix_statistics


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
