import h5py
import librosa
import numpy as np
import pytest

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.models import choi, choi_features, get_baseline
from cs_keras.models.choi import Config
from cs_keras.models.choi_weights import AUDIO, EPSILON, FRAMES, N_MELS, read_tagger
from cs_keras.models.spec import trainable_parameters
from tests.models import choi_numpy

GENERATIONS = pytest.mark.parametrize("generation", choi_numpy.FILES)


def sound(seed=0, frames=FRAMES):
    """Magnitudes of a chord in noise with a gap, shape (frames, 257), at the tagger's settings."""
    random = np.random.default_rng(seed)
    seconds = np.arange(AUDIO.n_fft + (frames - 1) * AUDIO.hop_length) / AUDIO.sample_rate
    waves = sum(np.sin(2 * np.pi * hertz * seconds) for hertz in random.uniform(100, 5000, 4))
    x = (waves * (1 + np.sin(3 * seconds)) + 0.1 * random.normal(size=len(seconds))) * (seconds % 5 > 1)
    stft = librosa.stft(
        x.astype(np.float32), n_fft=AUDIO.n_fft, hop_length=AUDIO.hop_length, center=False, window="hann"
    )
    return np.abs(stft).T[:frames]


def with_weights(key, generation, **changes):
    changes["weights"] = str(choi_numpy.weights_file(generation))
    return config.replace(get_baseline(key), {"model": changes})


@GENERATIONS
def test_features_equal_those_of_the_authors_layers_in_numpy(generation):
    model = choi_features.build_features(with_weights("choi-features", generation, own_audio=True), AUDIO)
    clips = np.stack([sound(0), 0.01 * sound(1)])
    output = model.predict(clips, verbose=0)
    expected = np.stack([choi_numpy.features(clip, generation).ravel() for clip in clips])
    assert output.shape == (2, 160) and expected.std() > 0.1
    # Float32 through five normalised layers, against float64.
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-3)


@GENERATIONS
def test_its_filterbank_is_ours(generation):
    ours = librosa.filters.mel(sr=AUDIO.sample_rate, n_fft=AUDIO.n_fft, n_mels=N_MELS, fmax=6000).T
    np.testing.assert_allclose(choi_numpy.filterbank(generation), ours, atol=1e-7)


@GENERATIONS
def test_features_do_not_depend_on_level_or_on_the_rest_of_the_batch(generation):
    model = choi_features.build_features(with_weights("choi-features", generation), AUDIO)
    clips = np.stack([sound(0), sound(1)])
    together = model.predict(clips, verbose=0)
    alone = model.predict(clips[:1] * 0.5, verbose=0)
    np.testing.assert_allclose(together[:1], alone, rtol=1e-3, atol=1e-3)
    assert np.abs(together[0] - together[1]).max() > 0.05


def test_features_of_other_audio_settings_are_close():
    generation, seconds = "keras2", np.arange(30 * 48_000) / 48_000
    x = np.sin(2 * np.pi * 440 * seconds * (1 + 0.1 * np.sin(seconds))) * (1 + np.sin(2 * seconds))
    found = []
    for audio in (AUDIO, AudioConfig()):
        y = librosa.resample(x.astype(np.float32), orig_sr=48_000, target_sr=audio.sample_rate)
        stft = librosa.stft(y, n_fft=audio.n_fft, hop_length=audio.hop_length, center=False)
        magnitude = np.abs(stft).T[np.newaxis]
        baseline = with_weights("choi-features", generation)
        baseline = config.replace(baseline, {"sequence": {"frames": magnitude.shape[1]}})
        found.append(choi_features.build_features(baseline, audio).predict(magnitude, verbose=0)[0])
    # Of features that vary by 0.5 from one to the next: frames and bins are a tenth apart.
    assert np.corrcoef(*found)[0, 1] > 0.98


def test_nothing_of_the_extractor_is_trained():
    baseline = get_baseline("choi-features")
    assert trainable_parameters(choi_features.build_features(baseline, AUDIO)) == 0
    whole = choi_features.build(baseline, 7, AUDIO)
    assert trainable_parameters(whole) == trainable_parameters(choi_features.build_regressor(baseline, 7))


@pytest.mark.parametrize(
    "audio", [AudioConfig(), AudioConfig(12_000, 512, 128), AudioConfig(12_000, 512, 256, "hamming")]
)
def test_its_own_audio_settings_can_be_required(audio):
    baseline = config.replace(get_baseline("choi-features"), {"model": {"own_audio": True}})
    with pytest.raises(ConfigError, match="--sample-rate 12000 --n-fft 512 --hop-length 256.*Received"):
        choi_features.build_features(baseline, audio)


def test_a_mixdown_of_its_own_is_allowed():
    choi_features.check_audio(AudioConfig(12_000, 512, 256, mixdown="sum"), "choi-features")


@GENERATIONS
@pytest.mark.parametrize("key", choi.VARIANTS)
def test_the_adapted_network_starts_from_the_taggers_convolutions(key, generation):
    changed = config.replace(with_weights(key, generation), {"model": {"dense": [8]}})
    model = choi.build(changed, 3, AudioConfig())
    for number, block in enumerate(read_tagger(choi_numpy.weights_file(generation)).blocks, 1):
        layer = model.get_layer(f"conv_{number}")
        assert np.array_equal(layer.get_weights()[0], block.kernel)
        assert np.array_equal(layer.get_weights()[1], block.bias)
        assert layer.trainable is (key != "choi")
    assert np.array_equal(model.get_layer("norm_2").get_weights()[0], np.ones(32))


def test_frequency_and_time_are_not_confused():
    found = {name: read_tagger(choi_numpy.weights_file(name)).blocks[1].kernel for name in choi_numpy.FILES}
    with h5py.File(choi_numpy.weights_file("keras1")) as file:
        stored = file["ConvBNEluDr/convolution2d_2_W:0"]  # (out, in, mels, frames)
        assert found["keras1"][2, 0, 5, 7] == stored[7, 5, 0, 2]
    with h5py.File(choi_numpy.weights_file("keras2")) as file:
        stored = file["model_weights/conv2d_2/conv2d_2/kernel:0"]  # (mels, frames, in, out)
        assert found["keras2"][2, 0, 5, 7] == stored[0, 2, 5, 7]


def test_only_the_second_generation_has_statistics():
    assert all(block.mean is None for block in read_tagger(choi_numpy.weights_file("keras1")).blocks)
    assert all(block.variance.min() > 0 for block in read_tagger(choi_numpy.weights_file("keras2")).blocks)


def test_a_missing_file_and_one_that_is_not_hdf5_are_distinguished(tmp_path):
    with pytest.raises(StorageError, match="missing.hdf5: there is no such file"):
        read_tagger(tmp_path / "missing.hdf5")
    (tmp_path / "text.hdf5").write_text("no weights")
    with pytest.raises(StorageError, match="text.hdf5: it is not an HDF5 file"):
        read_tagger(tmp_path / "text.hdf5")


def test_weights_of_another_network_are_refused(tmp_path):
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["model_weights/conv2d_1/conv2d_1/kernel:0"] = np.zeros((5, 5, 1, 8))
    with pytest.raises(DataError, match="other.hdf5 does not hold the weights of Choi's tagger"):
        read_tagger(tmp_path / "other.hdf5")
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    with h5py.File(tmp_path / "wide.hdf5", "w") as file:
        for number in range(1, 6):
            file[f"model_weights/conv2d_{number}/conv2d_{number}/kernel:0"] = np.zeros((3, 3, 1, 64))
            file[f"model_weights/conv2d_{number}/conv2d_{number}/bias:0"] = np.zeros(64)
            for name in names:
                norm = f"model_weights/batch_normalization_{number}/batch_normalization_{number}"
                file[f"{norm}/{name}:0"] = np.ones(64)
    with pytest.raises(DataError, match="3 x 3 x 1 x 32 weights. Received: 3 x 3 x 1 x 64"):
        read_tagger(tmp_path / "wide.hdf5")


def test_there_are_five_pools():
    with pytest.raises(ConfigError, match="each of the tagger's five convolutions"):
        Config(pool_frames=(2, 2))


def test_the_epsilon_is_that_of_both_generations():
    with h5py.File(choi_numpy.weights_file("keras2")) as file:
        assert f'"epsilon": {EPSILON}' in file.attrs["model_config"]
