import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError
from cs_keras.models import REGISTRY, get_baseline, load_model, model_module
from cs_keras.models.spec import TrainingConfig
from cs_keras.training.execution import ExecutionConfig, choose_devices, dtype_policy, make_strategy
from cs_keras.training.fit import fit

AUDIO = AudioConfig(sample_rate=8000, n_fft=128, hop_length=64)  # 65 bins
FRAMES, N_FACTORS = 24, 3
SMALL = {
    "bot": {"model": {"n_centroids": 8, "dense": [16]}},
    "cnn": {"model": {"filters": 4, "dense": [16]}},
    "lstm": {"model": {"units": [4], "dense": [16]}},
}
FRONT_END = {"channel", "decibel", "mel"}
MIXED = pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
TRAINED = pytest.mark.parametrize("key", ["cnn-bn", "lstm"])


def build(key, policy="float32"):
    keras.utils.set_random_seed(0)
    changes = {"sequence": {"frames": FRAMES}, "front_end": {"n_mels": 16}}
    baseline = config.replace(get_baseline(key), config.merge(changes, SMALL[REGISTRY[key].module]))
    with dtype_policy(policy):
        return model_module(key).build(baseline, N_FACTORS, AUDIO)


class Examples:
    """Magnitudes in float16, in batches of 4 and a last one of 3."""

    steps_per_epoch = 3

    def __init__(self):
        random = np.random.default_rng(0)
        self.x = (10 ** random.uniform(-3, 1, (11, FRAMES, AUDIO.n_bins))).astype(np.float16)
        self.y = random.normal(size=(11, N_FACTORS)).astype(np.float32)

    def from_epoch(self, epoch):
        return self.validation().repeat()

    def validation(self):
        return tf.data.Dataset.from_tensor_slices((self.x, self.y)).batch(4)


def train(model, folder, **options):
    examples = Examples()
    training = TrainingConfig(learning_rate=1e-3, batch_size=4, epochs=2)
    return fit(model, examples, examples.validation(), training, folder, **options)


def layers(model):
    for layer in model.layers:
        yield from layers(layer) if isinstance(layer, keras.Model) else [layer]


def losses(fitted):
    return [[epoch["loss"], epoch["val_loss"]] for epoch in fitted.history]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype_policy": "float8"}, "execution.dtype_policy must be one of float32, mixed_float16, mixed_b"),
        ({"devices": 0}, "execution.devices must be at least 1. Received: 0"),
        ({"jit": True, "devices": 2}, "execution.devices must be 1 with it. Received: 2"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        ExecutionConfig(**settings)


def machine(monkeypatch, n_gpus):
    def listed(kind):
        names = [f"/device:GPU:{n}" for n in range(n_gpus)] if kind == "GPU" else ["/device:CPU:0"]
        return [tf.config.LogicalDevice(name, kind) for name in names]

    monkeypatch.setattr(tf.config, "list_logical_devices", listed)


@pytest.mark.parametrize(
    ("n_gpus", "settings", "batch_size", "expected"),
    [
        (0, {}, 32, ["/device:CPU:0"]),
        (1, {}, 32, ["/device:GPU:0"]),
        (2, {}, 32, ["/device:GPU:0", "/device:GPU:1"]),
        (3, {}, 32, ["/device:GPU:0", "/device:GPU:1"]),  # 3 do not divide 32
        (8, {}, 1, ["/device:GPU:0"]),
        (2, {"devices": 1}, 32, ["/device:GPU:0"]),
        (2, {"jit": True}, 32, ["/device:GPU:0"]),
    ],
)
def test_devices_are_all_gpus_that_can_share_a_batch(monkeypatch, n_gpus, settings, batch_size, expected):
    machine(monkeypatch, n_gpus)
    assert choose_devices(ExecutionConfig(**settings), batch_size) == tuple(expected)


@pytest.mark.parametrize(
    ("n_gpus", "devices", "batch_size", "message"),
    [
        (0, 2, 32, "execution.devices must be at most 1, as TensorFlow finds /device:CPU:0 on this machine"),
        (2, 3, 32, "execution.devices must be at most 2, as TensorFlow finds /device:GPU:0, /device:GPU:1"),
        (4, 3, 32, "training.batch_size must be a multiple of execution.devices = 3. Received: 32"),
    ],
)
def test_devices_that_are_not_there_or_cannot_share_are_refused(
    monkeypatch, n_gpus, devices, batch_size, message
):
    machine(monkeypatch, n_gpus)
    with pytest.raises(ConfigError, match=re.escape(message)):
        choose_devices(ExecutionConfig(devices=devices), batch_size)


def test_one_device_needs_no_mirrored_strategy():
    assert make_strategy(("/device:CPU:0",)) is tf.distribute.get_strategy()


def test_a_dtype_policy_ends_with_its_block_even_by_an_error():
    with pytest.raises(ZeroDivisionError), dtype_policy("mixed_float16"):
        assert keras.config.dtype_policy().name == "mixed_float16"
        1 / 0  # noqa: B018
    assert keras.config.dtype_policy().name == "float32"


@MIXED
@pytest.mark.parametrize("key", ["bot", "cnn-bn", "lstm"])
def test_mixed_precision_spares_variables_front_end_codebook_and_output(key, policy):
    model = build(key, policy)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.inputs[0].dtype == model.outputs[0].dtype == "float32"
    dtypes = {layer.name: layer.compute_dtype for layer in layers(model)}
    assert dtypes["dense_1"] == policy.removeprefix("mixed_")
    assert {dtypes[name] for name in FRONT_END | {"factors"}} == {"float32"}
    assert dtypes.get("bag_of_tones", "float32") == dtypes.get("mfcc", "float32") == "float32"


@MIXED
@TRAINED
def test_mixed_precision_trains_about_as_float32(key, policy, tmp_path):
    model = build(key, policy)
    fitted = train(model, tmp_path / "mixed")
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    expected = train(build(key), tmp_path / "float32")
    # bfloat16 has 8 bits of mantissa; losses are of size 1 and move by some hundredths in two epochs.
    np.testing.assert_allclose(losses(fitted), losses(expected), atol=0.02)


@MIXED
@TRAINED
def test_mixed_precision_is_saved_with_the_model(key, policy, tmp_path):
    model = build(key, policy)
    kernel = model.get_layer("factors").kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.get_layer("dense_1").compute_dtype == policy.removeprefix("mixed_")
    assert loaded.get_layer("mel").compute_dtype == "float32"
    expected = model(Examples().x, training=False).numpy()
    assert expected.std(axis=0).all()
    assert np.array_equal(loaded(Examples().x, training=False), expected)


def test_a_mixed_precision_fit_resumes_with_its_loss_scale(tmp_path):
    def interrupt(number, figures):
        raise KeyboardInterrupt

    reference = build("cnn-bn", "mixed_float16")
    expected = train(reference, tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        train(build("cnn-bn", "mixed_float16"), tmp_path / "interrupted", on_epoch=interrupt)
    model = build("cnn-bn", "mixed_float16")
    assert losses(train(model, tmp_path / "interrupted")) == losses(expected)
    assert all(
        np.array_equal(a, b) for a, b in zip(model.get_weights(), reference.get_weights(), strict=True)
    )
    pairs = zip(model.optimizer.variables, reference.optimizer.variables, strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert int(model.optimizer.step_counter.numpy()) > 0


@TRAINED
def test_xla_compiles_the_whole_step_front_end_included_and_gives_the_same_losses(key, tmp_path):
    compiled = build(key)
    fitted = train(compiled, tmp_path / "jit", jit=True)
    assert compiled.jit_compile
    # XLA fuses sums in another order; Adam makes steps of full size even of gradients that are nearly zero.
    np.testing.assert_allclose(losses(fitted), losses(train(build(key), tmp_path / "not")), rtol=0.01)


def test_a_layer_that_xla_cannot_compile_is_one_sentence(tmp_path):
    def on_the_host(x):
        return tf.ensure_shape(tf.numpy_function(lambda a: a, [x], tf.float32, stateful=False), x.shape)

    keras.utils.set_random_seed(0)
    x = keras.Input((FRAMES, AUDIO.n_bins))
    y = keras.layers.Lambda(on_the_host, output_shape=(FRAMES, AUDIO.n_bins))(x)
    y = keras.layers.Dense(N_FACTORS)(keras.layers.Flatten()(y))
    with pytest.raises(ConfigError, match="^XLA cannot compile odd; train that model without --jit.$"):
        train(keras.Model(x, y, name="odd"), tmp_path, jit=True)


def test_a_layer_that_excludes_xla_is_one_sentence_and_no_silent_fallback(tmp_path):
    model = build("lstm")
    model.get_layer("lstm_1").supports_jit = False  # as Keras sets it where cuDNN runs the layer
    with pytest.raises(ConfigError, match="XLA cannot compile lstm on this machine, because of cuDNN's"):
        train(model, tmp_path, jit=True)
