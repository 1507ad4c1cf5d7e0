"""Predicting factors of recordings, by a model of any kind that can take them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cs_keras.errors import ConfigError
from cs_keras.models.declaration import Input
from cs_keras.models.registry import split_tables
from cs_keras.progress import Progress, SilentProgress
from cs_keras.storage.location import Location
from pipelines.inference.embedded import embed_recordings, is_embedded
from pipelines.inference.predict import Outputs, Predicted, apply_in_blocks, list_recordings, write_predicted
from pipelines.inference.predict_artists import apply_with_artists, name_artists, open_content
from pipelines.inference.predict_fusion import RecordingInputs, apply_fusion, as_run, open_branches
from pipelines.inference.predict_items import TableFiles, apply_to_items
from pipelines.inference.prediction_blocks import Recordings
from pipelines.inference.trained_run import TrainedRun, source_error


def predict_recordings(
    run: TrainedRun,
    audio: Iterable[Path],
    decoder: str,
    out: Location,
    progress: Progress | None = None,
    beam: Sequence[str] = (),
    tables: TableFiles | None = None,
    artist: str | None = None,
) -> Predicted:
    """Predict the factors of recordings, in their order; except unusable ones.

    Parameters
    ----------
    audio
        Audio files and folders; see `cs_keras.data.catalogue.find_audio` for the ids.
    decoder
        See `cs_keras.audio.decode.decode`.
    tables
        Attributes of recordings, for a fusion; and weights of encoders.
    artist
        Artist of the recordings, for a model of artists; None for those that their tags or folders name.

    See `pipelines.inference.predict.predict_dataset` for the others.

    Raises
    ------
    ConfigError
        When `out` ends neither in ``.npz`` nor in ``.parquet``, or the model cannot take recordings.
    DataError
        When two recordings have the same id, or none can be used.
    StorageError
        When files cannot be read or written.
    """
    progress, files = progress or SilentProgress(), list_recordings(audio)
    return write_predicted(
        run,
        out,
        lambda parts: apply_to_recordings(run, files, decoder, parts, progress, beam, tables, artist),
    )


def check_tables(run: TrainedRun, tables: TableFiles) -> None:
    """Raise ConfigError where files are given for a table that the model of `run` does not take."""
    folders = _list_tables(run)
    encoded = [name for name, folder in folders.items() if is_embedded(folder)]
    for option, given, known, kind in (
        ("--features", tables.features, list(folders), "attributes"),
        ("--weights", tables.weights, encoded, "vectors of an encoder"),
    ):
        is_for_all = given is tables.weights and encoded  # weights without a name
        unknown = [name for name in given if name not in known and (name or not is_for_all)]
        if unknown:
            names = ", ".join(name or "one without a name" for name in known) or "none"
            raise ConfigError(
                f"{option}: tables of {kind} that the model of {run.folder} takes: {names}. Received: "
                f"{unknown[0] or 'one without a name'}."
            )


def _list_tables(run: TrainedRun) -> dict[str, Location]:
    """Return the folders of models on tables of attributes, by the name of the table."""
    if run.procedure.takes is Input.ATTRIBUTES:
        return dict.fromkeys(split_tables(run.table), run.folder)
    if run.procedure.is_fusion:
        branches = [branch for branch in open_branches(run) if branch.takes_table]
        return {name: branch.folder for branch in branches for name in split_tables(branch.table)}
    content = open_content(run) if run.procedure.takes_artists else None
    return {} if content is None else _list_tables(as_run(content, run))


def apply_to_recordings(
    run: TrainedRun,
    files: Mapping[str, Path],
    decoder: str,
    parts: Location,
    progress: Progress,
    beam: Sequence[str] = (),
    tables: TableFiles | None = None,
    artist: str | None = None,
) -> Outputs:
    """Apply a model to recordings by id: audio models, fusions, and models on a table that an encoder computed.

    See `predict_recordings` for `tables` and `artist`, and `pipelines.inference.predict.apply_in_blocks` for
    `parts` and `beam`.

    Raises
    ------
    ConfigError
        When the model takes attributes that no encoder computed, or genres.
    """
    tables = tables or TableFiles()
    if run.procedure.takes_audio:
        source = Recordings(run.signature.audio, run.signature.dtype, decoder)
        return apply_in_blocks(run, source, files, parts, progress, beam)
    if run.procedure.takes_artists:
        inputs = RecordingInputs(files, decoder, tables, progress)
        return apply_with_artists(run, inputs, name_artists(files, artist), parts, progress)
    if run.procedure.is_fusion:
        return apply_fusion(run, RecordingInputs(files, decoder, tables, progress), parts, progress)
    if not is_embedded(run.folder):
        raise source_error(run, "recordings")
    names = split_tables(run.table)
    table, left_out = embed_recordings(run.folder, names, files, decoder, tables, progress)
    known = table.take(np.flatnonzero(~table.is_empty))
    return known.ids, apply_to_items(run, known), left_out
