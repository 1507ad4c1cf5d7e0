import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from cs_keras.data.batches import ArrayBatches, TrainingBatches, prediction_batches
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig
from cs_keras.models.spec import TrainingConfig
from cs_keras.training.batch_distribution import (
    TimedFunction,
    distribute_batches,
    prefetch_to_gpu,
    split_over_replicas,
)
from cs_keras.training.fit import fit
from tests.data.small import write_small

ONE_DEVICE = tf.distribute.get_strategy()
CONFIG = TrainingConfig(learning_rate=1e-2, epochs=2, patience=0, batch_size=8)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


X, Y = random(20, 6), random(20, 2, seed=1)
VALIDATION = tf.data.Dataset.from_tensor_slices((random(9, 6, seed=2), random(9, 2, seed=3))).batch(4)


def build(units=8):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(units), keras.layers.Dense(units), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((6,)), *layers])


@pytest.mark.parametrize("n_replicas", [2, 3])
@pytest.mark.parametrize("n", [1, 2, 5, 6, 7])
def test_shares_are_equal_and_their_weighted_mean_is_that_of_the_batch(n, n_replicas):
    batch = (tf.constant(random(n, 3, 2).astype(np.float16)), tf.range(1.0, n + 1))
    x, y, weights = split_over_replicas(batch, n_replicas)
    n_share = n // n_replicas + n % n_replicas
    assert x.shape == (n_replicas, n_share, 3, 2) and x.dtype == tf.float16
    assert y.shape == weights.shape == (n_replicas, n_share)
    np.testing.assert_allclose(weights.numpy().sum(axis=1), n / n_replicas, rtol=1e-6)  # float32
    assert np.average(y, weights=weights) == pytest.approx((n + 1) / 2, rel=1e-6)  # of 1 ... n; float32
    assert set(y.numpy().ravel()) == set(range(1, n + 1))
    rows = y.numpy().astype(int) - 1
    assert np.array_equal(x, batch[0].numpy()[rows]), "inputs and targets were separated"


def test_on_one_cpu_batches_are_delivered_as_they_are():
    delivered = distribute_batches(tf.data.Dataset.range(3), ONE_DEVICE)
    assert [batch.numpy() for batch in delivered] == [0, 1, 2]
    assert delivered.options().autotune.enabled is False  # its thread can hold up the end of a pipeline


def pretend_gpu(monkeypatch):
    """Let the CPU pass for a GPU."""
    device = tf.config.LogicalDevice("/device:CPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [device])


def test_a_gpu_gets_batches_ahead_with_nothing_changed(monkeypatch):
    pretend_gpu(monkeypatch)
    values = random(6, 2).astype(np.float16)
    dataset = tf.data.Dataset.from_tensor_slices(values).batch(4)
    delivered = prefetch_to_gpu(dataset)
    assert delivered is not dataset and delivered.element_spec == dataset.element_spec
    assert np.array_equal(np.concatenate([batch.numpy() for batch in delivered]), values)


def test_a_fit_with_batches_ahead_is_the_same_fit(monkeypatch, tmp_path):
    batches = ArrayBatches(X, Y, 8, seed=0)
    expected = fit(build(), batches, VALIDATION, CONFIG, tmp_path / "as it is").history
    pretend_gpu(monkeypatch)
    history = fit(build(), batches, VALIDATION, CONFIG, tmp_path / "ahead").history
    assert [(e["loss"], e["val_loss"]) for e in history] == [(e["loss"], e["val_loss"]) for e in expected]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_magnitudes_reach_the_compiled_step_in_the_dtype_on_disk(dtype, tmp_path, monkeypatch):
    """What is cast before the step would take twice the way to the device."""
    dataset = Dataset(write_small(tmp_path / "dataset", [9, 17, 4], dtype=dtype))
    sequence, targets = SequenceConfig(frames=4), random(3, 2)
    train = TrainingBatches(dataset, np.arange(2), targets, sequence, 4, seed=0)
    inputs, windows = prediction_batches(dataset, np.array([2]), sequence, 4)
    outputs = tf.data.Dataset.from_tensor_slices(targets[windows.row]).batch(4)
    arrived = {}

    def spied(name):
        original = getattr(keras.Model, name)

        def step(model, data):
            assert tf.inside_function()
            arrived[name] = data[0].dtype.name
            return original(model, data)

        monkeypatch.setattr(keras.Model, name, step)

    spied("train_step")
    spied("test_step")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4, 9)), keras.layers.Flatten(), keras.layers.Dense(2)])
    config = TrainingConfig(batch_size=4, epochs=1)
    fitted = fit(model, train, tf.data.Dataset.zip((inputs, outputs)), config, tmp_path / "fit")
    assert arrived == {"train_step": dtype, "test_step": dtype}
    assert model.layers[0].output.dtype == "float32"
    (epoch,) = fitted.history
    bytes_per_sequence = epoch["mb_per_s"] * 1e6 / epoch["sequences_per_s"]
    assert bytes_per_sequence == pytest.approx(4 * 9 * np.dtype(dtype).itemsize)


class SlowBatches:
    """Batches of 8 that take a while to come."""

    steps_per_epoch = 8

    def __init__(self, seconds):
        self._seconds = seconds

    def from_epoch(self, epoch):
        def wait(x, y):
            time.sleep(self._seconds)
            return x, y

        examples = tf.data.Dataset.from_tensors((X[:8], Y[:8])).repeat()
        return examples.map(lambda x, y: tf.numpy_function(wait, [x, y], [tf.float32, tf.float32])).map(
            lambda x, y: (tf.ensure_shape(x, (8, 6)), tf.ensure_shape(y, (8, 2)))
        )


def last_epoch(model, batches, folder):
    """Figures of the second epoch: the first one compiles."""
    return fit(model, batches, VALIDATION, CONFIG, folder).history[-1]


def test_a_slow_input_is_seen_as_such(tmp_path):
    figures = last_epoch(build(), SlowBatches(0.2), tmp_path)
    # A step of so few weights takes a millisecond or two, and on a machine with other work perhaps fifty.
    assert figures["input_wait_share"] > 0.5
    # 8 in 0.2 s, and up to two batches are there before the epoch begins: tf.data reads ahead.
    assert figures["sequences_per_s"] < 8 / 0.2 * 8 / 6
    assert figures["mb_per_s"] == pytest.approx(figures["sequences_per_s"] * 6 * 4 / 1e6)


def test_a_fast_input_is_seen_as_such(tmp_path):
    class Fast:
        steps_per_epoch = 20

        def from_epoch(self, epoch):
            return tf.data.Dataset.from_tensors((random(256, 6), random(256, 2))).repeat().prefetch(4)

    # A step is a billion multiplications, tens of milliseconds.
    assert last_epoch(build(1024), Fast(), tmp_path)["input_wait_share"] < 0.5


def test_waiting_and_computing_are_distinguished():
    def sleep(seconds):
        def wait(x):
            time.sleep(seconds)
            return x

        return lambda x: tf.ensure_shape(tf.numpy_function(wait, [x], x.dtype), x.shape)

    def step(batches):
        (x,) = next(batches)
        return {"loss": tf.reduce_max(sleep(0.06)(x))}

    measured = TimedFunction(step, ONE_DEVICE)
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    dataset = tf.data.Dataset.from_tensors(tf.ones((4, 10), tf.float16)).repeat().map(sleep(0.02))
    batches = iter(dataset.map(lambda x: (x,)).with_options(options))
    measured(batches)
    measured.restart()
    assert [measured(batches) for _ in range(5)] == [{"loss": 1}] * 5
    time.sleep(0.2)  # as validation does, which counts for nothing
    figures = measured.speed()
    assert figures["input_wait_share"] == pytest.approx(0.25, abs=0.1)  # 0.02 s of 0.08 s
    assert figures["sequences_per_s"] == pytest.approx(50, rel=0.2)
    assert figures["mb_per_s"] == pytest.approx(figures["sequences_per_s"] * 20 / 1e6)
