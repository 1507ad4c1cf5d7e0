import keras
import numpy as np
import pytest

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.augmentation import RandomGain, SpectrogramMasks, TimeStretch
from cs_keras.models import REGISTRY, get_baseline, load_model, model_module
from cs_keras.models.spec import AugmentConfig

AUDIO = AudioConfig(sample_rate=8000, n_fft=128, hop_length=64)
ALL_ON = {
    "gain_db": 6.0,
    "time_stretch": 0.2,
    "n_time_masks": 2,
    "max_time_frames": 5,
    "n_mel_masks": 1,
    "max_mels": 4,
}


def spectrograms(n=50, frames=20, mels=12, seed=0):
    return np.random.default_rng(seed).normal(-40, 10, (n, frames, mels, 1)).astype(np.float32)


def masked(layer, x):
    """Which values of the spectrograms `layer` hid."""
    return (np.asarray(layer(x, training=True)) != x)[..., 0]


def spans(hidden):
    """Number of separate spans of True along the last axis."""
    return (np.diff(hidden.astype(int), axis=-1, prepend=0) == 1).sum(axis=-1)


@pytest.mark.parametrize("layer", [RandomGain(6.0), TimeStretch(0.2), SpectrogramMasks(2, 5, 2, 5)])
def test_prediction_is_not_augmented(layer):
    x = spectrograms() if isinstance(layer, SpectrogramMasks) else spectrograms()[..., 0]
    assert np.array_equal(layer(x), x)
    assert np.array_equal(layer(x, training=False), x)
    assert not np.array_equal(layer(x, training=True), x)


def test_gain_is_one_for_a_sequence_and_within_its_range():
    keras.utils.set_random_seed(0)
    x = np.ones((2000, 3, 4), np.float32)
    gain_db = 20 * np.log10(np.asarray(RandomGain(6.0)(x, training=True)))
    assert np.ptp(gain_db, axis=(1, 2)).max() < 1e-4  # float32 powers
    gain_db = gain_db[:, 0, 0]
    assert -6 <= gain_db.min() < -5.9 and 5.9 < gain_db.max() <= 6 and abs(gain_db.mean()) < 0.3


def speeds(stretched):
    """Of ramps by one a frame, stretched: the steps between frames."""
    return np.abs(np.diff(stretched, axis=1))


def test_a_stretch_has_one_speed_for_a_sequence_and_is_within_its_range():
    """A ramp stays a ramp, of another slope, but for where the sound runs out and is mirrored."""
    keras.utils.set_random_seed(0)
    ramp = np.broadcast_to(np.arange(100, dtype=np.float32)[None, :, None], (2000, 100, 3))
    stretched = np.asarray(TimeStretch(0.2)(ramp, training=True))
    assert np.ptp(stretched, axis=2).max() == 0
    steps = speeds(stretched[..., 0])
    speed = np.median(steps, axis=1)
    uneven = np.abs(steps - speed[:, None]) > 1e-4  # float32 positions up to 99
    assert uneven.sum(axis=1).max() <= 2  # a turn at either end
    assert not uneven[speed <= 1].any()
    assert 0.8 <= speed.min() < 0.81 and 1.19 < speed.max() <= 1.2001 and abs(speed.mean() - 1) < 0.02
    assert stretched.min() >= 0 and stretched.max() <= 99


def test_a_slower_sequence_begins_anywhere_that_leaves_enough():
    keras.utils.set_random_seed(0)
    ramp = np.broadcast_to(np.arange(100, dtype=np.float32)[None, :, None], (2000, 100, 1))
    stretched = np.asarray(TimeStretch(0.2)(ramp, training=True))[..., 0]
    slow = stretched[np.median(speeds(stretched), axis=1) < 0.85]
    assert len(slow) > 100 and (np.diff(slow, axis=1) > 0).all()
    room = 99 - (slow[:, -1] - slow[:, 0])
    share = slow[:, 0] / room
    assert share.min() < 0.05 and share.max() > 0.95 and abs(share.mean() - 0.5) < 0.1


def test_stretched_frames_lie_on_straight_lines_between_frames():
    """NumPy's interpolation at the positions that an equally stretched ramp contains."""
    x = np.random.default_rng(0).random((30, 40, 4)).astype(np.float32)
    x[..., 0] = np.arange(40)
    keras.utils.set_random_seed(0)
    stretched = np.asarray(TimeStretch(0.3)(x, training=True))
    for found, given in zip(stretched, x, strict=True):
        for band in range(1, 4):
            expected = np.interp(found[:, 0], np.arange(40), given[:, band])
            # Of positions up to 39 in float32, differences to a frame are good to 4e-6.
            np.testing.assert_allclose(found[:, band], expected, atol=2e-5)


def test_time_masks_set_all_bands_of_few_frames_to_the_mean():
    keras.utils.set_random_seed(0)
    x = spectrograms(500)
    layer = SpectrogramMasks(2, 5, 0, 1)
    y = np.asarray(layer(x, training=True))
    hidden = (y != x)[..., 0]
    frames = hidden.any(axis=2)
    assert np.array_equal(hidden, np.repeat(frames[:, :, None], 12, axis=2))
    assert spans(frames).max() == 2 and frames.sum(axis=1).max() <= 10
    means = np.broadcast_to(x.mean(axis=(1, 2, 3), keepdims=True), x.shape)
    np.testing.assert_allclose(y[..., 0][hidden], means[..., 0][hidden], rtol=1e-5)  # float32 sums of 240
    assert np.array_equal(y[..., 0][~hidden], x[..., 0][~hidden])


def test_widths_and_positions_are_uniform():
    """One mask of 0 to 4 of 6 bands: none in a fifth of cases, every band reached."""
    keras.utils.set_random_seed(0)
    bands = masked(SpectrogramMasks(0, 1, 1, 4), spectrograms(5000, 3, 6)).any(axis=1)
    widths = np.bincount(bands.sum(axis=1), minlength=5) / 5000
    np.testing.assert_allclose(widths, 0.2, atol=0.03)  # five standard deviations of 5,000 draws
    edge = np.mean([0] + [1 / (6 - width + 1) for width in (1, 2, 3, 4)])  # of all positions
    np.testing.assert_allclose(bands.mean(axis=0)[[0, -1]], edge, atol=0.03)  # as above
    assert (bands.mean(axis=0)[1:-1] > edge).all()


def test_a_mask_wider_than_its_axis_hides_at_most_all():
    hidden = masked(SpectrogramMasks(1, 99, 0, 1), spectrograms(100)).any(axis=2)
    assert hidden.all(axis=1).any() and not hidden.all()


def small(key, augment):
    narrow = {"sequence": {"frames": 24}, "front_end": {"n_mels": 16}, "augment": augment}
    own = {"weights": "none"} if REGISTRY[key].module == "xception" else {}
    return config.replace(get_baseline(key), narrow | {"model": {"dense": [8]} | own})


@pytest.mark.medium
@pytest.mark.parametrize("key", ["cnn", "cnn-freq", "lstm", "choi", "xception", "triplet", "dieleman"])
def test_every_trained_family_has_it_and_saves_it(key, tmp_path):
    keras.utils.set_random_seed(0)
    models = [model_module(key).build(small(key, changes), 3, AUDIO) for changes in ({}, ALL_ON)]
    assert [w.shape for w in models[0].trainable_weights] == [w.shape for w in models[1].trainable_weights]
    models[1].set_weights(models[0].get_weights())
    x = 10 ** np.random.default_rng(0).uniform(-3, 1, (4, 24, AUDIO.n_bins)).astype(np.float32)
    models[1].save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    for model in (models[1], loaded):
        assert np.array_equal(model(x, training=False), models[0](x, training=False))
    augmented = models[1].layers[1] if key == "triplet" else models[1]
    names = [layer.name for layer in augmented.layers]
    order = [names.index(name) for name in ("gain", "time_stretch", "mel", "masks")]
    assert order == sorted(order)


@pytest.mark.parametrize("key", ["bot", "choi-features"])
def test_models_with_precomputed_input_refuse_it(key):
    with pytest.raises(ConfigError, match=f"the input of {key} is computed once"):
        config.replace(get_baseline(key), {"augment": {"gain_db": 3.0}})
    with pytest.raises(ConfigError, match=f"the input of {key} is computed once"):
        config.replace(get_baseline(key), {"augment": {"time_stretch": 0.1}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gain_db": -1.0}, "augment.gain_db must be 0 to 60"),
        ({"time_stretch": 0.6}, "augment.time_stretch must be 0 to 0.5"),
        ({"n_time_masks": -1}, "augment.n_time_masks must be 0 to 100"),
        ({"max_mels": 0}, "augment.max_mels must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        AugmentConfig(**changes)
