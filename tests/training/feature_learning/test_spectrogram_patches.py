"""Patches are where they say they are, of the tracks that were named, and no more of them than asked for."""

import keras
import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig
from cs_keras.models.multiscale import Config
from cs_keras.training.feature_learning.spectrogram_patches import sample_patches
from tests.data.small import write_small

SEQUENCE = SequenceConfig(frames=8)
BINS = 9


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return Dataset(write_small(tmp_path_factory.mktemp("data"), [30] * 10, dtype="float32"))


def sample(dataset, rows, seed=0, **sizes):
    sound = keras.Input((8, BINS))
    network = keras.Model(sound, keras.layers.Rescaling(2.0)(sound))
    config = Config(
        **({"patch_frames": 3, "n_patches": 10_000, "sequence_patches": 4, "n_centroids": 2} | sizes)
    )
    return sample_patches(network, dataset, np.asarray(rows), SEQUENCE, config, seed)


def test_patches_are_consecutive_frames_of_the_tracks_named(dataset):
    patches = sample(dataset, [2, 5, 7])
    assert patches.shape == (3 * 4 * 4, 3 * BINS) and patches.dtype == np.float32  # four sequences a track
    frames = patches.reshape(-1, 3, BINS) / 2
    assert (frames == frames[:, :, :1]).all()  # all bins of a frame are 100 * row + time
    rows, times = np.divmod(frames[:, :, 0], 100)
    assert set(rows.ravel()) == {2, 5, 7} and (np.diff(rows, axis=1) == 0).all()
    assert (np.diff(times, axis=1) == 1).all() and times.max() < 30


def test_no_more_than_requested_and_from_as_few_tracks(dataset):
    patches = sample(dataset, range(10), n_patches=20)
    assert len(patches) == 20
    assert len(set((patches[:, 0] / 2) // 100)) == 2  # of 16 each
    assert (
        len(sample(dataset, range(10), n_patches=16, sequence_patches=100)) == 16
    )  # six places in a sequence


def test_the_seed_decides(dataset):
    one, two, other = (sample(dataset, range(10), seed, n_patches=30) for seed in (0, 0, 1))
    assert np.array_equal(one, two) and not np.array_equal(one, other)
