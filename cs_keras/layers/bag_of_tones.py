"""Bag of Tones: histograms of the nearest centroids of frames; and tf-idf weights of centroids."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

BLOCK_FRAMES = 256  # at 4,000 centroids one block of scores is 4 MB, which stays in the cache
N_GROUPS = 10  # of centroids, of which only the best one is searched for the nearest


@keras.saving.register_keras_serializable("cs_keras")
class BagOfTones(keras.layers.Layer):  # type: ignore[misc]
    """Count how often each centroid is the nearest one in a track.

    Input shape (batch, frames, n_features); output shape (batch, n_centroids), float32: counts / frames *
    n_centroids, so 1 for equally frequent centroids. That is independent of the track's length and in the range
    that dense layers expect.

    Distances are Euclidean, computed by one matrix product: argmax of ``x·c - |c|²/2``; ties go to the lower
    index.
    """

    def __init__(self, n_centroids: int, n_features: int, *, name: str | None = None) -> None:
        super().__init__(trainable=False, dtype="float32", name=name)
        self.n_centroids, self.n_features = n_centroids, n_features
        self.centroids = self.add_weight(
            name="centroids", shape=(n_centroids, n_features), initializer="zeros", trainable=False
        )

    def set_codebook(self, centroids: Any) -> None:
        """Set `centroids`, shape (n_centroids, n_features)."""
        self.centroids.assign(np.asarray(centroids, np.float32))

    def call(self, frames: Any) -> Any:
        """Return histograms, shape (batch, n_centroids), of `frames`, shape (batch, frames, n_features)."""
        return tf.map_fn(
            self._histogram, frames, fn_output_signature=tf.TensorSpec((self.n_centroids,), tf.float32)
        )

    def _histogram(self, frames: Any) -> Any:
        n_frames = tf.maximum(tf.shape(frames)[0], 1)
        return self._count(frames) * (self.n_centroids / tf.cast(n_frames, tf.float32))

    def _count(self, frames: Any) -> Any:
        nearest = assign(frames, self.centroids)
        return tf.math.bincount(nearest, minlength=self.n_centroids, dtype=tf.float32)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """Return (batch, n_centroids)."""
        return (input_shape[0], self.n_centroids)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name, "n_centroids": self.n_centroids, "n_features": self.n_features}


@keras.saving.register_keras_serializable("cs_keras")
class SoftBagOfTones(BagOfTones):
    """Soft assignment: each frame counts for several centroids, with weights of sum 1; see `spread`.

    Input, output, and sizes as those of `BagOfTones`.

    Parameters
    ----------
    n_nearest
        Number of centroids that a frame counts for, at most `n_centroids`.
    bandwidth
        Standard deviation of the Gaussian weights of distances, in the unit of the features.
    """

    def __init__(
        self, n_centroids: int, n_features: int, n_nearest: int, bandwidth: float, *, name: str | None = None
    ) -> None:
        super().__init__(n_centroids, n_features, name=name)
        self.n_nearest, self.bandwidth = n_nearest, bandwidth

    def _count(self, frames: Any) -> Any:
        return spread(frames, self.centroids, self.n_nearest, self.bandwidth)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "n_nearest": self.n_nearest, "bandwidth": self.bandwidth}


@keras.saving.register_keras_serializable("cs_keras")
class InverseDocumentFrequency(keras.layers.Layer):  # type: ignore[misc]
    """Weight centroids by inverse document frequency: ``ln((1 + n_tracks) / (1 + n_tracks that have it)) + 1``.

    As scikit-learn's ``TfidfTransformer(norm=None)``. Input and output shape (batch, n_centroids), float32.
    Weights are 1 before `adapt`.
    """

    def __init__(self, n_centroids: int, *, name: str | None = None) -> None:
        super().__init__(trainable=False, dtype="float32", name=name)
        self.n_centroids = n_centroids
        self.weight = self.add_weight(
            name="weight", shape=(n_centroids,), initializer="ones", trainable=False
        )

    def adapt(self, histograms: Any) -> None:
        """Fit weights to `histograms`, shape (n_tracks, n_centroids), of train tracks only."""
        n_tracks_with = np.count_nonzero(histograms, axis=0)
        self.weight.assign(np.log((1 + len(histograms)) / (1 + n_tracks_with)) + 1)

    def call(self, histograms: Any) -> Any:
        """Return `histograms`, weighted."""
        return histograms * self.weight

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name, "n_centroids": self.n_centroids}


def assign(frames: Any, centroids: Any) -> Any:
    """Return the index of each frame's nearest centroid, shape (n_frames,), int32, a block of frames at a time."""
    frames, centroids, n_blocks = _with_bias(frames, centroids, N_GROUPS)

    def one_block(i: Any, nearest: Any) -> tuple[Any, Any]:
        return i + 1, nearest.write(i, _argmax(_scores(i, frames, centroids)))

    nearest = tf.TensorArray(tf.int32, n_blocks, infer_shape=False, element_shape=(None,))
    _, nearest = tf.while_loop(lambda i, _: i < n_blocks, one_block, (0, nearest), parallel_iterations=2)
    return nearest.concat()


def spread(frames: Any, centroids: Any, n_nearest: int, bandwidth: float) -> Any:
    """Count frames for each centroid, each frame spread over its `n_nearest` centroids.

    A frame's weights are proportional to ``exp(-|x - c|² / (2 * bandwidth²))`` and sum to one: localized
    soft-assignment coding (Liu, Wang and Liu 2011, "In defense of soft-assignment coding"), summed over frames.
    `frames` and `centroids` have shapes (n_frames, n_features) and (n_centroids, n_features), float32, the
    result (n_centroids,), float32, with the sum n_frames.
    """
    n_centroids = centroids.shape[0]
    frames, centroids, n_blocks = _with_bias(frames, centroids)

    def one_block(i: Any, counts: Any) -> tuple[Any, Any]:
        score, nearest = tf.math.top_k(_scores(i, frames, centroids), n_nearest)
        weight = tf.nn.softmax(score / bandwidth**2)  # |x|²/2 is the same for all centroids of a frame
        return i + 1, counts + tf.math.unsorted_segment_sum(weight, nearest, n_centroids)

    return tf.while_loop(lambda i, _: i < n_blocks, one_block, (0, tf.zeros(n_centroids)))[1]


def _argmax(scores: Any) -> Any:
    """Return the first index of each row's largest score, shape (n_rows,), int32; `N_GROUPS` divides the columns.

    TensorFlow's maximum is vectorised, its argmax is not: it is applied to one group of each row only.
    """
    size = scores.shape[1] // N_GROUPS
    groups = tf.reshape(scores, (-1, N_GROUPS, size))
    best = tf.argmax(tf.reduce_max(groups, axis=2), axis=1, output_type=tf.int32)
    return best * size + tf.argmax(tf.gather(groups, best, batch_dims=1), axis=1, output_type=tf.int32)


def _with_bias(frames: Any, centroids: Any, multiple: int = 1) -> tuple[Any, Any, Any]:
    """Return frames and centroids whose product is a score, larger for nearer ones, and the number of blocks.

    Centroids that are infinitely far away are added until their number is a multiple of `multiple`.
    """
    n_added = -centroids.shape[0] % multiple
    bias = tf.reduce_sum(tf.square(centroids), axis=1, keepdims=True) / 2.0
    bias = tf.pad(bias, [[0, n_added], [0, 0]], constant_values=np.inf)
    centroids = tf.pad(centroids, [[0, n_added], [0, 0]])
    centroids = tf.concat([centroids, bias], axis=1)  # as one more column of the product, not another pass
    frames = tf.pad(frames, [[0, 0], [0, 1]], constant_values=-1.0)
    return frames, centroids, (tf.shape(frames)[0] + BLOCK_FRAMES - 1) // BLOCK_FRAMES


def _scores(block: Any, frames: Any, centroids: Any) -> Any:
    frames = frames[block * BLOCK_FRAMES : (block + 1) * BLOCK_FRAMES]
    return tf.matmul(frames, centroids, transpose_b=True)
