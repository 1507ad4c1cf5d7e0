import keras
import numpy as np
import pytest
import tensorflow as tf

from cs_keras.audio.settings import AudioConfig
from cs_keras.layers.front_end import BAND_NORMALIZATION, FrontEndConfig, mel_spectrogram, normalize_bands
from cs_keras.models import load_model
from cs_keras.training.band_statistics import measure_bands, set_bands
from tests.layers.test_front_end import by_librosa, music_like

AUDIO = AudioConfig()
X = music_like(n_tracks=5)


def build(config):
    magnitude = keras.Input((20, AUDIO.n_bins))
    return keras.Model(magnitude, normalize_bands(mel_spectrogram(magnitude, config, AUDIO), config))


@pytest.fixture(params=["db_mel", "mel_db"])
def config(request):
    return FrontEndConfig(order=request.param, n_mels=40, normalize=True)


def test_bands_have_mean_0_and_variance_1_over_the_data_that_they_were_fitted_on(config, tmp_path):
    model = build(config)
    batches = tf.data.Dataset.from_tensor_slices((X, X[:, 0])).batch(2)
    seen = []
    statistics = measure_bands(model, batches, seen.append)
    levels = np.stack([by_librosa(track, config) for track in X])
    np.testing.assert_allclose(statistics[0], levels.mean(axis=(0, 1)), atol=2e-3)  # float32 levels of 100 dB
    np.testing.assert_allclose(statistics[1], levels.var(axis=(0, 1)), rtol=1e-3)
    assert seen == [2, 2, 1]
    set_bands(model, statistics)
    output = model(X).numpy()
    np.testing.assert_allclose(output.mean(axis=(0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(output.var(axis=(0, 1)), 1, rtol=1e-3)
    model.save(tmp_path / "model.keras")
    assert np.array_equal(load_model(tmp_path / "model.keras")(X), output)


def test_a_constant_band_stays_as_it_is(config):
    model = build(config)
    set_bands(model, [np.full(40, 3.0), np.zeros(40)])
    plain = keras.Model(model.input, model.get_layer(BAND_NORMALIZATION).input)
    np.testing.assert_allclose(model(X), plain(X) - 3, rtol=1e-6)


def test_it_is_off_unless_set():
    names = [layer.name for layer in build(FrontEndConfig()).layers]
    assert BAND_NORMALIZATION not in names
