"""Files of a run with which its model can be used without the dataset: signature and model."""

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.schema import DatasetInfo
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.factors.scaling import Scaler
from cs_keras.models.spec import stored_bytes
from cs_keras.run_files.names import SIGNATURE_FILE
from cs_keras.run_files.settings import ScalerRecord, SignatureRecord
from cs_keras.runs import require_space
from cs_keras.storage.location import Location, is_file


@dataclasses.dataclass(frozen=True, eq=False)
class Signature:
    """Input and output of a trained model.

    Attributes
    ----------
    audio, dtype
        Audio settings of the frames it was trained on, and their stored type.
    scaler
        Maps its outputs back to factors.
    """

    audio: AudioConfig
    dtype: str
    scaler: Scaler


def write_signature(folder: Path, info: DatasetInfo, scaler: Scaler) -> None:
    """Write ``signature.json`` of a run trained on such a dataset and such factors, unless it is there."""
    if (folder / SIGNATURE_FILE).exists():
        return
    # Every float32 has a decimal that leads back to it, so JSON loses nothing.
    values = (tuple(array.astype(float).tolist()) for array in (scaler.offset, scaler.scale))
    SignatureRecord(config.to_dict(info.audio), info.dtype, ScalerRecord(scaler.kind, *values)).write(folder)


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
    record = SignatureRecord.read(folder)
    try:
        with np.errstate(over="raise"):  # a number beyond float32 would become infinite
            offset, scale = (
                np.array(values, np.float32) for values in (record.scaler.offset, record.scaler.scale)
            )
        audio = config.replace(AudioConfig(), record.audio, "audio.")
        return Signature(audio, np.dtype(record.dtype).name, Scaler(record.scaler.kind, offset, scale))
    except (TypeError, ValueError, ArithmeticError, ConfigError) as error:
        raise DataError(f"{path} is not as `cs-keras run-baselines` writes it: {error}.") from error


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
        temporary.unlink(missing_ok=True)  # which may be a link
        bare.save(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error}.") from error
