"""Evaluation of the genre probabilities of a genre-space run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cs_keras.data.reader import ReadConfig
from cs_keras.errors import DataError
from cs_keras.evaluation.labels.composition import map_genres, parse_composition, rank_by_composition
from cs_keras.evaluation.labels.genre_accuracy import Composition, GenreFindings, evaluate_genres
from cs_keras.factors.tables import open_table
from cs_keras.messages import count
from cs_keras.progress import Progress
from cs_keras.run_files.genres import read_genres
from cs_keras.run_files.names import MODEL_FILE, TRAINING_FILE
from cs_keras.run_files.settings import require_finished
from cs_keras.run_files.training import Training
from cs_keras.storage.location import Location


def describe_genres(
    run: Location,
    track_ids: Sequence[str] = (),
    dataset: Location | None = None,
    reading: ReadConfig | None = None,
    progress: Progress | None = None,
    *,
    names: Path | None = None,
    mix: str = "",
    k: int = 10,
) -> GenreFindings:
    """Evaluate genre probabilities, and select those of some tracks.

    Parameters
    ----------
    run
        Finished run folder.
    track_ids
        Tracks whose genre mixture to return.
    dataset
        Dataset to predict and evaluate; None for the run's own predictions.
    reading, progress
        Settings for a dataset behind a URL, and the progress display.
    names
        Table with columns ``from`` and ``to``: genres of the tracks, and those of the classifier.
    mix, k
        Composition in words, see `parse_composition`, and the number of tracks to find for it.

    Raises
    ------
    ConfigError
        When the composition cannot be read.
    StorageError
        When the run cannot be read.
    DataError
        When there is no such track, or no track has a genre that the classifier knows.
    """
    require_finished(run, skip=[MODEL_FILE])
    predicted = read_genres(run)
    if dataset is not None:
        from pipelines.evaluation.genre_transfer import predict_genres  # TensorFlow, which others do not need

        predicted = predict_genres(run, predicted, dataset, reading, progress)
    labels = predicted.labels
    if names is not None:
        labels = map_genres(labels, _read_names(names), predicted.genres)
    row_of = {track_id: row for row, track_id in enumerate(predicted.track_ids.tolist())}
    for track_id in track_ids:
        if track_id not in row_of:
            raise DataError(
                f"There is no track {track_id!r} among the {len(row_of)} with genre probabilities: expected ids "
                f"such as {str(predicted.track_ids[0])!r}; name the dataset for other tracks than those the run "
                "predicted."
            )
    classifier = Training.read(run).classifier
    if classifier is None:
        raise DataError(f"{run / TRAINING_FILE} lacks classifier.")
    evaluated = np.flatnonzero(predicted.is_test).tolist()
    accuracy = evaluate_genres(
        predicted.probabilities[evaluated],
        predicted.genres,
        [labels[row] for row in evaluated],
        max(predicted.genres, key=lambda name: classifier.genres[name]),
    )

    def describe(row: int) -> Composition:
        track_id, own = str(predicted.track_ids[row]), tuple(labels[row])
        return Composition(track_id, predicted.probabilities[row], own)

    nearest, distances = np.zeros(0, np.int64), np.zeros(0)
    if mix:
        wanted = parse_composition(mix, predicted.genres)
        nearest, distances = rank_by_composition(predicted.probabilities, wanted, k)
    tracks = f"{count(len(evaluated), 'test track')} that the run was not trained on"
    if dataset is not None and predicted.is_test.all():
        tracks = f"all {count(len(evaluated), 'track')} of {dataset}"
    return GenreFindings(
        accuracy,
        tuple(describe(row_of[track_id]) for track_id in track_ids),
        tracks,
        classifier.n_train_tracks,
        mix,
        tuple(map(describe, nearest.tolist())),
        tuple(distances.tolist()),
    )


def _read_names(path: Path) -> dict[str, str]:
    """Return a table of genre names: by another collection's the classifier's."""
    file = open_table(path)
    missing = {"from", "to"} - set(file.column_names)
    if missing:
        raise DataError(
            f"{path}: expected the columns from and to. Received: {', '.join(file.column_names)}."
        )
    table = file.read(["from", "to"]).to_pydict()
    pairs = [
        (str(a or "").strip(), str(b or "").strip()) for a, b in zip(table["from"], table["to"], strict=True)
    ]
    unnamed = [name for name, to in pairs if not to]
    if unnamed:
        raise DataError(
            f"{path}: expected a genre of the classifier in each row, in the column to, and no rows for genres "
            f"that it does not have. Received: an empty cell for {unnamed[0]!r}."
        )
    if len({name.casefold() for name, _ in pairs}) < len(pairs):
        raise DataError(f"{path}: expected every genre once in the column from. Received: one of them twice.")
    return dict(pairs)
