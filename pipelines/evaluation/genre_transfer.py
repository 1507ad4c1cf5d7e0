"""What a run's classifier tells of a dataset's tracks: of its own, or of another collection."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from cs_keras.data.genres import track_genres
from cs_keras.data.reader import ReadConfig
from cs_keras.data.schema import read_tracks
from cs_keras.factors.arrays import read_arrays
from cs_keras.models.genre_space import GENRES
from cs_keras.progress import Progress
from cs_keras.storage.location import Location
from pipelines.evaluation.genres import GenrePredictions
from pipelines.inference.features import at_layer
from pipelines.inference.predict import predict_dataset
from pipelines.inference.prediction_blocks import DatasetTracks
from pipelines.inference.trained_run import read_run


def predict_genres(
    run: Location,
    own: GenrePredictions,
    dataset: Location,
    reading: ReadConfig | None = None,
    progress: Progress | None = None,
) -> GenrePredictions:
    """Return what a run's classifier says of all tracks of a dataset.

    Parameters
    ----------
    run
        Finished run folder.
    own
        Its predictions of its own tracks, see `read_genre_predictions`. Where the dataset holds any of
        these, it is the run's own or shares tracks with it: only test tracks of the run are evaluated.
    dataset
        Whose audio settings are those of the run's.
    reading
        How a dataset behind a URL is read.
    progress
        Where to report.

    Raises
    ------
    StorageError
        When run or dataset cannot be read.
    DataError
        When the dataset does not fit the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "told.npz"
        predict_dataset(
            at_layer(read_run(run), GENRES), DatasetTracks(dataset, reading), "all", out, progress
        )
        told = read_arrays(out)
    tracks = read_tracks(dataset)
    row_of = {track_id: row for row, track_id in enumerate(tracks.ids.tolist())}
    genres = track_genres(tracks)
    ids = told["track_ids"]
    labels = tuple(genres[row_of[track_id]] for track_id in ids.tolist())
    is_judged, judged = np.ones(len(ids), np.bool_), f"all {len(ids)} tracks of {dataset}"
    if np.isin(ids, own.ids).any():
        is_judged, judged = np.isin(ids, own.ids[own.is_judged]), own.judged
    return dataclasses.replace(
        own, ids=ids, probabilities=told["features"], labels=labels, is_judged=is_judged, judged=judged
    )
