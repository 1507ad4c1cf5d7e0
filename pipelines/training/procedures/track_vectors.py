"""One vector a track to factors: what all models end with that make one vector of a track before they are trained.

Not every track needs to have one. On one device: a batch of vectors is too little work to share.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from cs_keras.data.batches import ArrayBatches
from cs_keras.training.fit import FitResult
from pipelines.training.procedures.closed_form import solve_for_factors
from pipelines.training.procedures.job import Job, fit_to_factors
from pipelines.training.targets import Matrix, Rows


@dataclasses.dataclass(frozen=True, eq=False)
class TrackVectors:
    """Vectors of those tracks that have one.

    Attributes
    ----------
    values
        Shape (n, n_features), float32.
    rows
        Track table row of each, shape (n,), no two alike.
    """

    values: Matrix
    rows: Rows

    def of(self, rows: Rows) -> "TrackVectors":
        """Return those of `rows` that there are."""
        chosen = np.isin(self.rows, rows)
        return TrackVectors(self.values[chosen], self.rows[chosen])


@dataclasses.dataclass(frozen=True, eq=False)
class Regressed:
    """What `regress` gives.

    Attributes
    ----------
    head
        Vectors to scaled factors, trained or solved.
    fitted
        Its fit.
    predicted
        Scaled factors of the task's unseen tracks, shape (n_unseen, n_factors), float32; for those without a vector
        0, which is the mean of train tracks where factors are standardised.
    notes
        See `pipelines.training.procedures.job.Trained`.
    """

    head: keras.Model
    fitted: FitResult
    predicted: Matrix
    notes: tuple[str, ...]


def regress(job: Job, head: keras.Model, train: TrackVectors, unseen: TrackVectors) -> Regressed:
    """Train or solve `head`, as ``model.regressor`` says, and predict the unseen tracks.

    Parameters
    ----------
    job
        What is learnt.
    head
        (batch, n_features) to (batch, n_factors).
    train, unseen
        Vectors of train tracks, and of unseen ones in the task's order; among these some of validation.
    """
    run, task = job.run, job.task
    notes: tuple[str, ...] = ()
    validation = unseen.of(task.validation)
    if run.model.regressor == "dense":
        regressor = keras.Model(head.input, head.output, name=run.key)  # so that `head` gets no optimizer
        fitted = _fit(job, regressor, train, validation)
    else:
        held_out = (validation.values, validation.rows)
        head, fitted, notes = solve_for_factors(job, head, (train.values, train.rows), held_out, "tracks")
        regressor = head
    predicted = np.zeros((len(task.unseen), task.targets.shape[1]), np.float32)
    has = np.isin(task.unseen, unseen.rows)
    predicted[has] = regressor.predict(unseen.values, run.training.batch_size, verbose=0)
    return Regressed(head, fitted, predicted, notes)


def _fit(job: Job, regressor: keras.Model, train: TrackVectors, validation: TrackVectors) -> FitResult:
    run, examples = job.run, job.lesson.examples
    batches = ArrayBatches(train.values, examples[train.rows], run.training.batch_size, run.seed)
    pairs = (validation.values, examples[validation.rows])
    held_out = tf.data.Dataset.from_tensor_slices(pairs).batch(run.training.batch_size)
    return fit_to_factors(job, regressor, batches, held_out, "tracks")
