"""Input and output of training procedures, and the fits that they end with."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cs_keras.errors import DataError
from cs_keras.evaluation.objective import (
    ValidationData,
    measure_objective,
    parse_objective,
    require_measurable,
)
from cs_keras.factors.store import Factors
from cs_keras.models.regressors import OUTPUT
from cs_keras.progress import Progress
from cs_keras.run_files.names import WORK_FOLDER
from cs_keras.run_files.training import ClassifierTraining, EmbeddingTraining, write_metrics
from cs_keras.runs import read_npz, write_npz
from cs_keras.training.batch_distribution import Batches
from cs_keras.training.checkpoints import Epoch
from cs_keras.training.feature_learning.boosted_trees import BoostedTrees, boost_trees
from cs_keras.training.feature_learning.kernel_ridge import (
    PENALTIES,
    WIDTHS,
    KernelRidge,
    group_folds,
    solve_kernel_ridge,
)
from cs_keras.training.feature_learning.regressors import (
    Doubles,
    RegressionData,
    Solution,
    apply_head,
    choose_examples,
    fit_output_layer,
)
from cs_keras.training.fit import FitResult, fit
from pipelines.training.feature_als import solve_feature_als
from pipelines.training.objectives import TrainingTargets
from pipelines.training.requirements import warn_of_few_validation_tracks
from pipelines.training.run_config import RunConfig
from pipelines.training.targets import Matrix, Rows, TrainingData

MUCH_WAITING = 0.3  # share of the time of an epoch

Watch = Callable[[int, Epoch], None]


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingJob:
    """One model to train, in the run folder `folder`; `shared` is the folder of all runs, which share cached work.

    Training pauses after `until` epochs; None trains all that the settings name. `watch` is called after each epoch
    with its number, from 1, and its metrics, and ends the training by raising.
    """

    run: RunConfig
    data: TrainingData
    targets: TrainingTargets
    factors: Factors
    folder: Path
    shared: Path
    progress: Progress
    until: int | None = None
    watch: Watch = lambda number, epoch: None

    @property
    def work(self) -> Path:
        """Folder for files that are removed when the run is finished."""
        return self.folder / WORK_FOLDER

    def log(self, *texts: str) -> None:
        """Report messages about this model."""
        for text in texts:
            self.progress.log(f"{self.run.key}: {text}")


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """Result of a procedure.

    Attributes
    ----------
    model
        The whole model, from input to scaled factors.
    fitted
        Result of the fit of the regressor.
    predicted
        Scaled factors of the data's unseen tracks, shape (n_unseen, n_factors), float32.
    n_train_tracks
        Number of train tracks that were used.
    notes
        Remarks for readers of the results, without full stops.
    deviation
        Standard deviations of `predicted`, of the same shape; None where the model predicts none.
    coordinates
        Positions of unseen tracks in an embedding space of the model, whose Euclidean distance is its similarity,
        shape (n_unseen, n), float32; None where similarity is that of factors.
    embedding, classifier
        Training of the embedding or of the genre classifier, where there is one.
    branches
        Summaries of models that were trained first, by key, JSON-ready, where there are any.
    """

    model: keras.Model
    fitted: FitResult
    predicted: Matrix
    n_train_tracks: int
    notes: tuple[str, ...] = ()
    deviation: Matrix | None = None
    coordinates: Matrix | None = None
    embedding: EmbeddingTraining | None = None
    classifier: ClassifierTraining | None = None
    branches: dict[str, dict[str, Any]] | None = None

    @property
    def seconds(self) -> float:
        """Time spent in epochs, including those of models that were trained first."""
        before = [first.seconds for first in (self.embedding, self.classifier) if first]
        branches = [float(branch["seconds"]) for branch in (self.branches or {}).values()]
        return self.fitted.seconds + sum(before) + sum(branches)

    @property
    def summary(self) -> dict[str, Any]:
        """Summary of the training of a model that another one builds on, JSON-ready."""
        return {
            "n_train_tracks": self.n_train_tracks,
            "epochs": len(self.fitted.history),
            "best_epoch": self.fitted.best_epoch,
            "val_loss": self.fitted.history[self.fitted.best_epoch - 1]["val_loss"],
            "seconds": self.seconds,
        }


def fit_to_factors(
    job: TrainingJob,
    model: keras.Model,
    batches: Batches,
    validation: tf.data.Dataset,
    rows: Rows,
    predict: Callable[[], Matrix],
    unit: str = "sequences",
) -> FitResult:
    """Fit `model` to the targets of `job` in its run folder, and report each epoch; `unit` names its examples.

    `rows` are the validation tracks, and `predict` returns their outputs, shape (n, n_outputs), for the monitored
    metric; `validation` are their batches.
    """
    run = job.run
    measure = _make_measure(job, rows, predict)

    def report_epoch(number: int, epoch: Epoch) -> None:
        monitored = f", {run.training.monitor} {epoch[run.training.monitor]:.4f}" if measure else ""
        job.log(f"epoch {number} of {run.training.epochs}, {describe_losses(epoch)}{monitored}")
        job.log(*describe_waiting(epoch, unit))
        job.watch(number, epoch)

    return fit(
        model,
        batches,
        validation,
        run.training,
        job.folder,
        report_epoch,
        run.execution.jit,
        job.targets.objective,
        job.until,
        measure,
        run.model.pretrained_layers,
        job.progress,
        run.key,
    )


def _make_measure(job: TrainingJob, rows: Rows, predict: Callable[[], Matrix]) -> Callable[[], float] | None:
    """Return a function that measures ``training.monitor``; None for the validation loss."""
    objective, data = parse_objective(job.run.training.monitor), job.data
    if objective.kind == "loss":
        return None
    validation = ValidationData(
        data.item_factors[rows],
        data.targets[rows],
        job.factors.playlist_factors,
        None,
        data.dataset.tracks.artist_numbers[rows],
    )
    require_measurable(objective, validation)

    def measure() -> float:
        scaled = predict()[:, : data.targets.shape[1]]  # without extra factors
        if not np.isfinite(scaled).all():
            return float("nan")
        predicted = job.factors.scaler.inverse(scaled)
        return float(np.mean(measure_objective(objective, validation, predicted, scaled)))

    return measure


@dataclasses.dataclass(frozen=True, eq=False)
class SolvedHead:
    """A regressor that was solved, its fit of one epoch, and notes.

    `cross_validated` are predictions of validation examples, shape (n, n_factors), each by a fit without those of
    its fold, where the regressor was fitted to them too; None where it was not.
    """

    head: keras.Model
    fitted: FitResult
    notes: tuple[str, ...]
    cross_validated: Matrix | None = None


def solve_for_factors(
    job: TrainingJob,
    head: keras.Model,
    train: tuple[Matrix, Rows],
    validation: tuple[Matrix, Rows],
    unit: str,
    fit_validation: bool = False,
) -> SolvedHead:
    """Solve `head` in closed form for the targets of `job`, and report its losses; `unit` names its examples.

    `head` maps features to factors and is adapted to all train examples. `train` and `validation` are features of
    examples, shape (n, n_features), and the track table row of each, shape (n,). With `fit_validation`, a kernel
    ridge regression is fitted to both. A job that was interrupted solves it again, with the same result.
    """
    run, targets = job.run, job.targets.examples
    n_train = len(train[0])
    if fit_validation:
        train = np.concatenate([train[0], validation[0]]), np.concatenate([train[1], validation[1]])
    n = len(train[0])
    chosen = choose_examples(n, run.model, run.seed)
    notes: tuple[str, ...] = ()
    if len(chosen) < n:
        notes = (
            f"its regressor uses {len(chosen)} of {n} {unit} to train on (models.{run.key}.model.max_examples)",
        )
        job.log(*notes)
    examples = RegressionData(train[0][chosen], targets[train[1][chosen]])
    held_out = RegressionData(validation[0], targets[validation[1]])
    with job.progress.task(f"{run.key}: {run.model.regressor}", targets.shape[1]) as advance:
        rows = train[1][chosen]
        chosen_by: list[str] = []
        cross_validated: list[Doubles] = []  # predictions of examples
        solve: Callable[[Doubles], Solution] | None = None
        if run.model.regressor == "ials":
            solve = functools.partial(solve_feature_als, job.data, job.factors, run.model, rows)
        elif run.model.regressor == "kernel_ridge":
            own = rows, examples.targets
            solve = functools.partial(_solve_kernel_ridge, job, *own, chosen_by, cross_validated)
        elif run.model.regressor == "trees":
            inputs = apply_head(keras.Model(head.input, head.get_layer(OUTPUT).input), validation[0])
            unseen = inputs, validation[1]
            solve = functools.partial(_solve_trees, job, examples.targets, unseen, chosen_by, advance)
        solved, fitted = fit_output_layer(head, examples, held_out, run.model, advance, solve)
    job.log(*chosen_by)
    (epoch,) = fitted.history
    predicted = None
    if fit_validation:
        predicted, is_validation = apply_head(solved, held_out.inputs), chosen >= n_train
        predicted[chosen[is_validation] - n_train] = cross_validated[0][is_validation]
        epoch["val_loss"] = float(np.mean(np.square(predicted - held_out.targets), dtype=np.float64))
    write_metrics(job.folder, fitted.history)
    job.log(f"{run.model.regressor} solved, {describe_losses(epoch)}")
    job.watch(1, epoch)
    return SolvedHead(solved, fitted, (*notes, *chosen_by), predicted)


def _solve_kernel_ridge(
    job: TrainingJob,
    rows: Rows,
    targets: Matrix,
    notes: list[str],
    cross_validated: list[Doubles],
    x: Doubles,
) -> KernelRidge:
    """Choose and solve a kernel ridge regression of examples `x` by ``training.monitor`` of cross-validated tracks.

    `rows` and `targets` are the track table row of each example and its targets; `notes` receives the choice, and
    `cross_validated` the predictions of examples.
    """
    artists, tracks = job.data.dataset.tracks.artist_numbers, np.unique(rows)
    groups = np.where(artists[rows] >= 0, artists[rows], artists.max() + 1 + rows)
    folds = group_folds(groups, job.run.seed)
    if len(np.unique(folds)) < 2:
        raise DataError(
            f"model.regressor = kernel_ridge needs train tracks of at least two artists. Received: {len(tracks)} "
            "train tracks of one."
        )
    measure = _make_example_measure(job, rows, targets)
    solution = solve_kernel_ridge(x, targets.astype(np.float64), folds, measure)
    cross_validated.append(solution.held_out)
    n_validation = np.count_nonzero(np.isin(tracks, job.data.validation))
    and_validation = f", {n_validation} of them validation tracks" if n_validation else ""
    notes.append(
        f"penalty {solution.penalty:.3g}, gamma {solution.gamma:.3g}, chosen from {len(WIDTHS)} x {len(PENALTIES)} "
        f"by {job.run.training.monitor} in cross-validation of {len(tracks)} train tracks{and_validation}"
    )
    return solution


def _solve_trees(
    job: TrainingJob,
    targets: Matrix,
    held_out: tuple[Matrix, Rows],
    notes: list[str],
    advance: Callable[[int], None],
    x: Doubles,
) -> BoostedTrees:
    """Boost trees on examples `x`, chosen by ``training.monitor`` of validation tracks.

    `held_out` are inputs of the trees for validation examples, and their track table rows; `notes` receives the
    choice.
    """
    inputs, rows = held_out
    measure = _make_example_measure(job, rows, job.targets.examples[rows])
    solution = boost_trees(x, targets.astype(np.float64), inputs, measure, advance)
    notes.append(
        f"{solution.n_iterations} trees of at most {solution.n_leaves} leaves for each of {len(solution.kernel)} "
        f"directions of factors, chosen by {job.run.training.monitor} of {len(np.unique(rows))} validation tracks"
    )
    few = warn_of_few_validation_tracks(len(np.unique(rows)))
    job.log(*few)
    notes.extend(few)
    return solution


def _make_example_measure(job: TrainingJob, rows: Rows, targets: Matrix) -> Callable[[Doubles], float]:
    """Return the loss of predictions of examples by ``training.monitor``: lower is better.

    `rows` and `targets` are the track table row of each example and its targets. The squared error is that of
    examples; other metrics are of tracks, each predicted by the mean over its examples.
    """
    tracks, number = np.unique(rows, return_inverse=True)
    predicted = np.zeros_like(targets)

    def mean_over_examples() -> Matrix:
        sums = np.zeros((len(tracks), targets.shape[1]), np.float32)
        np.add.at(sums, number, predicted)
        return sums / np.bincount(number)[:, None].astype(np.float32)

    monitored = _make_measure(job, tracks, mean_over_examples)

    def measure(values: Doubles) -> float:
        predicted[:] = values
        return -monitored() if monitored else float(np.mean(np.square(values - targets)))

    return measure


def describe_losses(epoch: Epoch) -> str:
    """Format an epoch's losses and time, so that a line of a log fits 80 columns."""
    return f"loss {epoch['loss']:.4f}, validation {epoch['val_loss']:.4f}, {epoch['seconds']:.1f} s"


def describe_waiting(epoch: Epoch, unit: str = "sequences") -> list[str]:
    """Return a line on the speed of an epoch that waited for its input; none if it hardly did."""
    if epoch["input_wait_share"] < MUCH_WAITING:
        return []
    return [
        f"{epoch['input_wait_share']:.0%} of the epoch waited for input, read at {epoch['mb_per_s']:.0f} MB/s, "
        f"{epoch['sequences_per_s']:.0f} {unit}/s"
    ]


def cached_array(path: Path, make: Callable[[], Matrix]) -> Matrix:
    """Return the array stored at `path`, after computing and storing it if it does not exist."""
    if not path.exists():
        write_npz(path, values=make())
    return read_npz(path, "values")["values"]
