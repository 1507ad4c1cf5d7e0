"""The first layers of `raw` and `raw-mel` against NumPy and librosa."""

import dataclasses

import keras
import librosa
import numpy as np
import pytest

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError
from cs_keras.models import get_baseline, model_module
from cs_keras.models.raw import WINDOWS

AUDIO = AudioConfig(content="waveform")
FRAMES = 16


def build(key, **model):
    changes = {"sequence": {"frames": FRAMES}, "model": model}
    return model_module(key).build(config.replace(get_baseline(key), changes), 3, AUDIO)


def samples(n=2):
    return np.random.default_rng(0).normal(0, 0.1, (n, FRAMES, 512)).astype(np.float32)


def front(model, x):
    """What the first layer of either kind gives, shape (batch, steps, n)."""
    return keras.Model(model.input, model.get_layer("norm_front").input)(x, training=False).numpy()


def windows_of(x, length, stride):
    flat = np.pad(x.reshape(len(x), -1), ((0, 0), (0, length)))
    steps = -(-FRAMES * 512 // stride)
    return np.stack([flat[:, step * stride :][:, :length] for step in range(steps)], axis=1)


POOLED = {
    "none": lambda x: x[..., 0],
    "l2": lambda x: np.sqrt(np.square(x).sum(axis=-1)),
    "max": lambda x: x.max(axis=-1),
}
BENT = {
    "relu": lambda x: np.maximum(x, 0),
    "log_square": lambda x: np.log(1 + 50 * x**2),
    "log_abs": lambda x: np.log(1 + 50 * np.abs(x)),
}


@pytest.mark.parametrize("nonlinearity", BENT)
@pytest.mark.parametrize("pooling", POOLED)
def test_the_learned_layer_is_a_product_of_each_window_with_each_filter(pooling, nonlinearity):
    model = build(
        "raw",
        length=300,
        stride=200,
        filters=6,
        feature_pooling=pooling,
        pool_size=3,
        nonlinearity=nonlinearity,
        compression=50.0,
    )
    kernel, bias = model.get_layer("strided").get_weights()
    x = samples().astype(np.float64)
    linear = windows_of(x, 300, 200) @ kernel[:, 0].astype(np.float64) + bias
    groups = linear.reshape(*linear.shape[:2], 6, -1)
    assert groups.shape[-1] == (1 if pooling == "none" else 3)
    expected = BENT[nonlinearity](POOLED[pooling](groups))
    np.testing.assert_allclose(
        front(model, samples()), expected, rtol=1e-3, atol=1e-4
    )  # sums of 300 in float32


@pytest.mark.parametrize(("length", "stride"), WINDOWS)
def test_both_fronts_have_as_many_steps_and_numbers(length, stride):
    raw, mel = (build(key, length=length, stride=stride) for key in ("raw", "raw-mel"))
    shapes = {model.get_layer("norm_front").input.shape for model in (raw, mel)}
    assert shapes == {(None, FRAMES * 512 // stride, 128)}
    after = [layer.name for layer in raw.layers[raw.layers.index(raw.get_layer("norm_front")) :]]
    assert after == [layer.name for layer in mel.layers[mel.layers.index(mel.get_layer("norm_front")) :]]
    assert raw.count_params() - mel.count_params() == (length + 1) * 128


def test_the_spectrogram_is_librosas():
    found = front(build("raw-mel", length=1024, stride=512), samples())
    for sequence, bands in zip(samples(), found, strict=True):
        magnitude = np.abs(
            librosa.stft(np.pad(sequence.ravel(), (0, 1024)), n_fft=1024, hop_length=512, center=False)
        )
        mel = librosa.feature.melspectrogram(S=magnitude[:, :FRAMES], sr=22050, n_mels=128)
        expected = librosa.amplitude_to_db(mel, ref=1.0, amin=1e-10, top_db=None) / 2  # Kapre's are 10 log10
        np.testing.assert_allclose(bands, expected.T, atol=1e-3)


def test_what_cannot_be_had_is_refused():
    raw = model_module("raw")
    with pytest.raises(ConfigError, match="raw needs a dataset of waveforms, and this one holds magnitudes"):
        raw.build(get_baseline("raw"), 3, AudioConfig())
    stretched = dataclasses.replace(get_baseline("raw").augment, time_stretch=0.1)
    with pytest.raises(ConfigError, match="augment.time_stretch must be 0 for raw"):
        raw.build(dataclasses.replace(get_baseline("raw"), augment=stretched), 3, AUDIO)
    with pytest.raises(ConfigError, match="model.stride must be 1 to 512. Received: 1024"):
        raw.Config(length=512, stride=1024)
