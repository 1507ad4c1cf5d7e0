import keras
import numpy as np
import pytest

from cs_keras.layers import bag_of_tones
from cs_keras.layers.bag_of_tones import BagOfTones, assign


def random_frames(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def nearest(frames, centroids):
    """Every distance, in float64."""
    return ((frames[:, None].astype(np.float64) - centroids[None]) ** 2).sum(axis=2).argmin(axis=1)


def build(centroids):
    frames = keras.Input((None, centroids.shape[1]))
    layer = BagOfTones(*centroids.shape, name="bag_of_tones")
    model = keras.Model(frames, layer(frames))
    layer.set_codebook(centroids)
    return model


@pytest.mark.parametrize("n_frames", [1, 6, 7, 8, 21, 50])
def test_nearest_is_that_of_all_distances_whatever_the_blocks(monkeypatch, n_frames):
    monkeypatch.setattr(bag_of_tones, "BLOCK_FRAMES", 7)
    frames, centroids = random_frames(n_frames, 5), random_frames(30, 5, seed=1)
    assert np.array_equal(assign(frames, centroids), nearest(frames, centroids))


def test_nearest_is_that_of_all_distances_over_whole_blocks():
    frames, centroids = random_frames(2 * bag_of_tones.BLOCK_FRAMES + 5, 3), random_frames(8, 3, seed=1)
    assert np.array_equal(assign(frames, centroids), nearest(frames, centroids))


def test_ties_go_to_the_lower_index():
    centroids = np.array([[9.0], [1.0], [-1.0], [1.0]], np.float32)
    assert assign(np.array([[0.0], [1.0]], np.float32), centroids).numpy().tolist() == [1, 1]


@pytest.mark.parametrize("n_frames", [1, 20, bag_of_tones.BLOCK_FRAMES + 1])
def test_a_track_is_the_histogram_of_its_nearest_centroids(n_frames):
    frames, centroids = random_frames(3, n_frames, 4), random_frames(16, 4, seed=1)
    histograms = build(centroids)(frames).numpy()
    assert histograms.shape == (3, 16) and histograms.dtype == np.float32
    for track, histogram in zip(frames, histograms, strict=True):
        counts = np.bincount(nearest(track, centroids), minlength=16)
        np.testing.assert_allclose(histogram, counts / n_frames * 16, rtol=1e-6)  # two float32 roundings
    np.testing.assert_allclose(histograms.sum(axis=1), 16, rtol=1e-6)


def test_frames_that_meet_every_centroid_equally_often_are_all_ones():
    centroids = np.eye(4, dtype=np.float32)
    frames = np.tile(centroids, (3, 1))[None]
    assert np.array_equal(build(centroids)(frames), np.ones((1, 4)))


def test_a_track_repeated_has_the_same_histogram():
    model, frames = build(random_frames(16, 4, seed=1)), random_frames(1, 20, 4)
    assert np.array_equal(model(np.tile(frames, (1, 2, 1))), model(frames))


def test_it_survives_saving_loading_and_other_batch_sizes(tmp_path):
    model, frames = build(random_frames(16, 4, seed=1)), random_frames(3, 20, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(frames), model(frames))
    alone = np.concatenate([loaded(frames[i : i + 1]) for i in range(3)])
    assert np.array_equal(alone, model(frames))
    assert np.array_equal(loaded.predict(frames, verbose=0), model(frames))


def test_float16_frames_under_mixed_precision_are_assigned_in_float32():
    centroids, frames = random_frames(16, 4, seed=1), random_frames(2, 20, 4).astype(np.float16)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = build(centroids)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.array_equal(mixed(frames), build(centroids)(frames.astype(np.float32)))


def test_the_codebook_is_not_trained_by_gradients():
    assert build(random_frames(4, 2)).trainable_weights == []
