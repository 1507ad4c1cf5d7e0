"""Encoders, most of them pretrained: mono waveforms to frames of features."""

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_choice
from cs_keras.errors import ConfigError

Vectors = npt.NDArray[np.float32]

CHECKPOINTS = {
    "musicnn": "MSD_musicnn",
    "musicnn-mtt": "MTT_musicnn",
    "musicnn-vgg": "MSD_vgg",
    "musicnn-vgg-mtt": "MTT_vgg",
}
TAGGERS = (*CHECKPOINTS, "choi")
DESCRIPTORS = ("harmony", "rhythm")
ENCODERS = (*TAGGERS, "notes", *DESCRIPTORS)


class Encoder(Protocol):
    """An encoder of mono waveforms at `sample_rate` Hz.

    `digest` is the SHA-256 of its weights, or of name and version of an encoder without weights, `pooling` the
    statistics over its frames that suit it.
    """

    sample_rate: int
    digest: str
    n_features: int
    pooling: tuple[str, ...]

    def encode(self, waveform: Vectors) -> Vectors:
        """Return features, shape (n_frames, n_features), of a `waveform`, shape (n_samples,), float32."""


def open_encoder(name: str, weights: str | None = None) -> Encoder:
    """Open an encoder.

    Parameters
    ----------
    name
        One of `ENCODERS`, or of a file that ends in ``.onnx``; see `cs_keras.encoders.onnx_file`.
    weights
        Of the musicnn family, the package's folder or a checkpoint's; None for the installed package. Of
        ``choi``, its file. Of ``notes``, basic-pitch's network; None for the installed package. Of ONNX, the file
        where it is not at the path `name`. ``harmony`` and ``rhythm`` have none.

    Raises
    ------
    ConfigError
        When there is no such encoder, ``choi`` has no weights, or ``harmony`` or ``rhythm`` is given some.
    StorageError, DataError
        When weights are missing or of another network.
    """
    if name.lower().endswith(".onnx"):
        from cs_keras.encoders.onnx_file import OnnxEncoder

        return OnnxEncoder(Path(weights or name))
    check_choice("--encoder (unless it is a file ending in .onnx)", name, ENCODERS)
    if name == "choi":
        return _open_choi(weights)
    if name == "notes":
        from cs_keras.encoders.notes import NotesEncoder

        return NotesEncoder(weights)
    if name in DESCRIPTORS:
        from cs_keras.encoders.descriptors import DescriptorEncoder

        if weights is not None:
            raise ConfigError(f"{name} has no weights: expected no --weights. Received: {weights}.")
        return DescriptorEncoder(name)
    return _open_musicnn(CHECKPOINTS[name], weights, "features")


def open_tagger(name: str, weights: str | None = None) -> tuple[Encoder, tuple[str, ...]]:
    """Open a tagger: an encoder whose features are probabilities of tags, and the names of these.

    Parameters and errors are those of `open_encoder`, without ONNX files.
    """
    from cs_keras.models.choi_tagger import TAGS, build_tagger
    from cs_keras.models.choi_weights import AUDIO
    from cs_keras.models.musicnn_network import MTT_TAGS

    check_choice("--tagger (unless it is the folder of a run)", name, TAGGERS)
    if name == "choi":
        from cs_keras.encoders.network import NetworkEncoder

        path = _choi_file(weights)
        return NetworkEncoder(build_tagger(path), AUDIO, sha256(path), batch_size=4), TAGS
    checkpoint = CHECKPOINTS[name]
    return _open_musicnn(checkpoint, weights, "tags"), MTT_TAGS if checkpoint.startswith("MTT") else TAGS


def _open_musicnn(name: str, weights: str | None, output: str) -> Encoder:
    import keras

    from cs_keras.encoders.network import NetworkEncoder
    from cs_keras.models.musicnn_network import AUDIO, FRAMES, build_network, find_checkpoint, log_mel

    folder = find_checkpoint(name, Path(weights) if weights else None)
    magnitude = keras.Input((FRAMES, AUDIO.n_bins), name="magnitude")
    network = keras.Model(magnitude, build_network(name, folder)(log_mel(magnitude))[output])
    return NetworkEncoder(network, AUDIO, sha256(folder / ".data-00000-of-00001"), batch_size=8, pads=True)


def _open_choi(weights: str | None) -> Encoder:
    import dataclasses

    from cs_keras.encoders.network import NetworkEncoder
    from cs_keras.models.choi_features import VARIANTS, build_features
    from cs_keras.models.choi_weights import AUDIO

    path = _choi_file(weights)
    baseline = VARIANTS["choi-features"]
    model = dataclasses.replace(baseline.model, weights=str(path), own_audio=True)
    network = build_features(dataclasses.replace(baseline, model=model), AUDIO)
    return NetworkEncoder(network, AUDIO, sha256(path), batch_size=2)


def _choi_file(weights: str | None) -> Path:
    if weights is None:
        raise ConfigError("choi needs a file of the tagger's weights: name it by --weights.")
    return Path(weights)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
