"""Predicting factors of items from their attributes; items need not be in a dataset."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cs_keras.audio.decode import AUDIO_SUFFIXES
from cs_keras.data.attributes.encoding import Encoding, read_encoding
from cs_keras.data.attributes.table import AttributeTable, align_tables, join_attributes, join_tables
from cs_keras.data.dataset import Dataset
from cs_keras.errors import ConfigError, DataError
from cs_keras.models.distribution import moments_model
from cs_keras.models.registry import split_tables
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.names import ATTRIBUTES_FILE
from cs_keras.runs import read_json
from cs_keras.storage.location import Location
from pipelines.inference.predict import Predicted, choose_rows, write_predicted
from pipelines.inference.track_vectors import check_output
from pipelines.inference.trained_run import Matrix, TrainedRun, source_error
from pipelines.training.attribute_files import find_id_columns, read_attributes
from pipelines.training.procedures.branches import apply_to_vectors


@dataclasses.dataclass(frozen=True)
class TableFiles:
    """Files for the tables of attributes that a model was trained on, by the name of the table.

    Attributes
    ----------
    features
        Attributes of the tracks to predict.
    id_column
        Id column of those that have it, see `pipelines.training.attribute_files.find_id_columns`; None for
        ``track_id`` or else the first.
    weights
        Weights of the encoder of a table, where they are not where they were when `cs-keras embed` made it; those
        without a name are for all other tables.
    """

    features: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    id_column: str | None = None
    weights: Mapping[str, Path] = dataclasses.field(default_factory=dict)

    def weights_of(self, table: str) -> Path | None:
        """Return the weights of the encoder of a table; None for those of its making."""
        return self.weights.get(table, self.weights.get(""))


def predict_items(
    run: TrainedRun,
    files: TableFiles,
    out: Location,
    progress: Progress | None = None,
    tracks: Dataset | None = None,
    split: str = "all",
) -> Predicted:
    """Predict the factors of the items of a table, in their order, except items without any attribute.

    Parameters
    ----------
    run
        A run trained on attributes.
    files
        The table, or each of the tables that the model joins; they must have the columns of those in training.
    out
        The npz or Parquet table to write; see `pipelines.inference.predict.predict_dataset`.
    tracks, split
        Dataset whose tracks of `split` are predicted, in their order; None for all items.

    Raises
    ------
    ConfigError
        When the run's model takes audio, or `out` ends neither in ``.npz`` nor in ``.parquet``.
    DataError
        When the table lacks attributes that the model was trained on.
    StorageError
        When files cannot be read or written.
    """
    progress = progress or SilentProgress()
    if run.procedure.takes_audio:
        raise ConfigError(
            f"The model of {run.folder} takes audio: expected a dataset or recordings. Received: attributes."
        )
    check_output(out)
    tables = read_tables(run.folder, run.table, files)
    if tracks is not None:
        attributes = join_attributes(align_tables(tables, tracks.tracks, str(tracks.folder)))
        table = attributes.table.take(choose_rows(tracks, split))
    else:
        table = join_tables(tables)
    left_out = {
        item_id: f"{table.where} has no attribute of it" for item_id in table.ids[table.is_empty].tolist()
    }
    for item_id, reason in left_out.items():
        progress.log(f"left out {item_id}: {reason}")
    known = table.take(np.flatnonzero(~table.is_empty))
    if not len(known):
        raise DataError(
            f"None of the {len(table)} items of {table.where} has attributes: no factors were predicted."
        )
    return write_predicted(run, out, lambda parts: (known.ids, apply_to_items(run, known), left_out))


def read_tables(folder: Location, table: str, files: TableFiles) -> dict[str, AttributeTable]:
    """Return what files hold for a model, by the names of its tables.

    Parameters
    ----------
    folder
        Folder of its run, or of the branch of a fusion.
    table
        What its key names after ``@``.

    Raises
    ------
    ConfigError
        When a table that the model joins is not given.
    """
    kinds, names = open_encoding(folder).kinds, split_tables(table)
    id_columns = find_id_columns(files.features, files.id_column)
    if len(names) == 1:
        return {table: read_attributes(files.features[table], kinds, id_columns[table], only=True)}
    if missing := [name for name in names if name not in files.features]:
        raise ConfigError(
            f"The model of {folder} joins the tables {', '.join(names)}: expected --features {missing[0]}=FILE "
            f"too. Received: {', '.join(files.features) or 'none'}."
        )
    own: dict[str, dict[str, str]] = {name: {} for name in names}
    for column, kind in kinds.items():
        name, _, column = column.partition(".")
        own[name][column] = kind
    return {
        name: read_attributes(files.features[name], own[name], id_columns[name], only=True) for name in names
    }


def apply_to_items(run: TrainedRun, table: AttributeTable) -> Matrix:
    """Return the scaled factors of items, all with attributes, or their moments: (n_items, n_outputs), float32.

    Raises
    ------
    DataError
        When the table lacks attributes that the model was trained on, or the model does not match its settings.
    """
    vectors = open_encoding(run.folder).encode(table)
    model = moments_model(run.load_model()) if run.predicts_std else run.load_model()
    expected = (vectors.shape[1], run.n_outputs)
    received = (*model.input_shape[1:], model.output_shape[1])
    if received != expected:
        raise DataError(
            f"The model of {run.folder} does not match its settings: expected {expected[0]} inputs and "
            f"{expected[1]} factors. Received: {', '.join(map(str, received))}."
        )
    return apply_to_vectors(model, vectors)


def choose_table(run: TrainedRun, dataset: Location | None, files: Sequence[Path]) -> Path:
    """Return the one table among the sources that `run`, whose model takes no audio, is to predict from.

    Raises
    ------
    ConfigError
        When there is a dataset, a recording, a folder, or more than one file.
    """
    if dataset is not None:
        raise source_error(run, f"the dataset {dataset}")
    for path in files:
        if is_audio(path):
            raise source_error(run, str(path))
    if len(files) != 1:
        raise source_error(run, f"{len(files)} files")
    return files[0]


def is_audio(path: Path) -> bool:
    """Return whether a source is a folder or recording, by its name, and not a table."""
    return path.is_dir() or path.suffix.lower() in AUDIO_SUFFIXES


def open_encoding(folder: Location) -> Encoding:
    """Read the encoding of attributes of a run.

    Raises
    ------
    StorageError, DataError
        When ``attributes.json`` cannot be read or is not valid.
    """
    return read_encoding(read_json(folder / ATTRIBUTES_FILE), str(folder / ATTRIBUTES_FILE))
