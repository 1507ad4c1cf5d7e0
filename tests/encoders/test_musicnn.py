import os
from pathlib import Path

import librosa
import numpy as np
import pytest

from cs_keras.audio.decode import load_mono
from cs_keras.encoders import CHECKPOINTS, open_tagger
from cs_keras.encoders.pooling import pool
from cs_keras.errors import StorageError
from cs_keras.models.musicnn_network import AUDIO, FRAMES, N_MELS, build_network, find_checkpoint, log_mel

SAMPLES = (FRAMES - 1) * 256  # of a patch whose first and last frames are centred on its ends


def test_log_mel_equals_that_of_the_package_by_librosa():
    random = np.random.default_rng(0)
    samples = random.normal(0, 0.1, AUDIO.n_samples(20)).astype(np.float32)
    stft = librosa.stft(samples, n_fft=512, hop_length=256, center=False)
    mel = librosa.feature.melspectrogram(S=np.abs(stft) ** 2, sr=16_000, n_fft=512, n_mels=96)
    expected = np.log10(10_000 * mel.T + 1)
    ours = np.asarray(log_mel(np.abs(stft).T[np.newaxis].astype(np.float32)))[0, :, :, 0]
    np.testing.assert_allclose(ours, expected, atol=1e-4)  # float32 against float64


def test_weights_that_are_missing_are_one_sentence(tmp_path):
    with pytest.raises(StorageError, match="holds no weights of MSD_musicnn"):
        find_checkpoint("MSD_musicnn", tmp_path)


def test_pooling():
    frames = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    expected = np.concatenate([frames.mean(0), frames.std(0), frames.max(0)])
    np.testing.assert_allclose(pool(frames, ("mean", "std", "max")), expected, rtol=1e-5)


def checkpoint(name):
    """Return the folder of a checkpoint: of the installed package, or of that in CS_KERAS_MUSICNN."""
    given = os.environ.get("CS_KERAS_MUSICNN")
    try:
        return find_checkpoint(name, Path(given) if given else None)
    except StorageError as error:
        pytest.skip(str(error))


def original_tags(folder, patches):
    """Run the package's own graph, from its .meta file, with its variables fed by name."""
    import tensorflow as tf

    meta = tf.compat.v1.MetaGraphDef()
    meta.ParseFromString((folder / ".meta").read_bytes())
    for node in meta.graph_def.node:
        node.attr.pop("_output_shapes", None)
    graph_def = tf.compat.v1.graph_util.extract_sub_graph(meta.graph_def, ["model/Sigmoid"])
    reader = tf.compat.v1.train.NewCheckpointReader(f"{folder}/")
    feed = {f"{n.name}:0": reader.get_tensor(n.name) for n in graph_def.node if n.op == "VariableV2"}
    feed |= {"model/Placeholder:0": patches, "model/Placeholder_2:0": False}
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.import_graph_def(graph_def, name="")
        return session.run("model/Sigmoid:0", feed)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_tags_of_recordings_are_those_of_the_original_graph(name, recordings):
    """From samples, by the whole encoder; the original graph takes log-mel patches by librosa."""
    folder = checkpoint(CHECKPOINTS[name])
    encoder, _ = open_tagger(name, str(folder))
    excerpts = []
    for pattern in ("hungarian-dance*.ogg", "karissa-hobbs*.ogg", "*vibe-ace.ogg"):
        (path,) = recordings.glob(pattern)
        samples = load_mono(path, AUDIO)
        starts = np.linspace(0, len(samples) - SAMPLES, 3).astype(int)  # its beginning, middle and end
        excerpts += [samples[start : start + SAMPLES] for start in starts]
    mel = [
        librosa.feature.melspectrogram(y=one, sr=16_000, n_fft=512, hop_length=256, n_mels=96)
        for one in excerpts
    ]
    expected = original_tags(folder, np.log10(10_000 * np.swapaxes(mel, 1, 2) + 1))
    assert expected.shape == (9, 50) and np.ptp(expected, axis=0).max() > 0.3  # the recordings differ
    tags = np.concatenate([encoder.encode(one) for one in excerpts])
    np.testing.assert_allclose(tags, expected, rtol=0, atol=1e-5)  # float32: they differ by 5e-7


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS.values())
def test_tags_of_random_patches_are_those_of_the_original_graph(name):
    folder = checkpoint(name)
    patches = np.random.default_rng(2).gamma(2, 0.5, (2, FRAMES, N_MELS)).astype(np.float32)
    tags = build_network(name, folder).predict(patches[..., np.newaxis], verbose=0)["tags"]
    np.testing.assert_allclose(tags, original_tags(folder, patches), atol=1e-4)
