"""Convert a model to Keras's own layers and operations, so that it loads without Kapre and this package.

Layers without weights whose ``call`` uses Keras operations alone are converted by calling it. The others have a
form here in layers that can store their weights: Keras can neither save TensorFlow's loops nor a weight inside an
operation.
"""

from collections.abc import Callable
from typing import Any

import kapre
import keras
import numpy as np
from keras import ops

from cs_keras.errors import DataError
from cs_keras.layers.augmentation import Augmentation
from cs_keras.layers.bag_of_tones import BagOfTones, InverseDocumentFrequency, SoftBagOfTones
from cs_keras.layers.batch_norm import FixedStatisticsNormalization, FusedBatchNormalization
from cs_keras.layers.front_end import Decibel
from cs_keras.layers.kernel_regression import KernelRegression
from cs_keras.layers.stochastic_pooling import StochasticPooling1D
from cs_keras.layers.tree_ensemble import TreeEnsemble


def plain_model(model: keras.Model) -> keras.Model:
    """Return a functional model with the same predictions, of layers that Keras itself can load.

    Layers of Keras are shared with `model`, weights included. Predictions agree to float32 rounding.
    Augmentation is left out. A Bag of Tones takes 8 bytes for each frame and centroid, where its own layer works
    in blocks. Raises DataError when a layer has no plain form.
    """
    plain = keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=_call_plain, recursive=True
    )
    for layer in plain._flatten_layers():
        if not type(layer).__module__.startswith("keras."):
            raise DataError(
                f"Layer {layer.name!r}, a {type(layer).__name__}, cannot be loaded by Keras alone."
            )
    return plain


def _call_plain(layer: Any, *inputs: Any, **options: Any) -> Any:
    if isinstance(layer, Augmentation):
        return inputs[0]
    if isinstance(layer, Decibel | StochasticPooling1D):
        return layer.call(ops.cast(inputs[0], "float32"))
    replace = _PLAIN.get(type(layer))
    return replace(layer, *inputs) if replace else layer(*inputs, **options)


def _stft(layer: kapre.STFT, samples: Any) -> Any:
    """Return real and imaginary part in two channels: Keras layers take no complex numbers."""
    n_missing = layer.win_length - layer.hop_length  # as `pad_end` does, for whole hops
    padded = ops.pad(samples[:, :, 0], ((0, 0), (0, n_missing)))
    window = layer.window_name.removesuffix("_window")
    parts = ops.stft(padded, layer.win_length, layer.hop_length, layer.n_fft, window, center=False)
    return ops.stack(parts, axis=-1)


def _magnitude(layer: kapre.Magnitude, parts: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(parts), axis=-1, keepdims=True))


def _linear_in_bands(layer: Any, x: Any) -> Any:
    """Convert a filterbank or a cosine transform to a matrix, its outputs for unit vectors."""
    unit_frames = ops.eye(x.shape[2])[None, :, :, None]
    matrix = ops.convert_to_numpy(layer(unit_frames))[0, :, :, 0]
    shape = (None, matrix.shape[1], x.shape[3])
    dense = keras.layers.EinsumDense("btfc,fm->btmc", shape, dtype="float32", name=layer.name)
    return _with_weights(dense, x, matrix)


def _delta(layer: kapre.Delta, x: Any) -> Any:
    n = layer.n
    padded = ops.pad(x, ((0, 0), (n, n), (0, 0), (0, 0)), mode=layer.mode)
    slope = np.arange(-n, n + 1, dtype=np.float32).reshape(-1, 1, 1, 1) / layer.denom
    convolution = keras.layers.Conv2D(1, (2 * n + 1, 1), use_bias=False, dtype="float32", name=layer.name)
    return _with_weights(convolution, padded, slope)


def _bag_of_tones(layer: BagOfTones, frames: Any) -> Any:
    is_nearest = ops.one_hot(ops.argmax(_nearness(layer, frames), axis=-1), layer.n_centroids)
    return ops.mean(is_nearest, axis=1) * layer.n_centroids


def _soft_bag_of_tones(layer: SoftBagOfTones, frames: Any) -> Any:
    scores = _nearness(layer, frames)
    last = ops.min(ops.top_k(scores, layer.n_nearest)[0], axis=-1, keepdims=True)
    weights = ops.softmax(ops.where(scores >= last, scores, -np.inf) / layer.bandwidth**2)
    return ops.mean(weights, axis=1) * layer.n_centroids


def _nearness(layer: BagOfTones, frames: Any) -> Any:
    """Return a score for each frame and centroid, larger for nearer ones: ``x·c - |c|²/2``."""
    centroids = ops.convert_to_numpy(layer.centroids)
    nearness = keras.layers.Dense(layer.n_centroids, dtype="float32", name=layer.name)
    return _with_weights(nearness, frames, centroids.T, -np.square(centroids).sum(axis=1) / 2)


def _inverse_document_frequency(layer: InverseDocumentFrequency, histograms: Any) -> Any:
    weights = ops.convert_to_numpy(layer.weight).astype(float).tolist()
    return keras.layers.Rescaling(weights, dtype="float32", name=layer.name)(histograms)


def _kernel_regression(layer: KernelRegression, features: Any) -> Any:
    vectors = ops.convert_to_numpy(layer.vectors)
    dense = keras.layers.Dense(layer.n_vectors, dtype="float32", name=f"{layer.name}_vectors")
    products = _with_weights(dense, features, vectors.T, -np.square(vectors).sum(axis=1) / 2)
    half_distance = ops.sum(ops.square(features), axis=1, keepdims=True) / 2.0 - products
    sums = keras.layers.Dense(layer.n_outputs, dtype="float32", name=layer.name)
    kernels = ops.exp(half_distance * (-2.0 * layer.gamma))
    return _with_weights(sums, kernels, *map(ops.convert_to_numpy, (layer.dual, layer.intercept)))


def _tree_ensemble(layer: TreeEnsemble, features: Any) -> Any:
    """Look nodes up in an Embedding, whose float32 numbers are exact up to 2^24 nodes."""
    table = np.stack([ops.convert_to_numpy(values).astype(np.float32) for values in layer.nodes], axis=1)
    lookup = keras.layers.Embedding(
        layer.n_nodes, table.shape[1], dtype="float32", name=f"{layer.name}_nodes"
    )
    node = ops.cumsum(ops.ones_like(ops.repeat(features[:, :1], layer.n_trees, axis=1)), axis=1) - 1.0
    for step in range(layer.depth):
        found = lookup(ops.cast(node, "int32"))
        if not step:
            lookup.set_weights([table])
        own = ops.take_along_axis(features, ops.cast(found[..., 0], "int32"), axis=1)
        node = ops.where(own <= found[..., 1], found[..., 2], found[..., 3])
    values = ops.reshape(
        lookup(ops.cast(node, "int32"))[..., 4], (-1, layer.n_sums, layer.n_trees // layer.n_sums)
    )
    outputs = keras.layers.Dense(layer.n_outputs, dtype="float32", name=layer.name)
    weights = map(ops.convert_to_numpy, (layer.kernel, layer.intercept))
    return _with_weights(outputs, ops.sum(values, axis=2), *weights)


def _batch_norm(layer: keras.layers.BatchNormalization, x: Any) -> Any:
    norm = keras.layers.BatchNormalization.from_config(layer.get_config())
    return _with_weights(norm, x, *layer.get_weights())


def _with_weights(layer: keras.layers.Layer, x: Any, *weights: Any) -> Any:
    outputs = layer(x)
    layer.set_weights(weights)
    return outputs


_PLAIN: dict[type, Callable[..., Any]] = {
    kapre.STFT: _stft,
    kapre.Magnitude: _magnitude,
    kapre.ApplyFilterbank: _linear_in_bands,
    kapre.LogmelToMFCC: _linear_in_bands,
    kapre.Delta: _delta,
    BagOfTones: _bag_of_tones,
    SoftBagOfTones: _soft_bag_of_tones,
    InverseDocumentFrequency: _inverse_document_frequency,
    KernelRegression: _kernel_regression,
    TreeEnsemble: _tree_ensemble,
    FixedStatisticsNormalization: _batch_norm,
    FusedBatchNormalization: _batch_norm,
}
