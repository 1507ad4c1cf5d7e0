"""What is inside trained networks: filters and units as SciPy and Keras have them, after save and load."""

from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.signal import correlate2d

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import DataError
from cs_keras.models import get_baseline, load_model, model_module
from cs_keras.models.spec import architecture
from cs_keras.models.taps import TappedModel, tap_model

AUDIO = AudioConfig()
FRAMES = 48
SMALL = {
    "cnn": {"filters": 3, "dense": (5, 4)},
    "cnn-bn": {"filters": 3, "dense": (5,)},
    "cnn-freq": {"filters": 3, "dense": (5,)},
    "cnn-time": {"filters": 3, "dense": (5,)},
    "choi": {"dense": (5,)},
    "choi-features": {"dense": (5,)},
    "lstm": {"units": (4,), "dense": (5,)},
    "triplet": {"filters": 3, "n_dimensions": 6, "dense": (5,)},
    "xception-random": {"filters": (4,), "dense": (5,)},
}
CONVOLVED = [key for key in SMALL if key != "lstm"]


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return np.random.default_rng(0).lognormal(size=(2, FRAMES, AUDIO.n_bins)).astype(np.float32)


def make(key: str, folder: Path) -> keras.Model:
    """Return a small network with weights and statistics that are no defaults, as a run would store it."""
    settings = {"model": SMALL[key], "sequence": {"frames": FRAMES}}
    model = model_module(key).build(config.replace(architecture(get_baseline(key)), settings), 2, AUDIO)
    random = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 2, weight.shape) for weight in layer.get_weights()])
        elif isinstance(layer, keras.layers.Conv1D | keras.layers.Conv2D) and layer.use_bias:
            layer.set_weights([layer.get_weights()[0], random.standard_normal(layer.bias.shape)])
    model.save(folder / "model.keras")
    return load_model(folder / "model.keras")


def layer_of(model: keras.Model, name: str) -> keras.layers.Layer:
    (found,) = (layer for layer in model._flatten_layers() if layer.name == name)
    return found


def normalised(x: np.ndarray, model: keras.Model, name: str) -> np.ndarray:
    layer = layer_of(model, name)
    gamma, beta, mean, variance = layer.get_weights()
    return gamma * (x - mean) / np.sqrt(variance + layer.epsilon) + beta


def correlated(mel: np.ndarray, kernels: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return (n_steps, n_mels, n_filters) where kernels lie wholly inside."""
    maps = [correlate2d(mel, kernel, "valid") for kernel in kernels.astype(np.float64)]
    return np.stack(maps, axis=-1) + bias


def inside(maps: np.ndarray, tapped: TappedModel) -> np.ndarray:
    assert tapped.first
    (first, last), (low, high) = tapped.first.edge_steps, tapped.first.edge_mels
    return maps[:, first : maps.shape[1] - last, low : maps.shape[2] - high]


@pytest.mark.parametrize(
    "key", ["cnn", "cnn-bn", "cnn-freq", "cnn-time", "choi", "triplet", "xception-random"]
)
def test_filters_are_what_their_kernels_make_of_the_spectrogram(
    key: str, sound: np.ndarray, tmp_path: Path
) -> None:
    model = make(key, tmp_path)
    tapped = tap_model(model)
    assert tapped.first
    outputs = {name: value.numpy() for name, value in tapped.model(sound, training=False).items()}
    inputs = outputs["mel"].astype(np.float64)
    if key == "choi":  # one channel, normalised
        inputs = normalised(inputs[..., np.newaxis], model, "norm_input")[..., 0]
    layer = layer_of(model, tapped.first.name)
    bias = layer.get_weights()[1] if layer.use_bias else np.zeros(layer.filters)
    expected = np.stack([correlated(one, tapped.first.kernels, bias) for one in inputs])
    if key == "xception-random":
        expected = np.maximum(normalised(expected[:, ::2, ::2], model, "block1_conv1_bn"), 0)
    else:
        if key in ("cnn-bn", "cnn-freq", "cnn-time"):
            expected = normalised(expected, model, "norm_1")
        expected = np.where(expected > 0, expected, np.expm1(expected))  # ELU
    received = inside(outputs["filters"], tapped)
    assert received.shape == expected.shape
    # float32 sums of up to 4 x 128 products of some ten decibels
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("key", SMALL)
def test_units_are_the_last_hidden_layer_and_the_spectrogram_is_the_front_ends(
    key: str, sound: np.ndarray, tmp_path: Path
) -> None:
    model = make(key, tmp_path)
    tapped = tap_model(model)
    outputs = tapped.model(sound, training=False)
    assert tapped.top == f"dense_{len(SMALL[key]['dense'])}"
    factors = layer_of(model, "factors")
    kernel, bias = factors.get_weights()
    factors.set_weights(
        [np.random.default_rng(2).standard_normal(kernel.shape), bias]
    )  # shared, so seen by both
    given = outputs["units"].numpy() @ factors.get_weights()[0] + bias
    np.testing.assert_allclose(model(sound, training=False).numpy(), given, rtol=1e-4, atol=1e-4)
    assert outputs["mel"].shape == (2, FRAMES, 96 if key == "choi-features" else 128)
    assert (tapped.first is not None) == (key in CONVOLVED)


def test_a_network_without_either_is_refused() -> None:
    sound = keras.Input((FRAMES, 8))
    convolved = keras.layers.Conv1D(3, 5)(sound)  # not of a spectrogram
    model = keras.Model(
        sound, keras.layers.Dense(2)(keras.layers.GlobalMaxPooling1D()(convolved)), name="bare"
    )
    with pytest.raises(DataError, match="bare has neither a convolution nor a hidden dense layer"):
        tap_model(model)
