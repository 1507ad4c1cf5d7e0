"""Frames to the histogram of their nearest centroids: the Bag of Tones."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

BLOCK_FRAMES = 256  # at 4,000 centroids one block of scores is 4 MB, which stays in the cache


@keras.saving.register_keras_serializable("cs_keras")
class BagOfTones(keras.layers.Layer):  # type: ignore[misc]
    """Count, for each track, how often each centroid is the nearest one.

    Input shape (batch, frames, n_features); output shape (batch, n_centroids), float32, where 1 is what every
    centroid would get if all were met equally often: counts / frames * n_centroids. So a track's length does not
    matter, and the numbers are of a size that dense layers like.

    Nearest means by Euclidean distance, by one matrix product: argmax of ``x·c - |c|²/2``; ties go to the lower
    index.

    Parameters
    ----------
    n_centroids
        Size of the codebook.
    n_features
        Numbers in a frame.
    """

    def __init__(self, n_centroids: int, n_features: int, *, name: str | None = None) -> None:
        super().__init__(trainable=False, dtype="float32", name=name)
        self.n_centroids, self.n_features = n_centroids, n_features
        self.centroids = self.add_weight(
            name="centroids", shape=(n_centroids, n_features), initializer="zeros", trainable=False
        )

    def set_codebook(self, centroids: Any) -> None:
        """Take `centroids`, shape (n_centroids, n_features)."""
        self.centroids.assign(np.asarray(centroids, np.float32))

    def call(self, frames: Any) -> Any:
        """Return histograms, shape (batch, n_centroids), of `frames`, shape (batch, frames, n_features)."""
        return tf.map_fn(
            self._histogram, frames, fn_output_signature=tf.TensorSpec((self.n_centroids,), tf.float32)
        )

    def _histogram(self, frames: Any) -> Any:
        nearest = assign(frames, self.centroids)
        counts = tf.math.bincount(nearest, minlength=self.n_centroids, dtype=tf.float32)
        return counts * (self.n_centroids / tf.cast(tf.maximum(tf.shape(frames)[0], 1), tf.float32))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """Return (batch, n_centroids)."""
        return (input_shape[0], self.n_centroids)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {"name": self.name, "n_centroids": self.n_centroids, "n_features": self.n_features}


def assign(frames: Any, centroids: Any) -> Any:
    """Return the index of each frame's nearest centroid, shape (n_frames,), int32, a block of frames at a time."""
    bias = tf.reduce_sum(tf.square(centroids), axis=1, keepdims=True) / 2.0
    centroids = tf.concat([centroids, bias], axis=1)  # the bias is one more product, not one more pass
    frames = tf.pad(frames, [[0, 0], [0, 1]], constant_values=-1.0)
    n_blocks = (tf.shape(frames)[0] + BLOCK_FRAMES - 1) // BLOCK_FRAMES

    def one_block(i: Any, nearest: Any) -> tuple[Any, Any]:
        block = frames[i * BLOCK_FRAMES : (i + 1) * BLOCK_FRAMES]
        score = tf.matmul(block, centroids, transpose_b=True)
        return i + 1, nearest.write(i, tf.argmax(score, axis=1, output_type=tf.int32))

    nearest = tf.TensorArray(tf.int32, n_blocks, infer_shape=False, element_shape=(None,))
    _, nearest = tf.while_loop(lambda i, _: i < n_blocks, one_block, (0, nearest), parallel_iterations=2)
    return nearest.concat()
