"""Regression from one vector per track to factors, the last step of several procedures.

Tracks may lack a vector. On one device: a batch of vectors is too little work to share.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from cs_keras.data.batches import ArrayBatches
from cs_keras.training.fit import FitResult
from pipelines.training.procedures.closed_form import solve_for_factors
from pipelines.training.procedures.job import TrainingJob, fit_to_factors
from pipelines.training.targets import Matrix, Rows


@dataclasses.dataclass(frozen=True, eq=False)
class TrackVectors:
    """Vectors of tracks, of which some may be missing.

    Attributes
    ----------
    values
        Shape (n, n_features), float32.
    rows
        Track table row of each, shape (n,), unique.
    """

    values: Matrix
    rows: Rows

    def of(self, rows: Rows) -> "TrackVectors":
        """Select the vectors of `rows`, as far as they exist."""
        chosen = np.isin(self.rows, rows)
        return TrackVectors(self.values[chosen], self.rows[chosen])


@dataclasses.dataclass(frozen=True, eq=False)
class Regressed:
    """Result of `regress`.

    Attributes
    ----------
    head
        Vectors to scaled factors, trained or solved.
    fitted
        Result of the fit.
    predicted
        Scaled factors of unseen tracks, shape (n_unseen, n_factors), float32; 0 for tracks without a vector, the
        mean of train tracks if factors are standardised.
    notes
        See `pipelines.training.procedures.job.TrainedModel`.
    """

    head: keras.Model
    fitted: FitResult
    predicted: Matrix
    notes: tuple[str, ...]


def regress(job: TrainingJob, head: keras.Model, train: TrackVectors, unseen: TrackVectors) -> Regressed:
    """Train or solve `head`, depending on ``model.is_solved``, and predict the unseen tracks.

    Parameters
    ----------
    job
        Model to train.
    head
        Vectors, (batch, n_features), to scaled factors, (batch, n_factors).
    train, unseen
        Vectors of train tracks, and of unseen tracks in their order, which include validation tracks.
    """
    run, data = job.run, job.data
    notes: tuple[str, ...] = ()
    validation = unseen.of(data.validation)
    if run.model.is_solved:
        held_out = (validation.values, validation.rows)
        head, fitted, notes = solve_for_factors(job, head, (train.values, train.rows), held_out, "tracks")
        regressor = head
    else:
        regressor = keras.Model(head.input, head.output, name=run.key)  # `head` itself gets no optimizer
        fitted = _fit(job, regressor, train, validation)
    predicted = np.zeros((len(data.unseen), data.targets.shape[1]), np.float32)
    has = np.isin(data.unseen, unseen.rows)
    predicted[has] = regressor.predict(unseen.values, run.training.batch_size, verbose=0)
    return Regressed(head, fitted, predicted, notes)


def _fit(
    job: TrainingJob, regressor: keras.Model, train: TrackVectors, validation: TrackVectors
) -> FitResult:
    run, examples = job.run, job.targets.examples
    batches = ArrayBatches(train.values, examples[train.rows], run.training.batch_size, run.seed)
    pairs = (validation.values, examples[validation.rows])
    held_out = tf.data.Dataset.from_tensor_slices(pairs).batch(run.training.batch_size)
    return fit_to_factors(job, regressor, batches, held_out, "tracks")
