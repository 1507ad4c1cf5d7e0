"""Choi's tagger in NumPy, in its authors' layout (maps, mel bands, frames), straight from their files."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

FOLDER = Path(os.environ.get("CS_KERAS_CHOI", Path(__file__).parents[3] / "shared" / "data" / "choi2017"))
FILES = {"keras1": "compact_cnn_weights_tensorflow.hdf5", "keras2": "keras2_model_best.hdf5"}
POOLS = ((2, 4), (3, 4), (2, 5), (2, 4), (4, 4))  # mel bands, frames


def weights_file(generation):
    path = FOLDER / FILES[generation]
    if not path.exists():
        pytest.skip(f"no tagger weights at {path}")
    return path


def filterbank(generation):
    """The mel filterbank stored with the weights, shape (257 bins, 96 bands)."""
    name = {"keras1": "melgram/Variable_2:0", "keras2": "model_weights/melgram/melgram/Variable:0"}[
        generation
    ]
    with h5py.File(weights_file(generation)) as file:
        return file[name][:].astype(np.float64)


def spectrogram(magnitude, generation):
    """Magnitudes (frames, 257) to decibels below the loudest (96 bands, frames), as Kapre 0.1 computed them."""
    power = (magnitude.astype(np.float64) ** 2 @ filterbank(generation)).T
    level_db = 10 * np.log10(np.maximum(power, 1e-10))
    return np.maximum(level_db - level_db.max(), -80)


def features(magnitude, generation):
    """Magnitudes (frames, 257) to the five layers' averages, (5, 32)."""
    layers = _layers(magnitude, generation)
    return np.array([(x if generation == "keras1" else maps).mean(axis=(1, 2)) for maps, x in layers])


def last_maps(magnitude, generation):
    """Magnitudes (frames, 257) to what the last pool leaves of each map, (32,)."""
    return list(_layers(magnitude, generation))[-1][1].reshape(32)


def _layers(magnitude, generation):
    """Yield each layer's maps (32, bands, frames), before and after pooling."""
    x = spectrogram(magnitude, generation)[np.newaxis]
    if generation == "keras2":
        x = (x - x.mean()) / x.std()
    with h5py.File(weights_file(generation)) as file:
        for number, pool in enumerate(POOLS, 1):
            kernel, bias, gamma, beta, mean, variance = _block(file, generation, number)
            x = _convolve(x, kernel) + bias
            if mean is None:
                mean, variance = x.mean(axis=(1, 2), keepdims=True), x.var(axis=(1, 2), keepdims=True)
            x = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
            maps = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
            x = _max_pool(maps, pool)
            yield maps, x


def _block(file, generation, number):
    if generation == "keras1":
        group = file["ConvBNEluDr"]
        kernel = group[f"convolution2d_{number}_W:0"][:]  # (out, in, mels, frames)
        rest = [group[f"convolution2d_{number}_b:0"][:]]
        rest += [group[f"batchnormalization_{number}_{name}:0"][:] for name in ("gamma", "beta")]
    else:
        group = file["model_weights"]
        conv = group[f"conv2d_{number}/conv2d_{number}"]
        norm = group[f"batch_normalization_{number}/batch_normalization_{number}"]
        kernel = np.moveaxis(conv["kernel:0"][:], (3, 2), (0, 1))
        rest = [conv["bias:0"][:]]
        rest += [norm[f"{name}:0"][:] for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    rest = [values.astype(np.float64)[:, None, None] for values in rest]
    return kernel.astype(np.float64), *rest, *[None] * (5 - len(rest))


def _convolve(x, kernel):
    """Cross-correlate (in, height, width) with (out, in, 3, 3), zeros around."""
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(kernel), height, width))
    for i in range(3):
        for j in range(3):
            out += np.einsum("oc,chw->ohw", kernel[:, :, i, j], padded[:, i : i + height, j : j + width])
    return out


def _max_pool(x, pool):
    """Largest of each whole pool, (maps, height, width); what is left at the ends falls away."""
    rows, columns = x.shape[1] // pool[0], x.shape[2] // pool[1]
    x = x[:, : rows * pool[0], : columns * pool[1]]
    return x.reshape(len(x), rows, pool[0], columns, pool[1]).max(axis=(2, 4))
