"""What goes into a run's model and what comes out of it: so that a run folder can be used without its dataset."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.schema import DatasetInfo
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.factors.scaling import Scaler
from cs_keras.models.spec import stored_bytes
from cs_keras.run_files.names import SIGNATURE_FILE
from cs_keras.runs import read_json, require_space, write_json
from cs_keras.storage.location import Location, is_file

SIGNATURE_VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Signature:
    """Input and output of a trained model.

    Attributes
    ----------
    audio, dtype
        What the frames it was trained on are, and how they were stored.
    scaler
        Leads from its outputs back to factors.
    """

    audio: AudioConfig
    dtype: str
    scaler: Scaler


def write_signature(folder: Path, info: DatasetInfo, scaler: Scaler) -> None:
    """Write ``signature.json`` of a run trained on such a dataset and such factors, unless it is there."""
    if (folder / SIGNATURE_FILE).exists():
        return
    document = {
        "schema_version": SIGNATURE_VERSION,
        "audio": config.to_dict(info.audio),
        "dtype": info.dtype,
        # Every float32 has a decimal that leads back to it, so JSON loses nothing.
        "scaler": {
            "kind": scaler.kind,
            "offset": scaler.offset.astype(float).tolist(),
            "scale": scaler.scale.astype(float).tolist(),
        },
    }
    write_json(folder / SIGNATURE_FILE, document)


def read_signature(folder: Location) -> Signature:
    """Read ``signature.json`` of a run.

    Raises
    ------
    StorageError
        When it cannot be read.
    DataError
        When there is none, because an earlier release trained the run, or it is of another version or not valid.
    """
    path = folder / SIGNATURE_FILE
    if not is_file(path):
        raise DataError(
            f"{folder} has no {SIGNATURE_FILE}: an earlier release trained it; the `cs-keras run-baselines` that "
            "did adds it when repeated, and trains nothing again."
        )
    document = read_json(path)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SIGNATURE_VERSION:
        raise DataError(f"{path} has schema version {version!r}; this release reads {SIGNATURE_VERSION}.")
    try:
        return Signature(
            config.replace(AudioConfig(), document["audio"], "audio."),
            np.dtype(document["dtype"]).name,
            _scaler(document["scaler"]),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(f"{path} is not as `cs-keras run-baselines` writes it: {error}.") from error


def _scaler(document: Any) -> Scaler:
    offset, scale = (np.array(document[name], np.float32) for name in ("offset", "scale"))
    if offset.ndim != 1 or offset.shape != scale.shape:
        raise ValueError(f"offset and scale have shapes {offset.shape} and {scale.shape}")
    return Scaler(document["kind"], offset, scale)


def save_model(model: keras.Model, path: Path) -> None:
    """Write what predicts: without the optimizer, which is twice as large and of which Keras cannot load all.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    bare = keras.Model(model.input, model.output, name=model.name)
    temporary = path.with_name(f"partial-{path.name}")
    require_space(path.parent, 2 * stored_bytes(bare))  # Keras writes weights apart before it packs them
    try:
        bare.save(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error}.") from error
