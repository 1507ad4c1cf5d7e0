"""Attributes of a table, or the dataset's own genres, encoded as one vector a track; vectors to factors."""

import numpy as np

from cs_keras.data.attributes.encoding import Encoding, fit_encoding
from cs_keras.data.attributes.table import Attributes
from cs_keras.errors import ConfigError, DataError
from cs_keras.models.attributes import build_regressor
from cs_keras.run_files.names import ATTRIBUTES_FILE
from cs_keras.runs import write_json
from cs_keras.training.execution import dtype_policy
from pipelines.training.procedures.job import Job, Trained
from pipelines.training.procedures.track_vectors import TrackVectors, regress
from pipelines.training.requirements import choose_attributes
from pipelines.training.targets import Rows, Task


def train_attributes(job: Job) -> Trained:
    """Fit the encoding to train tracks that have attributes, then the regressor to their vectors."""
    run, task = job.run, job.task
    attributes = choose_attributes(run, task.dataset.tracks, task.attributes)
    if attributes is None:
        raise ConfigError(f"{run.key} hears and learns from no attributes.")
    rows = [own[attributes.has[own]] for own in (task.train, task.unseen)]
    _require_tracks(task, attributes)
    encoding = fit_encoding(attributes.table.take(rows[0]), run.model.max_categories)
    train, unseen = (TrackVectors(encoding.encode(attributes.table.take(own)), own) for own in rows)
    with dtype_policy(run.execution.dtype_policy):
        head = build_regressor(run, task.targets.shape[1], encoding.n_features)
    notes = _notes(job, attributes, encoding)
    regressed = regress(job, head, train, unseen)
    write_json(job.folder / ATTRIBUTES_FILE, encoding.document())
    return Trained(
        regressed.head,
        regressed.fitted,
        regressed.predicted,
        (*notes, *regressed.notes),
        n_train_tracks=len(train.rows),
    )


def _require_tracks(task: Task, attributes: Attributes) -> None:
    for split, rows in (("train", task.train), ("validation", task.validation)):
        if not attributes.has[rows].any():
            raise DataError(
                f"None of {len(rows)} {split} tracks with listening has attributes in {attributes.table.where}: at "
                "least one is needed."
            )


def _notes(job: Job, attributes: Attributes, encoding: Encoding) -> tuple[str, ...]:
    """Return, and tell, what a reader of the results must know of the input."""
    task, has = job.task, attributes.has
    columns = f"{len(encoding.columns)} attribute{'s' * (len(encoding.columns) != 1)}"
    notes = [f"{columns} of {attributes.table.where} as {encoding.n_features} numbers"]
    if n := _n_without(has, task.train):
        notes.append(
            f"{n} of {len(task.train)} train tracks have no attributes and were left out of training"
        )
    if n := _n_without(has, task.unseen):
        notes.append(
            f"{n} of {len(task.unseen)} validation and test tracks have no attributes: the mean is predicted for "
            "them"
        )
    if attributes.n_unknown:
        notes.append(f"{attributes.n_unknown} items of the table are not in the dataset")
    notes += encoding.notes()
    for note in notes:
        job.progress.log(f"{job.run.key}: {note}")
    return tuple(notes)


def _n_without(has: np.ndarray[tuple[int], np.dtype[np.bool_]], rows: Rows) -> int:
    return int(np.count_nonzero(~has[rows]))
