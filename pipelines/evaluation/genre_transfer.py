"""Genre probabilities of a dataset's tracks by the classifier of a genre-space run."""

import tempfile
from pathlib import Path

import numpy as np

from cs_keras.data.genres import track_genres
from cs_keras.data.reader import ReadConfig
from cs_keras.data.schema import read_tracks
from cs_keras.factors.arrays import read_arrays
from cs_keras.models.genre_space import PROBABILITIES
from cs_keras.progress import Progress
from cs_keras.run_files.genres import GenreProbabilities
from cs_keras.storage.location import Location
from pipelines.inference.features import at_layer
from pipelines.inference.predict import predict_dataset
from pipelines.inference.prediction_blocks import DatasetTracks
from pipelines.inference.trained_run import read_run


def predict_genres(
    run: Location,
    own: GenreProbabilities,
    dataset: Location,
    reading: ReadConfig | None = None,
    progress: Progress | None = None,
) -> GenreProbabilities:
    """Return the genre probabilities of all tracks of a dataset; `is_test` marks those to evaluate.

    Parameters
    ----------
    run
        Finished run folder.
    own
        Genre probabilities of the run's own tracks. If the dataset has any of these, only test tracks of the
        run are marked, else all tracks are.
    dataset
        A dataset with the audio settings of the run's own.
    reading, progress
        Settings for a dataset behind a URL, and the progress display.

    Raises
    ------
    StorageError
        When run or dataset cannot be read.
    DataError
        When the dataset does not fit the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "genres.npz"
        predict_dataset(
            at_layer(read_run(run), PROBABILITIES), DatasetTracks(dataset, reading), "all", out, progress
        )
        arrays = read_arrays(out)
    tracks = read_tracks(dataset)
    row_of = {track_id: row for row, track_id in enumerate(tracks.ids.tolist())}
    genres, ids = track_genres(tracks), arrays["track_ids"]
    shares_tracks = bool(np.isin(ids, own.track_ids).any())
    return GenreProbabilities(
        ids,
        own.genres,
        arrays["features"],
        np.isin(ids, own.track_ids[own.is_test]) if shares_tracks else np.ones(len(ids), np.bool_),
        [genres[row_of[track_id]] for track_id in ids.tolist()],
    )
