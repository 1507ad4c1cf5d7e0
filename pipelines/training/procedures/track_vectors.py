"""Regression from one vector per track to factors, the last step of several procedures.

Tracks may lack a vector. On one device: a batch of vectors is too little work to share.
"""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import scipy.special
import tensorflow as tf

from cs_keras.data.batches import ArrayBatches
from cs_keras.models.distribution import moments_model, split_moments, trained_part
from cs_keras.models.regressors import join_stages
from cs_keras.training.feature_learning.regressors import apply_head
from pipelines.training.procedures.job import TrainedModel, TrainingJob, fit_to_factors, solve_for_factors
from pipelines.training.targets import Matrix, Rows, TrainingData

STANDARDISED = 1e-5  # means below it are rounding errors of 0


@dataclasses.dataclass(frozen=True, eq=False)
class TrackVectors:
    """Vectors of tracks, shape (n, n_features), float32, and their track table rows, shape (n,), unique."""

    values: Matrix
    rows: Rows

    def of(self, rows: Rows) -> "TrackVectors":
        """Select the vectors of `rows`, as far as they exist."""
        chosen = np.isin(self.rows, rows)
        return TrackVectors(self.values[chosen], self.rows[chosen])


def split_vectors(values: Matrix, data: TrainingData) -> tuple[TrackVectors, TrackVectors]:
    """Split the vectors of all train tracks, followed by those of all unseen tracks."""
    train, unseen = np.split(values, [len(data.train)])
    return TrackVectors(train, data.train), TrackVectors(unseen, data.unseen)


def regress(
    job: TrainingJob,
    head: keras.Model,
    train: TrackVectors,
    unseen: TrackVectors,
    stages: Sequence[keras.Model] = (),
    notes: Sequence[str] = (),
    fit_validation: bool = False,
) -> TrainedModel:
    """Train or solve `head`, depending on ``model.is_solved``, and predict the unseen tracks.

    Parameters
    ----------
    job
        Model to train.
    head
        Vectors, (batch, n_features), to scaled factors, (batch, n_factors).
    train, unseen
        Vectors of train tracks, and of unseen tracks in their order, which include validation tracks.
    stages
        Models before `head` in the whole model.
    notes
        Notes that precede those of the regression.
    fit_validation
        See `pipelines.training.procedures.job.solve_for_factors`; for a head that is solved.

    Returns
    -------
    TrainedModel
        It predicts the mean of train tracks for tracks without a vector.
    """
    run, data, examples = job.run, job.data, job.targets.examples
    held_out, cross_validated = unseen.of(data.validation), None
    if run.model.is_solved:
        pairs = [(one.values, one.rows) for one in (train, held_out)]
        solved = solve_for_factors(job, head, pairs[0], pairs[1], "tracks", fit_validation)
        fitted, cross_validated = solved.fitted, solved.cross_validated
        regressor, head, notes = solved.head, solved.head, (*notes, *solved.notes)
    else:
        network = trained_part(head)
        # `head` itself gets no optimizer.
        network = keras.Model(network.input, network.output, name=run.network_name)
        batch_size = run.training.batch_size
        batches = ArrayBatches(train.values, examples[train.rows], batch_size, run.seed)
        validation = tf.data.Dataset.from_tensor_slices((held_out.values, examples[held_out.rows]))
        fitted = fit_to_factors(
            job,
            network,
            batches,
            validation.batch(batch_size),
            held_out.rows,
            lambda: apply_head(head, held_out.values),
            "tracks",
        )
        regressor = moments_model(head) if run.training.n_distributions else network
    targets = data.targets[data.train]
    unknown = np.hstack(
        [mean_output(targets, run.training.loss), np.square(targets).mean(axis=0)]
    )  # as moments
    predicted = np.tile(np.float32(unknown[: regressor.output_shape[1]]), (len(data.unseen), 1))
    has = np.isin(data.unseen, unseen.rows)
    predicted[has] = regressor.predict(unseen.values, run.training.batch_size, verbose=0)
    mean, deviation = split_moments(predicted, targets.shape[1])
    n_train = len(train.rows)
    if cross_validated is not None:
        mean[np.isin(data.unseen, held_out.rows)] = cross_validated
        n_train += len(held_out.rows)
    model = join_stages(run.network_name, *stages, head) if stages else head
    return TrainedModel(model, fitted, mean, n_train, tuple(notes), deviation)


def mean_output(targets: Matrix, loss: str) -> Matrix:
    """Return the model output that stands for the mean of `targets`, shape (n_tracks, n_factors), as (n_factors,).

    It is exactly 0 for standardised factors. By binary cross-entropy it is the logarithm of odds, with half a track
    more that has, and half a one that lacks, each label.
    """
    mean = targets.mean(axis=0, dtype=np.float64)
    if loss == "binary_crossentropy":
        return np.asarray(scipy.special.logit((mean * len(targets) + 0.5) / (len(targets) + 1)), np.float32)
    return np.asarray(np.where(np.abs(mean) < STANDARDISED, 0, mean), np.float32)
