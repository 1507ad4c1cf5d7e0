import keras
import numpy as np
import pytest

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import StorageError
from cs_keras.models import get_baseline, xception

AUDIO = AudioConfig(sample_rate=8000, n_fft=128, hop_length=64)


def build(key, weights="none", frames=64):
    changes = {
        "model": {"weights": str(weights), "dense": [8], "filters": [4]},
        "sequence": {"frames": frames},
        "front_end": {"n_mels": 32},
    }
    return xception.build(config.replace(get_baseline(key), changes), 3, AUDIO)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "xception.weights.h5"
    keras.utils.set_random_seed(7)
    model = keras.applications.Xception(include_top=False, weights=None, input_shape=(None, None, 3))
    model.save_weights(path)
    return path


def test_the_cut_is_layer_104_at_a_sixteenth_of_the_size():
    whole = keras.applications.Xception(include_top=False, weights=None, input_shape=(128, 256, 3))
    names = [layer.name for layer in whole.layers]
    assert names.index(xception.LAST_LAYER) == 104
    assert whole.get_layer(xception.LAST_LAYER).output.shape == (None, 8, 16, 728)


def test_the_image_has_frequency_downwards_and_equal_colours():
    model = build("xception")
    image = keras.Model(model.input, model.get_layer("red_green_blue").output)
    mel = keras.Model(model.input, model.get_layer("mel").output)
    x = np.random.default_rng(0).uniform(0.1, 1, (2, 64, AUDIO.n_bins)).astype(np.float32)
    assert image(x).shape == (2, 32, 64, 3)
    for colour in range(3):
        np.testing.assert_allclose(image(x)[..., colour], np.swapaxes(mel(x)[..., 0], 1, 2), rtol=1e-6)


def test_weights_come_from_a_file(weights_file):
    keras.utils.set_random_seed(0)
    whole = keras.applications.Xception(include_top=False, weights=weights_file, input_shape=(None, None, 3))
    expected = keras.Model(whole.input, whole.get_layer(xception.LAST_LAYER).output)
    image = np.random.default_rng(0).normal(size=(2, 32, 64, 3)).astype(np.float32)
    for key in ("xception", "xception-finetune"):
        inner = build(key, weights_file).get_layer("xception")
        assert np.array_equal(inner(image), expected(image, training=False))


@pytest.mark.parametrize(
    ("key", "weights", "kernels_move", "statistics_move"),
    [
        ("xception", "file", False, False),
        ("xception", "none", False, True),
        ("xception-finetune", "file", True, False),
        ("xception-random", "none", True, True),
    ],
)
def test_what_training_changes(key, weights, kernels_move, statistics_move, weights_file):
    model = build(key, weights_file if weights == "file" else "none")
    head = model.get_layer("factors").kernel
    head.assign(np.random.default_rng(0).normal(size=head.shape))  # at zero it would let no gradient through
    inner = model.get_layer("xception")
    layers = (inner.get_layer("block1_conv2"), inner.get_layer("block4_sepconv1_bn"))
    before = [layer.get_weights() for layer in layers]
    x = np.random.default_rng(1).uniform(0.1, 1, (4, 64, AUDIO.n_bins)).astype(np.float32)
    model.compile(keras.optimizers.SGD(1e6), "mse", run_eagerly=True)
    model.train_on_batch(x, np.ones((4, 3), np.float32))
    after = [layer.get_weights() for layer in layers]
    assert (not np.array_equal(before[0][0], after[0][0])) is kernels_move
    assert (not np.array_equal(before[1][2], after[1][2])) is statistics_move


def test_weights_that_cannot_be_had_give_a_sentence_that_names_the_alternatives(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise Exception("URL fetch failure on https://…: None -- no network")

    monkeypatch.setattr(keras.applications, "Xception", refuse)
    with pytest.raises(StorageError, match="ImageNet.*models.xception.model.weights=PATH.*weights=none"):
        build("xception", "imagenet")
    with pytest.raises(StorageError, match="there is no file"):
        build("xception", tmp_path / "missing.h5")
    (tmp_path / "text.weights.h5").write_text("no weights")
    with pytest.raises(StorageError, match="text.weights.h5 cannot be loaded"):
        build("xception-finetune", tmp_path / "text.weights.h5")
