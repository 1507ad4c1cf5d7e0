"""The artist of a track as evidence: means of other tracks, shrunk by their number or weighted by similarity."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("cs_keras")
class ShrunkMean(keras.layers.Layer):  # type: ignore[misc]
    """Best linear unbiased prediction of a group's mean from n of its members (Robinson 1991, Stat. Sci. 6).

    Input: sums of vectors of the members, shape (batch, n_outputs), and their number n, shape (batch, 1). Output
    ``(sum + c * mean) / (n + c)``, shape (batch, n_outputs), float32, with the weights `ratio`, 1 / c, and `mean`,
    that of all groups. c is the variance within groups divided by that between them. Before both are set, c is
    infinite and the output is 0.
    """

    def __init__(self, n_outputs: int, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.n_outputs = n_outputs
        self.ratio = self.add_weight(name="ratio", shape=(), initializer="zeros")
        self.mean = self.add_weight(name="mean", shape=(n_outputs,), initializer="zeros")

    def set_statistics(self, ratio: float, mean: Any) -> None:
        """Set 1 / c and the mean of all groups, shape (n_outputs,)."""
        self.ratio.assign(ratio)
        self.mean.assign(mean)

    def call(self, inputs: Any) -> Any:
        """Return the shrunk mean of each group."""
        total, n = inputs
        return self.mean + self.ratio * (total - n * self.mean) / (1 + self.ratio * n)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name, "n_outputs": self.n_outputs}


@keras.saving.register_keras_serializable("cs_keras")
class ArtistAttention(keras.layers.Layer):  # type: ignore[misc]
    """Attention of a new track to tracks of its artist, and to the mean of all: a `ShrunkMean` of unequal weights.

    After ACARec (2026). Input: embeddings of the new track, shape (batch, n), and of its artist's tracks, shape
    (batch, n_tracks, n); vectors of these, shape (batch, n_tracks, n_outputs); and flags, shape (batch, n_tracks),
    1 where there is a track. Output, shape (batch, n_outputs), float32: the mean of the vectors and of `mean`,
    weighted by a softmax of scaled dot products of projected embeddings (Vaswani et al. 2017, equation 1), and
    `prior` for `mean`. Queries are projected to 0 at first: the tracks then have equal weights, and the output is
    the shrunk mean with c = exp(prior).
    """

    def __init__(self, n_outputs: int, n_dimensions: int, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.n_outputs, self.n_dimensions = n_outputs, n_dimensions

    def build(self, input_shape: Any) -> None:
        """Create the projections, the prior and the mean."""
        shape = (input_shape[0][-1], self.n_dimensions)
        self.query = self.add_weight(name="query", shape=shape, initializer="zeros")
        self.key = self.add_weight(name="key", shape=shape, initializer="glorot_uniform")
        self.prior = self.add_weight(name="prior", shape=(), initializer="zeros")
        self.mean = self.add_weight(name="mean", shape=(self.n_outputs,), initializer="zeros")

    def set_statistics(self, ratio: float, mean: Any) -> None:
        """Set 1 / c, at least a millionth, and the mean of all tracks, shape (n_outputs,)."""
        self.prior.assign(-math.log(max(ratio, 1e-6)))
        self.mean.assign(mean)

    def call(self, inputs: Any) -> Any:
        """Return the weighted mean for each new track."""
        own, others, vectors, flags = inputs
        query, keys = ops.matmul(own, self.query), ops.matmul(others, self.key)
        scores = ops.sum(query[:, None] * keys, axis=-1) / math.sqrt(self.n_dimensions)
        scores = ops.where(flags > 0.5, scores, -1e9)
        prior = ops.broadcast_to(self.prior, (ops.shape(scores)[0], 1))
        weights = ops.softmax(ops.concatenate([scores, prior], axis=1))
        return ops.sum(weights[:, :-1, None] * vectors, axis=1) + weights[:, -1:] * self.mean

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name, "n_outputs": self.n_outputs, "n_dimensions": self.n_dimensions}


@keras.saving.register_keras_serializable("cs_keras")
class ContentAndArtist(keras.layers.Layer):  # type: ignore[misc]
    """The artist's mean, moved by how the content of a track differs from that of the artist's other tracks.

    Input: factors of the track, predicted from its content, shape (batch, n_factors); and means of the artist's
    factors and of the predictions of the artist's tracks, shape (batch, 2 * n_factors). Output, shape (batch,
    n_factors), float32: ``own * content + artist * factors - others * predictions`` with three numbers as weights,
    which are 0 at first.
    """

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.artist, self.own, self.others = (
            self.add_weight(name=one, shape=(), initializer="zeros") for one in ("artist", "own", "others")
        )

    def call(self, inputs: Any) -> Any:
        """Return the combination."""
        content, means = inputs
        factors, predictions = ops.split(means, 2, axis=-1)
        return self.own * content + self.artist * factors - self.others * predictions

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name}


@keras.saving.register_keras_serializable("cs_keras")
class Fallback(keras.layers.Layer):  # type: ignore[misc]
    """Prediction from what is known of a track: content and artist, the content alone, or the artist alone.

    Input: three predictions in this order, shape (batch, n_factors), and for each track flags of content and
    artist, shape (batch, 1), above 0 where known. Output (batch, n_factors), float32.
    """

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)

    def call(self, inputs: Any) -> Any:
        """Choose a prediction for each track; that of the artist where neither is known."""
        both, content, artist, has_content, has_artist = inputs
        return ops.where(has_content > 0, ops.where(has_artist > 0, both, content), artist)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name}
