"""Decoding in the TensorFlow graph: the one module that needs tensorflow-io."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from cs_keras.errors import AudioError


def available() -> bool:
    """Tell whether tensorflow-io's native operations load with the TensorFlow installed here."""
    try:
        import tensorflow_io

        _ = tensorflow_io.audio.AudioIOTensor
    except (ImportError, AttributeError, NotImplementedError):
        return False
    return True


def decode(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Decode wav, flac, ogg or mp3 with tensorflow-io.

    Parameters
    ----------
    path
        A local file.

    Returns
    -------
    samples
        Shape (n_samples, n_channels), float32 in [-1, 1].
    sample_rate
        Hz.

    Raises
    ------
    AudioError
        When tensorflow-io cannot read the file.
    """
    import tensorflow as tf
    import tensorflow_io as tfio

    try:
        with tf.device("/CPU:0"):
            audio = tfio.audio.AudioIOTensor(str(path))
            samples = audio.to_tensor()
            if samples.dtype.is_floating and _is_wav_of_int32(path):
                raise AudioError(f"{path}: tensorflow-io takes its 32-bit integers for floats.")
            return _to_float(samples).numpy(), int(audio.rate)
    except (tf.errors.OpError, ValueError, NotImplementedError) as error:
        raise AudioError(f"{path} cannot be decoded by tensorflow-io.") from error


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
