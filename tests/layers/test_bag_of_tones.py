import keras
import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer

from cs_keras.layers import bag_of_tones
from cs_keras.layers.bag_of_tones import BagOfTones, InverseDocumentFrequency, SoftBagOfTones, assign


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
def test_nearest_is_that_of_all_distances_for_any_blocks(monkeypatch, n_frames):
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


def test_equally_frequent_centroids_are_all_ones():
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


def build_soft(centroids, n_nearest, bandwidth):
    frames = keras.Input((None, centroids.shape[1]))
    layer = SoftBagOfTones(*centroids.shape, n_nearest, bandwidth, name="bag_of_tones")
    model = keras.Model(frames, layer(frames))
    layer.set_codebook(centroids)
    return model


def soft_histogram(frames, centroids, n_nearest, bandwidth):
    """Liu, Wang and Liu 2011 word for word, in float64: others than the nearest are infinitely far."""
    squared = ((frames[:, None].astype(np.float64) - centroids[None]) ** 2).sum(axis=2)
    farthest = np.sort(squared, axis=1)[:, n_nearest - 1 : n_nearest]
    weight = np.exp(-np.where(squared <= farthest, squared, np.inf) / (2 * bandwidth**2))
    return (weight / weight.sum(axis=1, keepdims=True)).mean(axis=0) * len(centroids)


@pytest.mark.parametrize("n_frames", [1, 20, 2 * bag_of_tones.BLOCK_FRAMES + 1])
@pytest.mark.parametrize(("n_nearest", "bandwidth"), [(2, 0.5), (5, 1.0), (16, 3.0)])
def test_soft_histograms_are_those_of_the_formula(n_frames, n_nearest, bandwidth):
    frames, centroids = random_frames(3, n_frames, 4), random_frames(16, 4, seed=1)
    histograms = build_soft(centroids, n_nearest, bandwidth)(frames).numpy()
    expected = [soft_histogram(track, centroids, n_nearest, bandwidth) for track in frames]
    # Scores of about 10 have an error of 1e-6, which a bandwidth of 0.5 multiplies by 4 before the exponential.
    np.testing.assert_allclose(histograms, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(histograms.sum(axis=1), 16, rtol=1e-5)


def test_soft_counting_is_hard_with_one_nearest_centroid_or_a_narrow_gaussian():
    frames, centroids = random_frames(3, 20, 4), random_frames(16, 4, seed=1)
    hard = build(centroids)(frames)
    np.testing.assert_allclose(build_soft(centroids, 1, 9.0)(frames), hard, rtol=1e-6)
    np.testing.assert_allclose(build_soft(centroids, 5, 1e-3)(frames), hard, atol=1e-4)


def test_soft_counting_survives_saving_and_loading(tmp_path):
    model, frames = build_soft(random_frames(16, 4, seed=1), 3, 0.7), random_frames(3, 20, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(loaded(frames), model(frames))


def test_tf_idf_weights_equal_those_of_scikit_learn(tmp_path):
    train = np.array([[2, 0, 1, 0], [1, 0, 0, 0], [3, 0.5, 0, 0]], np.float32)
    unseen = np.array([[1, 1, 1, 1]], np.float32)
    expected = TfidfTransformer(norm=None).fit(train).transform(unseen).toarray()
    histogram = keras.Input((4,))
    layer = InverseDocumentFrequency(4, name="idf")
    model = keras.Model(histogram, layer(histogram))
    assert np.array_equal(model(unseen), unseen)
    layer.adapt(train)
    np.testing.assert_allclose(model(unseen), expected, rtol=1e-6)
    np.testing.assert_allclose(
        expected[0, [0, 3]], [1, np.log(4) + 1]
    )  # met by all three tracks, and by none
    model.save(tmp_path / "model.keras")
    assert np.array_equal(keras.saving.load_model(tmp_path / "model.keras")(unseen), model(unseen))
    assert model.trainable_weights == []
