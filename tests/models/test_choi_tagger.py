import numpy as np
import pytest
import soundfile

from cs_keras.encoders import open_tagger
from cs_keras.errors import DataError
from cs_keras.models.choi_tagger import TAGS, build_tagger
from cs_keras.models.choi_weights import read_tag_layer
from tests.command_line import run
from tests.models import choi_numpy
from tests.models.test_choi import sound


def test_tags_are_those_of_the_authors_layers_in_numpy():
    weights = choi_numpy.weights_file("keras2")
    kernel, bias = read_tag_layer(weights)
    clip = sound()
    expected = 1 / (1 + np.exp(-(choi_numpy.last_maps(clip, "keras2") @ kernel + bias)))
    tags = build_tagger(weights)(clip[np.newaxis].astype(np.float32))
    np.testing.assert_allclose(np.asarray(tags)[0], expected, atol=1e-4)


def test_fifty_different_tags():
    assert len(set(TAGS)) == 50


def test_a_recording_of_any_length_has_tags():
    tagger, names = open_tagger("choi", str(choi_numpy.weights_file("keras2")))
    for seconds, n_windows in ((1, 1), (60, 3)):
        samples = np.random.default_rng(0).normal(0, 0.1, seconds * tagger.sample_rate).astype(np.float32)
        assert tagger.encode(samples).shape == (n_windows, len(names))


def test_the_first_generation_gives_no_tags():
    with pytest.raises(DataError, match="holds the first generation"):
        build_tagger(choi_numpy.weights_file("keras1"))


def test_the_command_prints_the_most_probable_tags(capfd, tmp_path):
    weights = choi_numpy.weights_file("keras2")
    audio = weights.parents[1] / "audio"
    jazz, none = audio / "kevin-macleod-vibe-ace.ogg", tmp_path / "none.wav"
    assert run("tags", jazz, "--weights", weights, "-n", 3) == 0
    assert capfd.readouterr().out.startswith("kevin-macleod-vibe-ace: jazz 0.")
    soundfile.write(none, np.zeros(12_000), 12_000)
    assert run("tags", none, "--weights", weights) == 1
    assert run("tags", jazz, "--weights", tmp_path / "none.hdf5") == 1
    error = capfd.readouterr().err
    assert "None of the 1 recordings could be used" in error and "there is no such file" in error
