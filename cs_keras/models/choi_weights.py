"""The pretrained weights of the music tagger of Choi, Fazekas, Sandler & Cho 2017 (arXiv 1703.09179).

Five blocks of [convolution 32 3x3, batch norm, ELU, max-pool] over a decibel mel spectrogram of 29 s: 12 kHz, Hann
window 512, hop 256, 96 mel bands (Slaney's, as librosa's default) up to 6 kHz of the *power* spectrum, decibels
below the clip's maximum, 80 at most. Two generations were published:

``keras1`` (compact_cnn_weights_tensorflow.hdf5, Keras 1.2, January 2017): kernels stored as (out, in, mels,
frames), already turned for a cross-correlation. Its batch norm ran in "mode 2", with the statistics of the batch
in prediction too, and its authors predicted one clip at a time: so each map is normalised by its own mean and
variance over the clip, and the stored running statistics (0 and 1) were never used. Features are means of the
maps after pooling.

``keras2`` (model_best.hdf5, Keras 2.1, December 2017): kernels (mels, frames, in, out), batch norm with moving
statistics, and the spectrogram of each clip standardised first. Features are means of the maps before pooling.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import DataError, StorageError

Array = npt.NDArray[np.float32]

AUDIO = AudioConfig(sample_rate=12_000, n_fft=512, hop_length=256)
N_MELS = 96
F_MAX = 6000.0  # Hz
FRAMES = 1360  # 29 s
FILTERS = 32
POOL_FRAMES = (4, 4, 5, 4, 4)
POOL_MELS = (2, 3, 2, 2, 4)
EPSILON = 1e-3  # of batch norm, in both generations


@dataclasses.dataclass(frozen=True)
class Block:
    """Weights of a convolution and the batch norm after it, float32.

    The kernel has shape (3, 3, n_in, 32): frames, mel bands, maps in, maps out; all others have shape (32,). Moving
    statistics are None where those of the clip itself are used.
    """

    kernel: Array
    bias: Array
    gamma: Array
    beta: Array
    mean: Array | None
    variance: Array | None


@dataclasses.dataclass(frozen=True)
class Tagger:
    """Weights of the tagger's five blocks, and their generation: ``keras1`` or ``keras2``."""

    generation: str
    blocks: tuple[Block, ...]


def read_tagger(path: str | Path) -> Tagger:
    """Read the weights of either generation.

    Raises StorageError when there is no such file or it is not HDF5, DataError when it holds another network's
    weights.
    """
    with _opened(path) as file:
        generation = "keras2" if "model_weights" in file else "keras1"
        read = _read_keras2 if generation == "keras2" else _read_keras1

        def values(name: str) -> Array:
            return np.asarray(file[name], np.float32)

        blocks = tuple(read(values, number) for number in range(1, 6))
    for block, n_in in zip(blocks, (1, FILTERS, FILTERS, FILTERS, FILTERS), strict=True):
        if block.kernel.shape != (3, 3, n_in, FILTERS):
            raise DataError(
                f"{path} does not hold the weights of Choi's tagger: a kernel must have 3 x 3 x {n_in} x {FILTERS} "
                f"weights. Received: {' x '.join(map(str, block.kernel.shape))}."
            )
    return Tagger(generation, blocks)


def read_tag_layer(path: str | Path) -> tuple[Array, Array]:
    """Read kernel, shape (32, 50), and bias, (50,), of the output layer, which only the second generation has.

    Errors are those of `read_tagger`.
    """
    with _opened(path) as file:
        if "model_weights" not in file and "ConvBNEluDr" in file:
            raise DataError(
                f"{path} holds the first generation of the tagger's weights, without the layer of tags: expected "
                "the second, keras2_model_best.hdf5."
            )
        layer = file["model_weights/dense_1/dense_1"]
        return np.asarray(layer["kernel:0"], np.float32), np.asarray(layer["bias:0"], np.float32)


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except KeyError as error:
        raise DataError(f"{path} does not hold the weights of Choi's tagger: {error.args[0]}.") from error
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else "it is not an HDF5 file"
        raise StorageError(f"Cannot read tagger weights {path}: {reason}.") from error


def _read_keras1(values: Callable[[str], Array], number: int) -> Block:
    conv = f"ConvBNEluDr/convolution2d_{number}"
    norm = f"ConvBNEluDr/batchnormalization_{number}"
    kernel = values(f"{conv}_W:0").transpose(3, 2, 1, 0)
    return Block(
        kernel, values(f"{conv}_b:0"), values(f"{norm}_gamma:0"), values(f"{norm}_beta:0"), None, None
    )


def _read_keras2(values: Callable[[str], Array], number: int) -> Block:
    conv = f"model_weights/conv2d_{number}/conv2d_{number}"
    norm = f"model_weights/batch_normalization_{number}/batch_normalization_{number}"
    kernel = values(f"{conv}/kernel:0").transpose(1, 0, 2, 3)
    return Block(
        kernel,
        values(f"{conv}/bias:0"),
        *(values(f"{norm}/{name}:0") for name in ("gamma", "beta", "moving_mean", "moving_variance")),
    )
