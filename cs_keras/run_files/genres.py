"""``genres.npz``: genre probabilities of the tracks that a run was not trained on, with their own genres."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.run_files.names import GENRES_FILE
from cs_keras.runs import read_npz, write_npz
from cs_keras.storage.location import Location, is_file


@dataclass(frozen=True, eq=False)
class GenreProbabilities:
    """Genre probabilities of tracks.

    Attributes
    ----------
    track_ids : ndarray of str, shape (n_tracks,)
    genres : tuple of str
        Genres of the columns.
    probabilities : ndarray of float32, shape (n_tracks, n_genres)
    is_test : ndarray of bool, shape (n_tracks,)
        Whether a track is in the test split, to evaluate the probabilities on.
    labels : sequence of sequence of str
        Genres of each track.
    """

    track_ids: npt.NDArray[np.str_]
    genres: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    is_test: npt.NDArray[np.bool_]
    labels: Sequence[Sequence[str]]


def write_genres(run: Location, predicted: GenreProbabilities) -> None:
    """Write ``genres.npz`` of a run."""
    entries = [(row, name) for row, names in enumerate(predicted.labels) for name in names]
    write_npz(
        run / GENRES_FILE,
        track_ids=predicted.track_ids,
        genres=np.array(predicted.genres, np.str_),
        probabilities=predicted.probabilities,
        is_test=predicted.is_test,
        label_rows=np.array([row for row, _ in entries], np.int64),
        labels=np.array([name for _, name in entries], np.str_),
    )


def read_genres(run: Location) -> GenreProbabilities:
    """Read ``genres.npz`` of a run.

    Raises
    ------
    StorageError
        When the file cannot be read.
    DataError
        When there is none, because the model of the run does not predict genres, or its arrays do not match.
    """
    path = run / GENRES_FILE
    if not is_file(path):
        raise DataError(
            f"The model of {run} does not predict genres: expected a run of genre-space, which has {path.name}."
        )
    arrays = read_npz(path, "track_ids", "genres", "probabilities", "is_test", "label_rows", "labels")
    ids, probabilities, genres = arrays["track_ids"], arrays["probabilities"], arrays["genres"]
    rows = arrays["label_rows"].tolist()
    if probabilities.shape != (len(ids), len(genres)) or arrays["is_test"].shape != ids.shape:
        raise DataError(
            f"{path}: expected probabilities of shape ({len(ids)}, {len(genres)}). Received: {probabilities.shape}."
        )
    labels: list[list[str]] = [[] for _ in ids]
    for row, name in zip(rows, arrays["labels"].tolist(), strict=True):
        labels[row].append(name)
    return GenreProbabilities(ids, tuple(genres.tolist()), probabilities, arrays["is_test"], labels)
