"""Factors of items that are known by attributes, by a finished run's model; they need be in no dataset."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from cs_keras.audio.decode import AUDIO_SUFFIXES
from cs_keras.data.attributes.encoding import Encoding, read_encoding
from cs_keras.errors import DataError, StorageError
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.names import ATTRIBUTES_FILE
from cs_keras.runs import read_json
from cs_keras.storage.location import Location, is_folder
from pipelines.inference.predict import Predicted
from pipelines.inference.track_vectors import check_suffix, write_vectors
from pipelines.inference.trained_run import (
    Matrix,
    TrainedRun,
    load_run_model,
    require_attributes,
    require_sound,
)
from pipelines.training.attribute_files import read_attributes

BATCH_ITEMS = 256


def predict_items(
    run: TrainedRun,
    features: Path,
    out: Location,
    id_column: str | None = None,
    progress: Progress | None = None,
) -> Predicted:
    """Predict the factors of a table's items, in their order; those without any attribute are left out.

    Parameters
    ----------
    run
        Trained on attributes, whose columns the table must have. They are encoded as they were for training.
    features, id_column
        See `pipelines.training.attribute_files.read_attributes`.
    out
        The npz or Parquet table to write; see `pipelines.inference.predict.predict_dataset`.
    progress
        Is told what was left out.

    Raises
    ------
    ConfigError
        When the run's model hears, or `out` ends neither in ``.npz`` nor in ``.parquet``.
    DataError
        When the table does not hold what the model was trained on.
    StorageError
        When files cannot be read or written.
    """
    progress = progress or SilentProgress()
    require_attributes(run)
    check_suffix(out)
    if is_folder(out):
        raise StorageError(f"{out} is a folder; expected the name of a file to write.")
    encoding = open_encoding(run.folder)
    table = read_attributes(features, encoding.kinds, id_column, only=True)
    left_out = {
        item_id: f"{features} holds no attribute of it" for item_id in table.ids[table.is_empty].tolist()
    }
    for item_id, reason in left_out.items():
        progress.log(f"left out {item_id}: {reason}")
    known = table.take(np.flatnonzero(~table.is_empty))
    if not len(known):
        raise DataError(
            f"None of the {len(table)} items of {features} has attributes: no factors were predicted."
        )
    scaled = _apply(load_run_model(run.folder), encoding.encode(known), run)
    write_vectors(out, known.ids, {"factors": run.signature.scaler.inverse(scaled), "scaled_factors": scaled})
    return Predicted(len(known), scaled.shape[1], left_out)


def choose_table(run: TrainedRun, dataset: Location | None, files: Sequence[Path]) -> Path:
    """Return the one table among what `run` is to predict from.

    Raises
    ------
    ConfigError
        When there is a dataset, a recording, a folder, or more than one file.
    """
    if dataset is not None:
        require_sound(run, f"the dataset {dataset}")
    for path in files:
        if path.is_dir() or path.suffix.lower() in AUDIO_SUFFIXES:
            require_sound(run, str(path))
    if len(files) != 1:
        require_sound(run, f"{len(files)} files")
    return files[0]


def open_encoding(folder: Location) -> Encoding:
    """Read how a run encoded attributes.

    Raises
    ------
    StorageError, DataError
        When ``attributes.json`` cannot be read or is not valid.
    """
    return read_encoding(read_json(folder / ATTRIBUTES_FILE), str(folder / ATTRIBUTES_FILE))


def _apply(model: keras.Model, vectors: Matrix, run: TrainedRun) -> Matrix:
    """Return scaled factors, shape (n, n_factors), float32."""
    expected = (vectors.shape[1], len(run.signature.scaler.offset))
    received = (*model.input_shape[1:], model.output_shape[1])
    if received != expected:
        raise DataError(
            f"The model of {run.folder} does not fit its settings: expected {expected[0]} numbers in and "
            f"{expected[1]} factors out. Received: {', '.join(map(str, received))}."
        )
    batches = np.split(vectors, range(BATCH_ITEMS, len(vectors), BATCH_ITEMS))
    return np.concatenate([np.asarray(model(batch, training=False)) for batch in batches])
