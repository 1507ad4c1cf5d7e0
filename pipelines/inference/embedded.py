"""New recordings as rows of a table that `cs-keras embed` made: their encoder is run as it was for the table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cs_keras.audio.decode import load_mono
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.attributes.columns import NumericColumn, SequenceColumn
from cs_keras.data.attributes.table import AttributeTable, join_tables, make_table
from cs_keras.encoders import Encoder, open_encoder
from cs_keras.encoders.pooling import pool_rows
from cs_keras.errors import AudioError, ConfigError, DataError, StorageError
from cs_keras.progress import Progress
from cs_keras.run_files.encoder import EncoderRecord, read_encoders
from cs_keras.run_files.names import ENCODER_FILE
from cs_keras.storage.location import Location, is_file
from pipelines.inference.predict_items import TableFiles
from pipelines.training.attribute_files import FEATURES, FRAMES

Embedded = tuple[AttributeTable, dict[str, str]]  # with reasons for recordings that cannot be used, by id


def is_embedded(folder: Location) -> bool:
    """Return whether the run or branch in `folder` takes a table of an encoder's vectors."""
    return is_file(folder / ENCODER_FILE)


def embed_recordings(
    folder: Location,
    names: Sequence[str],
    files: Mapping[str, Path],
    decoder: str,
    tables: TableFiles,
    progress: Progress,
) -> Embedded:
    """Return the vectors of recordings by the encoders of a run's or branch's tables; unusable ones have none.

    Parameters
    ----------
    folder
        Folder of the run or branch; see `is_embedded`.
    names
        Names of the tables that the model takes.
    files
        Recordings by id.
    decoder
        See `cs_keras.audio.decode.decode`.
    tables
        Weights of encoders, where they are not where they were when the table was made.

    Raises
    ------
    DataError
        When an encoder is not the one of its table.
    StorageError
        When an encoder cannot be opened.
    """
    records = read_encoders(folder, names)
    encoders = {name: _open(record, folder, tables.weights_of(name)) for name, record in records.items()}
    embedded = {
        name: _embed(encoder, records[name], files, decoder, progress) for name, encoder in encoders.items()
    }
    table = join_tables({name: own for name, (own, _) in embedded.items()})
    reasons = {track_id: reason for _, own in embedded.values() for track_id, reason in own.items()}
    left_out = {}
    for track_id in table.ids[table.is_empty].tolist():  # by every encoder
        left_out[track_id] = reasons.get(track_id, "its vectors have no numbers")
        progress.log(f"left out {track_id}: {left_out[track_id]}")
    return table, left_out


def _embed(
    encoder: Encoder, record: EncoderRecord, files: Mapping[str, Path], decoder: str, progress: Progress
) -> Embedded:
    """Return the vectors of recordings by one encoder; see `embed_recordings`."""
    audio = AudioConfig(sample_rate=encoder.sample_rate)
    n_missing = 1 if record.pooling else 0  # rows of a recording that cannot be used
    missing = np.full((n_missing, encoder.n_features * (len(record.pooling) or 1)), np.nan, np.float32)
    rows, left_out = [], {}
    with progress.task(f"{record.encoder} of recordings", len(files)) as advance:
        for track_id, path in files.items():
            try:
                rows.append(pool_rows(encoder.encode(load_mono(path, audio, decoder)), record.pooling))
            except AudioError as error:
                rows.append(missing)
                left_out[track_id] = str(error)
            advance(1)
    values = np.concatenate(rows)
    if not record.pooling:
        ends = np.cumsum([0, *map(len, rows)])
        return make_table(list(files), {FRAMES: SequenceColumn(values, ends)}, "the recordings"), left_out
    return make_table(list(files), {FEATURES: NumericColumn(values)}, "the recordings"), left_out


def _open(record: EncoderRecord, folder: Location, weights: Path | None) -> Encoder:
    try:
        encoder = open_encoder(record.encoder, str(weights) if weights else record.weights)
    except (ConfigError, StorageError) as error:
        raise StorageError(
            f"The encoder {record.encoder} of {folder} cannot be opened; name its weights by --weights: {error}"
        ) from error
    if encoder.digest != record.digest:
        raise DataError(
            f"The encoder {record.encoder} is not the one that computed the table that {folder} was trained on: "
            f"expected weights of SHA-256 {record.digest}. Received: {encoder.digest}."
        )
    return encoder
