"""The streaming convnet of 2014 against NumPy, and what each of its variations changes."""

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.models import get_baseline, load_model
from cs_keras.models.dieleman import build, search_space
from cs_keras.models.spec import trainable_parameters
from cs_keras.training.execution import dtype_policy

AUDIO = AudioConfig(sample_rate=8000, n_fft=128, hop_length=64)  # 65 bins
N_MELS, N_FACTORS = 16, 3
VARIATIONS = {
    "published": {},
    "maxout": {"activation": "maxout"},
    "stochastic": {"pooling": "stochastic"},
    "bypass": {"bypass": True},
    "normalized": {"normalize_output": True},
    "two layers": {"filters": [4, 5], "pools": [3], "kernel": 3},
    "maxout, bypass, normalized": {"activation": "maxout", "bypass": True, "normalize_output": True},
}
EACH = pytest.mark.parametrize("name", VARIATIONS)


def make(name="published", frames=29, **changes):
    small = {"filters": [4, 4, 6, 6], "dense": [8, 7], **VARIATIONS[name], **changes}
    settings = {"sequence": {"frames": frames}, "front_end": {"n_mels": N_MELS}, "model": small}
    baseline = config.replace(get_baseline("dieleman"), settings)
    keras.utils.set_random_seed(0)
    model = build(baseline, N_FACTORS, AUDIO)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:  # biases and the output layer start at zero
        weight.assign_add(0.3 * rng.standard_normal(weight.shape).astype(np.float32))
    return model, baseline.model


def magnitudes(n=5, frames=29):
    return 10 ** np.random.default_rng(0).uniform(-3, 1, (n, frames, AUDIO.n_bins)).astype(np.float32)


def convolved(x, kernel, bias):
    """Cross-correlation along time of (steps, n), padded at both ends, after it if uneven."""
    width = len(kernel)
    before = (width - 1) // 2
    padded = np.pad(x, ((before, width - 1 - before), (0, 0)))
    return np.stack([np.einsum("kn,knm->m", padded[t : t + width], kernel) for t in range(len(x))]) + bias


def activated(x, settings):
    return np.maximum(x, 0) if settings.activation == "relu" else x.reshape(*x.shape[:-1], -1, 2).max(axis=-1)


def pooled(x, size, settings):
    short = -len(x) % size
    if settings.pooling == "stochastic":
        stretches = [x[i : i + size] for i in range(0, len(x), size)]
        return np.stack([(s * s).sum(0) / np.where(s.sum(0) > 0, s.sum(0), 1) for s in stretches])
    padded = np.pad(x, ((short // 2, short - short // 2), (0, 0)), constant_values=-np.inf)
    return padded.reshape(-1, size, x.shape[1]).max(axis=1)


def by_hand(model, settings, spectrogram):
    """The network on one decibel mel spectrogram, (frames, n_mels), in float64."""
    weights = {layer.name: [w.astype(float) for w in layer.get_weights()] for layer in model.layers}
    x, activations = spectrogram.astype(float), []
    for number, pool in enumerate((*settings.pools, 1), 1):
        activations.append(activated(convolved(x, *weights[f"conv_{number}"]), settings))
        x = pooled(activations[-1], pool, settings) if pool > 1 else activations[-1]
    used = activations if settings.bypass else activations[-1:]
    x = np.concatenate([f for h in used for f in (h.mean(0), h.max(0), np.sqrt((h * h).sum(0)))])
    for number in range(1, len(settings.dense) + 1):
        kernel, bias = weights[f"dense_{number}"]
        x = activated(x @ kernel + bias, settings)
    kernel, bias = weights["factors"]
    x = x @ kernel + bias
    return x / np.linalg.norm(x) if settings.normalize_output else x


@EACH
@pytest.mark.parametrize("frames", [29, 32, 5])
def test_predictions_against_numpy(name, frames):
    model, settings = make(name, frames)
    x = magnitudes(frames=frames)
    spectrograms = keras.Model(model.input, model.get_layer("steps").output)(x).numpy()
    expected = np.stack([by_hand(model, settings, s) for s in spectrograms])
    # Float32 through seven layers; relative to outputs of size 1 to 100.
    np.testing.assert_allclose(model(x, training=False), expected, rtol=1e-3, atol=1e-4 * abs(expected).max())


@EACH
def test_it_survives_saving_and_loading(name, tmp_path):
    model, _ = make(name)
    model.save(tmp_path / "model.keras")
    found = load_model(tmp_path / "model.keras")(magnitudes(), training=False)
    assert np.array_equal(found, model(magnitudes(), training=False))


@EACH
def test_it_trains_in_mixed_precision_with_finite_gradients(name):
    with dtype_policy("mixed_float16"):
        model, _ = make(name)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(magnitudes(), training=True) - 1.0))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert all(gradient.numpy().any() for gradient in gradients)


def test_filters_that_never_fire_have_finite_gradients():
    model, _ = make()
    model.get_layer("conv_4").bias.assign(np.full(6, -1e6, np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(magnitudes(), training=True) - 1.0))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_maxout_doubles_all_but_the_output_layer_and_bypass_takes_every_convolution():
    n_mels, (a, b, c, d), (e, f), k = N_MELS, (4, 4, 6, 6), (8, 7), 4
    output = (f + 1) * N_FACTORS
    convolutions = (k * n_mels + 1) * a + (k * a + 1) * b + (k * b + 1) * c + (k * c + 1) * d
    dense = (3 * d + 1) * e + (e + 1) * f
    assert trainable_parameters(make()[0]) == convolutions + dense + output
    assert trainable_parameters(make("maxout")[0]) == 2 * (convolutions + dense) + output
    assert trainable_parameters(make("bypass")[0]) == convolutions + dense + 3 * (a + b + c) * e + output
    for name in ("stochastic", "normalized"):
        assert trainable_parameters(make(name)[0]) == convolutions + dense + output


def test_a_normalised_output_has_length_one_from_the_start():
    settings = {"model": {"filters": [4, 4, 4, 4], "dense": [8], "normalize_output": True}}
    model = build(config.replace(get_baseline("dieleman-3s"), settings), 10, AudioConfig())
    x = np.random.default_rng(0).lognormal(size=(4, 128, 513)).astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(model(x, training=False), axis=1), 1, rtol=1e-5)  # float32


def test_what_is_drawn_in_training_is_not_drawn_in_prediction():
    for changes in ({"dropout": 0.5}, {"dropout": 0.0, "pooling": "stochastic"}):
        model, _ = make(**changes)
        outputs = [model(magnitudes(), training=training).numpy() for training in (True, True, False, False)]
        assert not np.array_equal(outputs[0], outputs[1])
        assert np.array_equal(outputs[2], outputs[3])
    model, _ = make(dropout=0.0)
    outputs = [model(magnitudes(), training=training).numpy() for training in (True, False)]
    assert np.array_equal(*outputs)


def test_predictions_do_not_depend_on_time_shifts():
    """Far from the edges, and later by whole pools."""
    model, _ = make(frames=512)
    x = np.full((3, 512, AUDIO.n_bins), 1e-3, np.float32)
    x[:2, 240:256] = magnitudes(1, 16)
    x[1] = np.roll(x[1], 16, axis=0)  # 4 * 2 * 2 steps are pooled into one
    first, shifted, silent = model(x, training=False).numpy()
    np.testing.assert_allclose(shifted, first, rtol=1e-4, atol=1e-4)  # float32 sums in another order
    assert np.abs(silent - first).max() > 1e-2


def test_the_variants_are_three_lengths_of_one_network():
    frames = {key: get_baseline(key).sequence.frames for key in ("dieleman", "dieleman-3s", "dieleman-30s")}
    assert frames == {"dieleman": 599, "dieleman-3s": 128, "dieleman-30s": 1292}
    assert round(30 * AudioConfig().frames_per_second) == 1292
    assert len({(get_baseline(key).model, get_baseline(key).training) for key in frames}) == 1


@pytest.mark.parametrize(
    ("values", "absent"),
    [({"model.activation": "maxout"}, "pooling"), ({"training.optimizer": "adam"}, "momentum")],
)
def test_a_search_leaves_out_what_does_not_apply(values, absent):
    point, baseline = keras_tuner.HyperParameters(), get_baseline("dieleman")
    point.values.update(values)
    found = config.replace(baseline, search_space(point, baseline))
    group, name = next(iter(values)).split(".")
    assert getattr(getattr(found, group), name) == next(iter(values.values()))
    point.values[f"{group}.{absent}"] = {"pooling": "stochastic", "momentum": 0.5}[absent]
    assert config.replace(baseline, search_space(point, baseline)) == found


def test_a_search_varies_time_stretch_and_the_optimiser():
    point, baseline = keras_tuner.HyperParameters(), get_baseline("dieleman")
    point.values.update(
        {"augment.time_stretch": 0.1, "training.momentum": 0.95, "model.pooling": "stochastic"}
    )
    found = config.replace(baseline, search_space(point, baseline))
    assert (found.augment.time_stretch, found.training.momentum) == (0.1, 0.95)
    assert found.model.pooling == "stochastic"


def test_normalised_outputs_say_which_targets_they_can_meet():
    normalized = config.replace(get_baseline("dieleman"), {"model": {"normalize_output": True}})
    baseline = get_baseline("dieleman")
    assert baseline.model.notes(baseline) == ()
    assert "unit_norm" in normalized.model.notes(normalized)[0]
    cosine = config.replace(normalized, {"training": {"loss": "cosine"}})
    assert cosine.model.notes(cosine) == ()


@pytest.mark.parametrize("activation", ["relu", "maxout"])
def test_activations_keep_their_size_from_layer_to_layer(activation):
    changes = {"model": {"filters": [8], "pools": [], "dense": [512] * 5, "activation": activation}}
    keras.utils.set_random_seed(0)
    model = build(config.replace(get_baseline("dieleman-3s"), changes), N_FACTORS, AudioConfig())
    x = np.random.default_rng(0).lognormal(size=(4, 128, 513)).astype(np.float32)
    outputs = [model.get_layer(f"dropout_{number}").output for number in (1, 5)]
    first, last = (float(np.square(y).mean()) for y in keras.Model(model.input, outputs)(x, training=False))
    # Twice the variance would make it 16 times as large; of 512 neurons means vary by a tenth a layer.
    assert 0.4 < last / first < 2.5
