"""Closed-form regressors: the counterpart of `fit_to_factors` for regressors that are solved."""

import keras

from cs_keras.run_files.training import write_metrics
from cs_keras.training.feature_learning.regressors import RegressionData, choose_examples, fit_output_layer
from cs_keras.training.fit import FitResult
from pipelines.training.procedures.job import TrainingJob, speed
from pipelines.training.targets import Matrix, Rows


def solve_for_factors(
    job: TrainingJob,
    head: keras.Model,
    train: tuple[Matrix, Rows],
    validation: tuple[Matrix, Rows],
    unit: str,
) -> tuple[keras.Model, FitResult, tuple[str, ...]]:
    """Solve `head` for the targets of `job` and report its losses; `unit` names its examples.

    A job that was interrupted solves it again, with the same result.

    Parameters
    ----------
    job
        Model to train.
    head
        Features to factors, adapted to all train examples.
    train, validation
        Features of examples, shape (n, n_features), and the track table row of each, shape (n,).
    unit
        ``tracks`` or ``sequences``.

    Returns
    -------
    keras.Model, FitResult, tuple of str
        The solved head, the result of the fit with its one epoch, and notes for readers of the results.
    """
    run, targets = job.run, job.targets.examples
    n = len(train[0])
    chosen = choose_examples(n, run.model, run.seed)
    notes: tuple[str, ...] = ()
    if len(chosen) < n:
        notes = (
            f"its regressor uses {len(chosen)} of {n} train {unit} (models.{run.key}.model.max_examples)",
        )
        job.progress.log(f"{run.key}: {notes[0]}")
    examples = RegressionData(train[0][chosen], targets[train[1][chosen]])
    held_out = RegressionData(validation[0], targets[validation[1]])
    with job.progress.task(f"{run.key}: {run.model.regressor}", targets.shape[1]) as advance:
        solved, fitted = fit_output_layer(head, examples, held_out, run.model, advance)
    (epoch,) = fitted.history
    write_metrics(job.folder, fitted.history)
    job.progress.log(
        f"{run.key}: {run.model.regressor} solved, loss {epoch['loss']:.4f}, validation loss "
        f"{epoch['val_loss']:.4f}, {speed(epoch, unit)}"
    )
    job.watch(1, epoch)
    return solved, fitted, notes
