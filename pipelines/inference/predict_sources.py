"""Predictions from whatever a user names: a dataset, recordings, or a table of attributes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cs_keras.data.reader import ReadConfig
from cs_keras.errors import ConfigError
from cs_keras.progress import Progress
from cs_keras.storage.location import Location
from pipelines.inference.features import at_layer
from pipelines.inference.predict import Predicted, predict_dataset, predict_recordings
from pipelines.inference.predict_fusion import predict_fused
from pipelines.inference.predict_items import choose_table, predict_items
from pipelines.inference.prediction_blocks import DatasetTracks
from pipelines.inference.track_vectors import check_suffix
from pipelines.inference.trained_run import TrainedRun, read_run, source_error


def predict_sources(
    run: Location,
    dataset: Location | None,
    files: Sequence[Path],
    out: Location,
    *,
    split: str | None = None,
    decoder: str = "auto",
    features: Mapping[str, Path] | None = None,
    id_column: str | None = None,
    reading: ReadConfig | None = None,
    progress: Progress | None = None,
    beam: Sequence[str] = (),
) -> Predicted:
    """Predict factors from a dataset or else from files: recordings, or the one table that the model takes.

    Parameters
    ----------
    run
        Finished run folder.
    dataset, files
        One of the two is given.
    out, beam
        See `pipelines.inference.predict.predict_dataset`.
    split
        Split of the dataset; None for all tracks.
    decoder
        See `cs_keras.audio.decode.decode`.
    features
        Attributes of the dataset's tracks by the name of their table, for a fusion.
    id_column
        Id column of the table of attributes; None for ``track_id`` or else the first.
    reading
        Settings for a dataset behind a URL.

    Raises
    ------
    ConfigError
        When an argument does not suit the kind of model, or `out` ends neither in ``.npz`` nor in ``.parquet``.
    DataError, StorageError
        Where the function for the kind of model raises them.
    """
    check_suffix(out)
    trained = read_run(run)
    takes_audio, is_fusion = trained.procedure.takes_audio, trained.procedure.is_fusion
    if features and not is_fusion:
        raise ConfigError(f"--features is for a fusion, and the model of {run} is not a fusion.")
    if id_column and is_fusion and not features:
        raise ConfigError("--id-column describes the table of --features, which is missing.")
    if id_column and takes_audio:
        raise ConfigError(f"--id-column is for a model that takes attributes, and that of {run} takes audio.")
    if beam and not takes_audio:
        raise ConfigError(f"--runner is for a model that takes audio, and that of {run} takes attributes.")
    if is_fusion:
        if dataset is None:
            raise source_error(trained, ", ".join(map(str, files)))
        tracks = DatasetTracks(dataset, reading)
        return predict_fused(trained, tracks, split or "all", out, features, id_column, progress)
    if not takes_audio:
        return predict_items(trained, choose_table(trained, dataset, files), out, id_column, progress)
    return _predict_audio(trained, dataset, files, out, split, decoder, reading, progress, beam)


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
    done = _predict_audio(trained, dataset, files, out, split, decoder, reading, progress, ())
    return done, str(trained.layer)


def _predict_audio(
    run: TrainedRun,
    dataset: Location | None,
    files: Sequence[Path],
    out: Location,
    split: str | None,
    decoder: str,
    reading: ReadConfig | None,
    progress: Progress | None,
    beam: Sequence[str],
) -> Predicted:
    if dataset is not None:
        tracks = DatasetTracks(dataset, reading)
        return predict_dataset(run, tracks, split or "all", out, progress, beam)
    return predict_recordings(run, files, decoder, out, progress, beam)
