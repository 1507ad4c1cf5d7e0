import kapre
import keras
import librosa
import numpy as np
import pytest

from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.front_end import Decibel, FrontEndConfig, mel_spectrogram

AUDIO = AudioConfig()
ORDERS = ["db_mel", "mel_db"]
# Levels are within 1e-6 of their 100 dB as float32; the filterbank's sums of up to 50 of them add a little.
LEVEL_DB = 2e-3


def music_like(n_tracks=3, n_frames=20, seed=0):
    """Magnitudes, shape (n_tracks, n_frames, 513), over 100 dB, with exact zeros, each track at its own level."""
    random = np.random.default_rng(seed)
    magnitude = 10 ** random.uniform(-8, 2, (n_tracks, n_frames, AUDIO.n_bins))
    magnitude[random.random(magnitude.shape) < 0.05] = 0
    return (magnitude * 10.0 ** -np.arange(n_tracks)[:, None, None]).astype(np.float32)


def build(config, audio=AUDIO):
    magnitude = keras.Input((None, audio.n_bins))
    return keras.Model(magnitude, mel_spectrogram(magnitude, config, audio))


def by_librosa(magnitude, config, audio=AUDIO):
    """One track, (frames, bins) to (frames, mels). Kapre's decibel is librosa's power_to_db."""
    filterbank = librosa.filters.mel(
        sr=audio.sample_rate, n_fft=audio.n_fft, n_mels=config.n_mels, fmin=config.f_min, fmax=config.f_max
    ).T

    def level_db(x):
        return librosa.power_to_db(x, ref=1.0, amin=config.amin, top_db=config.dynamic_range_db)

    magnitude = magnitude.astype(np.float64)
    if config.order == "db_mel":
        return level_db(magnitude) @ filterbank
    return level_db(magnitude @ filterbank)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"n_mels": 40, "f_min": 200.0, "f_max": 8000.0}, {"amin": 1e-3, "dynamic_range_db": 30.0}],
    ids=["default", "bands", "range"],
)
def test_it_equals_librosa(order, changes):
    config = FrontEndConfig(order=order, **changes)
    magnitude = music_like()
    output = build(config).predict(magnitude, verbose=0)
    assert output.shape == (3, 20, config.n_mels, 1) and output.dtype == np.float32
    for track, levels in zip(magnitude, output, strict=True):
        np.testing.assert_allclose(levels[:, :, 0], by_librosa(track, config), rtol=1e-5, atol=LEVEL_DB)


def test_the_orders_differ():
    outputs = [build(FrontEndConfig(order=order))(music_like()) for order in ORDERS]
    assert np.abs(outputs[0] - outputs[1]).max() > 1


@pytest.mark.parametrize("order", ORDERS)
def test_another_rate_and_window_are_followed(order):
    audio = AudioConfig(sample_rate=16_000, n_fft=512, hop_length=160)
    config = FrontEndConfig(n_mels=64, order=order)
    magnitude = music_like()[:, :, : audio.n_bins]
    output = build(config, audio)(magnitude).numpy()
    expected = [by_librosa(track, config, audio) for track in magnitude]
    np.testing.assert_allclose(output[..., 0], expected, rtol=1e-5, atol=LEVEL_DB)


@pytest.mark.parametrize("order", ORDERS)
def test_float16_input_is_computed_in_float32(order):
    model, stored = build(FrontEndConfig(order=order)), music_like().astype(np.float16)
    assert np.array_equal(model(stored), model(stored.astype(np.float32)))


@pytest.mark.parametrize("order", ORDERS)
def test_it_stays_float32_under_mixed_precision(order):
    magnitude = music_like()
    expected = build(FrontEndConfig(order=order))(magnitude)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = build(FrontEndConfig(order=order))
    finally:
        keras.config.set_dtype_policy("float32")
    output = mixed(magnitude)
    assert output.dtype == "float32"
    assert np.array_equal(output, expected)


@pytest.mark.parametrize("order", ORDERS)
def test_a_track_does_not_depend_on_what_else_is_in_its_batch(order):
    model, magnitude = build(FrontEndConfig(order=order)), music_like()
    together = model(magnitude).numpy()
    alone = np.concatenate([model(magnitude[i : i + 1]).numpy() for i in range(3)])
    # The same products in another order of summing: float32 rounding of levels of 100 dB.
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
def test_it_survives_saving_and_loading(order, tmp_path):
    model, magnitude = build(FrontEndConfig(order=order, n_mels=40)), music_like()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(magnitude), model(magnitude))


def test_it_has_nothing_to_train():
    assert build(FrontEndConfig()).trainable_weights == []


def test_silence_is_as_loud_as_the_smallest_magnitude_counted():
    levels = build(FrontEndConfig(order="mel_db", amin=1e-5))(np.zeros((1, 2, 513), np.float32))
    np.testing.assert_allclose(levels, -50, rtol=1e-6)  # 10 log10(1e-5)


@pytest.mark.parametrize("f_max", [11_026.0, 22_050.0])
def test_bands_above_half_the_sample_rate_are_refused(f_max):
    with pytest.raises(ConfigError, match=f"front_end.f_max must be at most .*11025.0 Hz. Received: {f_max}"):
        build(FrontEndConfig(f_max=f_max))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_mels": 0}, "front_end.n_mels must be at least 1"),
        ({"f_min": -1.0}, "front_end.f_min must be at least 0"),
        ({"f_min": 500.0, "f_max": 500.0}, "front_end.f_max must lie above f_min = 500.0. Received: 500.0"),
        ({"order": "mel"}, "front_end.order must be one of db_mel, mel_db. Received: 'mel'"),
        ({"amin": 0.0}, "front_end.amin and front_end.dynamic_range_db must be above 0"),
        ({"dynamic_range_db": -80.0}, "front_end.amin and front_end.dynamic_range_db must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        FrontEndConfig(**changes)


@pytest.mark.parametrize("amin", [1e-10, 0.3, 5.0])
@pytest.mark.parametrize("dynamic_range", [20.0, 80.0])
def test_decibels_are_kapres(amin, dynamic_range):
    rng = np.random.default_rng(0)
    loudness = np.array([1e-12, 1e-3, 1.0, 100.0]).reshape(4, 1, 1, 1)
    x = (rng.lognormal(0, 3, (4, 7, 9, 1)) * loudness).astype(np.float32)
    x[1, 2] = 0
    settings = {"ref_value": 1.0, "amin": amin, "dynamic_range": dynamic_range}
    ours, kapres = Decibel(**settings)(x), kapre.MagnitudeToDecibel(**settings)(x)
    np.testing.assert_allclose(ours, kapres, atol=2e-5)  # float32 logarithms of up to 120 dB
    again = Decibel.from_config(Decibel(**settings).get_config())
    np.testing.assert_array_equal(again(x), ours)
