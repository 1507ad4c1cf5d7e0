import os
from pathlib import Path

import librosa
import numpy as np
import pytest

from cs_keras.encoders.pooling import pool
from cs_keras.errors import StorageError
from cs_keras.models.musicnn_network import AUDIO, FRAMES, N_MELS, build_network, find_checkpoint, log_mel


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MSD_musicnn", "MTT_musicnn", "MSD_vgg", "MTT_vgg"])
def test_tags_equal_those_of_the_original_graph(name):
    """The package's own graph, from its .meta file, with its variables fed by name, on the same patches."""
    import tensorflow as tf

    given = os.environ.get("CS_KERAS_MUSICNN")
    try:
        folder = find_checkpoint(name, Path(given) if given else None)
    except StorageError as error:
        pytest.skip(str(error))
    patches = np.random.default_rng(2).gamma(2, 0.5, (2, FRAMES, N_MELS)).astype(np.float32)
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
        expected = session.run("model/Sigmoid:0", feed)
    tags = build_network(name, folder).predict(patches[..., np.newaxis], verbose=0)["tags"]
    np.testing.assert_allclose(tags, expected, atol=1e-4)
