import re

import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import StorageError
from cs_keras.models import get_baseline, model_module, musicnn
from cs_keras.models.musicnn_network import AUDIO, FRAMES, build_network, log_mel
from pipelines.training.procedures.features import _hash_weights

KINDS = {
    "conv2d": ((layers.Conv2D, layers.Conv1D), ("kernel", "bias")),
    "dense": (layers.Dense, ("kernel", "bias")),
    "batch_normalization": (
        layers.BatchNormalization,
        ("gamma", "beta", "moving_mean", "moving_variance"),
    ),
}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A network with random weights and statistics, and the folder of a checkpoint with its variables."""
    folder = tmp_path_factory.mktemp("weights") / "MSD_musicnn"
    folder.mkdir()
    random, network, variables = np.random.default_rng(0), build_network("MSD_musicnn"), {}
    for weight in network.weights:
        if "normalization" in weight.path:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    for kind, (layer_type, names) in KINDS.items():
        own = [layer for layer in network.layers if isinstance(layer, layer_type)]
        # As they were made: those of one dimension last.
        own.sort(
            key=lambda layer: (isinstance(layer, layers.Conv1D), int(re.search(r"\d*$", layer.name)[0] or 0))
        )
        for number, layer in enumerate(own):
            prefix = f"{kind}_{number}" if number else kind
            variables |= {f"{prefix}/{name}": getattr(layer, name).numpy() for name in names}
            if isinstance(layer, layers.Conv1D):
                variables[f"{prefix}/kernel"] = variables[f"{prefix}/kernel"][:, :, np.newaxis]
    tf.raw_ops.SaveV2(
        prefix=f"{folder}/",
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=list(variables.values()),
    )
    return network, folder


def with_weights(key, folder, frames=FRAMES):
    return config.replace(
        get_baseline(key), {"model": {"weights": str(folder or "none")}, "sequence": {"frames": frames}}
    )


def melody(sample_rate, seconds):
    """Three notes after one another in noise, shape (n_samples,), float32."""
    time = np.arange(round(48_000 * seconds)) / 48_000
    hertz = np.choose((3 * time / seconds).astype(int).clip(0, 2), (330, 1250, 700))
    x = 0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / 48_000)
    x += 0.01 * np.random.default_rng(0).normal(size=len(x))
    return librosa.resample(x.astype(np.float32), orig_sr=48_000, target_sr=sample_rate)


def frames_of(audio, seconds):
    """Frames of a dataset with these settings, shape (1, n_frames, frame_size)."""
    samples = melody(audio.sample_rate, seconds)
    if audio.holds_waveforms:
        n = len(samples) // audio.hop_length
        return samples[: n * audio.hop_length].reshape(1, n, -1)
    stft = librosa.stft(samples, n_fft=audio.n_fft, hop_length=audio.hop_length, center=False)
    return np.abs(stft).T[np.newaxis]


@pytest.mark.parametrize("key", musicnn.VARIANTS)
def test_its_weights_are_those_of_the_checkpoint(pretrained, key):
    network, folder = pretrained
    magnitude = frames_of(AUDIO, 3.1)[:, :FRAMES]
    features = musicnn.build_features(with_weights(key, folder.parent), AUDIO)
    expected = network(log_mel(magnitude), training=False)["features"]
    np.testing.assert_allclose(features(magnitude), expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected) > 0.1


def test_the_checkpoint_may_be_of_magnatagatune(pretrained, tmp_path):
    _, folder = pretrained
    (tmp_path / "MTT_musicnn").symlink_to(folder)
    musicnn.build_features(with_weights("musicnn", tmp_path / "MTT_musicnn"), AUDIO)
    with pytest.raises(StorageError, match="holds no weights of MSD_musicnn"):
        musicnn.build_features(with_weights("musicnn", tmp_path), AUDIO)


@pytest.mark.parametrize(
    "audio",
    [
        AudioConfig(),
        AudioConfig(content="waveform"),
        AudioConfig(44_100, 2048, 512, content="waveform"),
        AudioConfig(11_025, 512, 128),
    ],
    ids=lambda audio: f"{audio.sample_rate}-{audio.content}",
)
def test_datasets_of_other_settings_give_about_the_same_spectrogram(audio):
    found = []
    for one in (AUDIO, audio):
        n = round(FRAMES * one.frames_per_second / AUDIO.frames_per_second)
        front_end = keras.Model(*musicnn.input_patches(with_weights("musicnn", None, n), one))
        found.append(np.asarray(front_end(frames_of(one, 3.1)[:, :n]))[0, :, :, 0])
    assert abs(len(found[1]) - FRAMES) <= 1  # the last window of waveforms is incomplete
    found[1] = found[1][:FRAMES]
    low = slice(0, 60)  # bands below 5 kHz, that all sample rates have
    # Windows of magnitudes are longer; those of waveforms end in silence. A frame later it is 0.93.
    assert np.corrcoef(found[0][:, low].ravel(), found[1][:, low].ravel())[0, 1] > 0.95
    assert abs(found[0][:, low].max() - found[1][:, low].max()) < 0.1  # a factor of 1.25 in power
    if audio.sample_rate == 11_025:
        assert not found[1][:, -10:].any()


def test_fine_tuning_trains_musicnn_and_keeps_its_statistics(pretrained):
    n = 24
    baseline = with_weights("musicnn-finetune", pretrained[1], n)
    model = model_module(baseline.key).build(baseline, 3, AUDIO)
    (name,) = baseline.model.pretrained_layers
    network = model.get_layer(name)
    before = [weight.numpy() for weight in network.non_trainable_weights]
    model.compile("sgd", "mse", run_eagerly=True)
    magnitude = np.repeat(frames_of(AUDIO, 1.0)[:, :n], 2, axis=0)
    model.get_layer("factors").kernel.assign(np.ones((512, 3)))
    kernel = network.trainable_weights[0].numpy()
    model.train_on_batch(magnitude, np.ones((2, 3)))
    assert not np.array_equal(network.trainable_weights[0].numpy(), kernel)
    after = [weight.numpy() for weight in network.non_trainable_weights]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True) if a.dtype.kind == "f")


def test_another_checkpoint_has_features_of_its_own_in_the_cache(pretrained, tmp_path):
    (tmp_path / ".index").write_bytes(b"1")
    first = _hash_weights(tmp_path)
    (tmp_path / ".index").write_bytes(b"2")
    assert first != _hash_weights(tmp_path)
