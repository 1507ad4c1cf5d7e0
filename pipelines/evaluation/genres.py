"""What a run of a genre space told of its tracks, held against their genres."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError, StorageError
from cs_keras.evaluation.labels.genre_accuracy import Composition, GenreFindings, evaluate_genres
from cs_keras.factors.arrays import check_ids, read_arrays, require_arrays
from cs_keras.run_files.names import GENRES_FILE, TRAINING_FILE
from cs_keras.runs import DONE, read_json
from cs_keras.storage.location import Location, is_file

_ARRAYS = ("track_ids", "genres", "probabilities", "is_test", "label_rows", "labels")

Ids = npt.NDArray[np.str_]


@dataclasses.dataclass(frozen=True, eq=False)
class GenrePredictions:
    """What a classifier says of tracks.

    Attributes
    ----------
    ids, probabilities
        Shapes (n,) and (n, n_genres).
    genres
        Of the columns.
    labels
        Genres of each track.
    is_judged
        Which of the tracks are to be judged, shape (n,).
    judged
        The same in words.
    """

    ids: Ids
    probabilities: npt.NDArray[np.float32]
    genres: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    is_judged: npt.NDArray[np.bool_]
    judged: str


def read_genre_predictions(run: Location) -> GenrePredictions:
    """Return what a finished run told of its validation and test tracks; the test tracks are to be judged.

    Raises
    ------
    StorageError
        When `run` is not a finished run, or cannot be read.
    DataError
        When its model tells no genres.
    """
    if not is_file(run / DONE):
        raise StorageError(
            f"{run} is not a finished run: expected a run folder with a file {DONE}, as "
            "`cs-keras run-baselines` leaves it."
        )
    path = run / GENRES_FILE
    if not is_file(path):
        raise DataError(
            f"The model of {run} tells no genres: expected a run of genre-space, which has {path.name}."
        )
    arrays = read_arrays(path)
    require_arrays(arrays, _ARRAYS, path)
    ids, is_test = arrays["track_ids"], arrays["is_test"]
    check_ids(ids, "track_ids", path)
    labels: list[list[str]] = [[] for _ in ids]
    for row, name in zip(arrays["label_rows"].tolist(), arrays["labels"].tolist(), strict=True):
        labels[row].append(name)
    return GenrePredictions(
        ids,
        arrays["probabilities"],
        tuple(arrays["genres"].tolist()),
        tuple(map(tuple, labels)),
        is_test,
        f"{int(is_test.sum())} test tracks that the run was not trained on",
    )


def describe_genres(run: Location, told: GenrePredictions, track_ids: Sequence[str] = ()) -> GenreFindings:
    """Evaluate what was told of tracks, and pick out what some of them are made of.

    Parameters
    ----------
    run
        Finished run folder.
    told
        Of `read_genre_predictions` or `pipelines.evaluation.genre_transfer.predict_genres`.
    track_ids
        Of the tracks whose composition is asked for.

    Raises
    ------
    StorageError
        When the run cannot be read.
    DataError
        When there is no such track, or none has a genre that can be told.
    """
    row_of = {track_id: row for row, track_id in enumerate(told.ids.tolist())}
    for track_id in track_ids:
        if track_id not in row_of:
            raise DataError(
                f"There is no track {track_id!r} among the {len(row_of)} that genres were told of: expected ids "
                f"such as {str(told.ids[0])!r}; name the dataset for other tracks than those the run predicted."
            )
    counts = _train_counts(run)
    judged = np.flatnonzero(told.is_judged).tolist()
    accuracy = evaluate_genres(
        told.probabilities[judged],
        told.genres,
        [told.labels[row] for row in judged],
        max(told.genres, key=lambda name: counts["genres"][name]),
    )
    rows = [row_of[track_id] for track_id in track_ids]
    compositions = tuple(Composition(str(told.ids[r]), told.probabilities[r], told.labels[r]) for r in rows)
    return GenreFindings(accuracy, compositions, told.judged, counts["n_train_tracks"])


def _train_counts(run: Location) -> dict[str, Any]:
    """Return how many train tracks the classifier learnt from, in all and of each genre."""
    path = run / TRAINING_FILE
    try:
        counts: dict[str, Any] = read_json(path)["classifier"]
        return {"genres": dict(counts["genres"]), "n_train_tracks": int(counts["n_train_tracks"])}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not as `cs-keras run-baselines` writes it: {error}.") from error
