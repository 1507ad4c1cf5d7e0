"""Audio decoding and HDF5 reading in the TensorFlow graph: the only module that imports tensorflow-io."""

import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from cs_keras.errors import AudioError, ConfigError

_ONE_AT_A_TIME = threading.Lock()  # of two threads that decode damaged files, one crashes the process


@cache
def available() -> bool:
    """Return whether tensorflow-io's native operations load with the TensorFlow installed here."""
    try:
        import tensorflow_io

        _ = tensorflow_io.audio.AudioIOTensor
    except (ImportError, AttributeError, NotImplementedError):
        return False
    return True


def check_available(user: str) -> None:
    """Raise ConfigError, which names the `user` and how to install tensorflow-io, where it does not load."""
    if not available():
        raise ConfigError(
            f"{user} needs tensorflow-io, which is not installed or does not load with the installed TensorFlow: "
            "pip install 'cs-keras[tfio]', on Python 3.11 or 3.12."
        )


def decode_audio(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Decode a local wav, flac, ogg or mp3 file; AudioError when tensorflow-io cannot read it.

    Returns samples, shape (n_samples, n_channels), float32 in [-1, 1], and the sample rate in Hz.
    """
    import tensorflow as tf
    import tensorflow_io

    try:
        with _ONE_AT_A_TIME, tf.device("/CPU:0"):
            audio = tensorflow_io.audio.AudioIOTensor(str(path))
            samples = audio.to_tensor()
            if samples.dtype.is_floating and _is_wav_of_int32(path):
                raise AudioError(
                    f"{path} has 32-bit integer samples, which tensorflow-io cannot decode correctly."
                )
            return _to_float(samples).numpy(), int(audio.rate)
    except (tf.errors.OpError, ValueError, NotImplementedError) as error:
        raise AudioError(f"{path} cannot be decoded by tensorflow-io.") from error


def read_hdf5(path: Any, dataset: str, shape: Any, first: Any, last: Any, dtype: str) -> Any:
    """Return rows of a two-dimensional dataset of a local HDF5 file, read by the surrounding graph.

    The HDF5 library inside tensorflow-io has no float16 and is single-threaded. `path`, `first` and `last`
    (exclusive) are scalar tensors, `shape` that of the dataset, two int64; the result has shape (last - first,
    shape[1]).
    """
    import tensorflow as tf
    from tensorflow_io.python.ops import core_ops

    return core_ops.io_hdf5_readable_read(
        input=path,
        shared=path,
        component=dataset,
        shape=shape,
        start=tf.stack([first, 0]),
        stop=tf.stack([last, shape[1]]),
        dtype=dtype,
        container="magnitudes",
    )


def _is_wav_of_int32(path: Path) -> bool:
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        return False
    return info.format in ("WAV", "WAVEX") and info.subtype == "PCM_32"


def _to_float(samples: Any) -> Any:
    """Scale integer samples, as tensorflow-io returns for wav and flac, to float32 in [-1, 1]."""
    import tensorflow as tf

    if samples.dtype.is_floating:
        return tf.cast(samples, tf.float32)
    if samples.dtype == tf.uint8:
        return (tf.cast(samples, tf.float32) - 128.0) / 128.0
    return tf.cast(tf.cast(samples, tf.float64) / -float(samples.dtype.min), tf.float32)
