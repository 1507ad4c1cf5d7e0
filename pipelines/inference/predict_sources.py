"""Predictions from whatever a user names: a dataset, recordings, or a table of attributes."""

from collections.abc import Sequence
from pathlib import Path

from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.errors import ConfigError
from cs_keras.models.registry import split_tables
from cs_keras.progress import Progress
from cs_keras.storage.location import Location
from pipelines.inference.embedded import is_embedded
from pipelines.inference.features import at_layer
from pipelines.inference.predict import Predicted, predict_dataset
from pipelines.inference.predict_artists import predict_artists, predict_artists_of_items
from pipelines.inference.predict_fusion import predict_fused
from pipelines.inference.predict_items import TableFiles, choose_table, is_audio, predict_items
from pipelines.inference.predict_recordings import check_tables, predict_recordings
from pipelines.inference.prediction_blocks import DatasetTracks
from pipelines.inference.track_vectors import check_suffix
from pipelines.inference.trained_run import TrainedRun, read_run, source_error


def predict_sources(
    run: TrainedRun,
    dataset: Location | None,
    files: Sequence[Path],
    out: Location,
    *,
    split: str | None = None,
    decoder: str = "auto",
    tables: TableFiles | None = None,
    reading: ReadConfig | None = None,
    progress: Progress | None = None,
    beam: Sequence[str] = (),
    artist: str | None = None,
) -> Predicted:
    """Predict factors from a dataset or else from files: recordings, or the one table that the model takes.

    Parameters
    ----------
    run
        As `pipelines.inference.trained_run.read_run` opens it.
    dataset, files
        One of the two is given.
    out, beam
        See `pipelines.inference.predict.predict_dataset`.
    split
        Split of the dataset; None for all tracks.
    decoder
        See `cs_keras.audio.decode.decode`.
    tables
        Attributes of the tracks, for a fusion or a model that joins tables; weights of encoders; and the id column
        of either kind of table.
    reading
        Settings for a dataset behind a URL.
    artist
        Artist of recordings or items, for a model of artists; a dataset names its own.

    Raises
    ------
    ConfigError
        When an argument does not suit the kind of model, or `out` ends neither in ``.npz`` nor in ``.parquet``.
    DataError, StorageError
        Where the function for the kind of model raises them.
    """
    check_suffix(out)
    takes_audio, is_fusion = run.procedure.takes_audio, run.procedure.is_fusion
    takes_artists = run.procedure.takes_artists
    tables = tables or TableFiles()
    if artist is not None and (dataset is not None or not takes_artists):
        reason = "a dataset names its own" if takes_artists else f"the model of {run.folder} is not one"
        raise ConfigError(f"--artist is for recordings and tables and a model of artists, and {reason}.")
    joined = split_tables(run.table)[1:] and not (takes_audio or is_fusion or takes_artists)
    if tables.features and not (is_fusion or takes_artists or joined):
        raise ConfigError(
            "--features is for a fusion, a model of artists or one that joins tables, and the model of "
            f"{run.folder} is neither."
        )
    if tables.id_column and is_fusion and not tables.features:
        raise ConfigError("--id-column describes the table of --features, which is missing.")
    if tables.id_column and takes_audio:
        raise ConfigError(
            f"--id-column is for a model that takes attributes, and that of {run.folder} takes audio."
        )
    if beam and not takes_audio:
        raise ConfigError(
            f"--runner is for a model that takes audio, and that of {run.folder} takes other input."
        )
    check_tables(run, tables)
    may_take_audio = takes_artists or is_embedded(run.folder)
    if dataset is None and (takes_audio or is_fusion or (may_take_audio and any(map(is_audio, files)))):
        return predict_recordings(run, files, decoder, out, progress, beam, tables, artist)
    if takes_artists:
        if dataset is None:
            path = choose_table(run, dataset, files)
            return predict_artists_of_items(run, path, out, tables.id_column, artist, progress)
        return predict_artists(run, DatasetTracks(dataset, reading), split or "all", out, tables, progress)
    if joined:
        if dataset is None:
            raise source_error(run, ", ".join(map(str, files)))
        return predict_items(run, tables, out, progress, Dataset(dataset, reading), split or "all")
    if not (takes_audio or is_fusion):
        table = TableFiles({run.table: choose_table(run, dataset, files)}, tables.id_column)
        return predict_items(run, table, out, progress)
    assert dataset is not None
    tracks = DatasetTracks(dataset, reading)
    if is_fusion:
        return predict_fused(run, tracks, split or "all", out, tables, progress)
    return predict_dataset(run, tracks, split or "all", out, progress, beam)


def extract_features(
    run: Location,
    layer: str | None,
    dataset: Location | None,
    files: Sequence[Path],
    out: Location,
    *,
    split: str | None = None,
    decoder: str = "auto",
    reading: ReadConfig | None = None,
    progress: Progress | None = None,
) -> tuple[Predicted, str]:
    """Write a hidden layer's activations, and return what was written and the name of the layer.

    `layer` is as in `pipelines.inference.features.at_layer`; see `predict_sources` for the rest.
    """
    check_suffix(out)
    trained = at_layer(read_run(run), layer)
    if dataset is None:
        done = predict_recordings(trained, files, decoder, out, progress)
    else:
        done = predict_dataset(trained, DatasetTracks(dataset, reading), split or "all", out, progress)
    return done, str(trained.layer)
