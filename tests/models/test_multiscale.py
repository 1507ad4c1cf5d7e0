"""What the multiscale network makes of sound, against NumPy and librosa."""

import dataclasses

import keras
import librosa
import numpy as np
import pytest

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError
from cs_keras.models import get_baseline
from cs_keras.models.multiscale import adapt, build_features, build_regressor, kernels_name, set_kernels
from cs_keras.training.feature_learning.spherical_kmeans import fit_whitening, linear_kernels

FRAMES = 64
WAVEFORM = AudioConfig(content="waveform")


def small(key, **model):
    changes = {
        "sequence": {"frames": FRAMES},
        "front_end": {"n_mels": 16},
        "model": {"n_centroids": 5, **model},
    }
    return config.replace(get_baseline(key), changes)


def scale_of(features, scale):
    return keras.Model(features.input, features.get_layer(kernels_name(scale)).input)


def magnitudes(n=3):
    return 10 ** np.random.default_rng(0).uniform(-3, 1, (n, FRAMES, 513)).astype(np.float32)


@pytest.mark.parametrize("key", ["multiscale-gaussian", "multiscale-laplacian"])
def test_features_are_pooled_dot_products_of_white_patches(key):
    features = build_features(small(key, n_levels=3, patch_frames=4, pool_frames=8), AudioConfig())
    x, rng, expected = magnitudes(), np.random.default_rng(1), []
    for scale, pool in ((1, 8), (2, 4), (3, 2)):  # as many seconds
        bands = scale_of(features, scale)(x).numpy().astype(np.float64)
        steps = bands.shape[1] - 3
        patches = np.stack([bands[:, step : step + 4].reshape(len(x), -1) for step in range(steps)], axis=1)
        whitening = fit_whitening(patches.reshape(-1, 64).astype(np.float32), 0.9)
        centroids = rng.normal(size=(5, whitening.matrix.shape[1])).astype(np.float32)
        set_kernels(features, scale, *linear_kernels(whitening, centroids))
        encoded = (patches - whitening.mean) @ whitening.matrix @ centroids.T
        n_pools = -(-steps // pool)
        missing = n_pools * pool - steps  # "same": the missing steps are padded, half at each end
        ends = np.cumsum([0, *[pool] * n_pools]) - missing // 2
        stretches = [slice(max(0, a), b) for a, b in zip(ends, ends[1:], strict=False)]
        pooled = np.stack([encoded[:, stretch].max(axis=1) for stretch in stretches], axis=1)
        expected += [pooled.mean(axis=1), pooled.max(axis=1)]
    found = features(x, training=False).numpy()
    assert found.shape == (3, 2 * 3 * 5) and not features.trainable_weights
    scale_of_numbers = np.abs(np.concatenate(expected, axis=1)).max()
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=1e-4 * scale_of_numbers)


def test_each_resolution_is_librosas():
    windows = (512, 1024, 4096)
    features = build_features(small("multiscale", windows=list(windows), patch_frames=2), WAVEFORM)
    samples = np.random.default_rng(0).normal(0, 0.1, FRAMES * 512).astype(np.float32)
    for scale, window in enumerate(windows, 1):
        bands = scale_of(features, scale)(samples.reshape(1, FRAMES, 512)).numpy()[0]
        padded = np.pad(samples, (0, window))
        magnitude = np.abs(librosa.stft(padded, n_fft=window, hop_length=window // 2, center=False))
        mel = librosa.feature.melspectrogram(S=magnitude, sr=22050, n_mels=16)
        expected = librosa.amplitude_to_db(mel, ref=1.0, amin=1e-10, top_db=None) / 2  # Kapre's are 10 log10
        assert len(bands) == FRAMES * 512 // (window // 2)
        np.testing.assert_allclose(bands, expected.T[: len(bands)], atol=1e-3)


def test_one_window_needs_no_waveforms_if_it_is_the_datasets():
    one = small("multiscale", windows=[1024])
    assert build_features(one, AudioConfig()).output_shape == (None, 10)
    with pytest.raises(
        ConfigError, match="needs windows of 2048 samples, .* of 1024 samples; .*windows=\\[1024\\]"
    ):
        build_features(small("multiscale", windows=[2048]), AudioConfig())


@pytest.mark.parametrize(
    ("key", "audio", "model"),
    [
        ("multiscale", WAVEFORM, {"windows": [1024, 16_384]}),
        ("multiscale-laplacian", AudioConfig(), {"n_levels": 6}),
    ],
)
def test_sequences_too_short_for_a_scale_are_refused(key, audio, model):
    short = dataclasses.replace(
        small(key, **model), sequence=dataclasses.replace(small(key).sequence, frames=40)
    )
    with pytest.raises(
        ConfigError, match="sequence.frames = 40 gives . frames on a coarse scale of .*: expected at least 4"
    ):
        build_features(short, audio)


def test_features_are_standardised_by_train_sequences():
    baseline = small("multiscale-gaussian", n_levels=2)
    regressor = build_regressor(baseline, 3)
    features = np.random.default_rng(0).normal(5, 3, (2500, 20)).astype(np.float32)
    adapt(regressor, baseline, features)
    norm = regressor.get_layer("norm_features")
    white = keras.Model(regressor.input, norm.output)(features).numpy()
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(white.std(axis=0), 1, atol=1e-4)
