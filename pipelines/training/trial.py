"""One training of one trial of a search, scored on validation tracks; test tracks are not even predicted."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from cs_keras.data.attributes.table import align_tables
from cs_keras.data.schema import INTERACTIONS_FILE
from cs_keras.errors import ConfigError, CsKerasError, DataError
from cs_keras.evaluation.objective import (
    SearchObjective,
    ValidationData,
    measure_objective,
    parse_objective,
    require_measurable,
)
from cs_keras.factors.interactions import align as align_interactions
from cs_keras.factors.interactions import load_interactions
from cs_keras.factors.store import Factors
from cs_keras.models.distribution import build_network
from cs_keras.models.spec import architecture, trainable_parameters
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.names import (
    CLASSIFIER_FOLDER,
    EMBEDDING_FOLDER,
    OUTCOME_FILE,
    VALIDATION_FILE,
    WORK_FOLDER,
)
from cs_keras.run_files.study import ExecutionOutcome
from cs_keras.run_files.training import read_metrics
from cs_keras.runs import digest, locked, write_npz
from cs_keras.storage.location import Location, is_file, locate
from cs_keras.storage.open_files import refuse_links
from cs_keras.storage.remote import configure
from cs_keras.training.checkpoints import Epoch
from cs_keras.training.executions import Execution
from cs_keras.training.fit import DivergenceError, MemoryExhaustedError
from cs_keras.training.losses.objective import make_loss
from pipelines.factors.open import open_dataset
from pipelines.training.attribute_files import AttributeFiles
from pipelines.training.objectives import TrainingTargets, make_training_targets
from pipelines.training.procedures import TrainingJob
from pipelines.training.procedures.job import Watch
from pipelines.training.requirements import require_inputs
from pipelines.training.run_config import RunConfig, resolve
from pipelines.training.targets import TrainingData, make_training_data, open_extra_factors
from pipelines.training.train import clean_up, run_procedure
from pipelines.training.trial_trainer import TrialTrainer

METRICS = ("val_loss", "val_overlap@10", "val_ndcg@50")  # of every trial, besides the objective
EXPLODED = 100.0  # times the mean predictor's loss

Cause = Literal["diverged", "memory", "pruned", "invalid", "crashed"]


class TrialPrunedError(CsKerasError):
    """A model is no better than the mean predictor."""


def check_search(
    key: str,
    changes: Mapping[str, Any],
    dataset: Location,
    factors_name: str | None,
    objective: str,
    attributes: AttributeFiles,
) -> str:
    """Return the digest of the data of a search; raise CsKerasError where no trial could be trained."""
    (opened, factors), run = open_dataset(dataset, factors_name), resolve(key, changes, attributes.paths)
    given = align_tables(attributes.read(), opened.tracks, str(opened.folder))
    require_inputs([run], opened.tracks, given)
    extra = open_extra_factors(opened, factors, run.training)
    data = make_training_data(opened, factors, run.train_fraction, given, extra)
    require_measurable(parse_objective(objective), _validation(data, factors))
    return _digest(data)


def _digest(data: TrainingData) -> str:
    """Return the digest of all data that a trial is trained on."""
    more = [extra.digest for extra in data.extra]
    more += [f"{name} {table.digest}" if name else table.digest for name, table in data.tables.items()]
    return digest([data.data_digest, *more]) if more else data.data_digest


def run_execution(
    execution: Execution, trainer: TrialTrainer, folder: Path, progress: Progress | None = None
) -> None:
    """Train, evaluate and write ``outcome.json`` unless it exists, resuming an interrupted training.

    The outcome of a training that came to its end holds its ``metrics``, ``epochs``, ``best_epoch`` and
    ``seconds``; that of one that did not, its ``cause`` and ``reason``. Both hold ``n_weights``.

    Raises
    ------
    CsKerasError
        When the dataset cannot be read or the folder not be written, which is not a failure of the trial.
    """
    progress = progress or SilentProgress()
    refuse_links(folder)
    configure(trainer.reading.remote)
    with locked(folder, lambda: progress.log(f"waiting for another process that works on {folder}")):
        if not (folder / OUTCOME_FILE).exists():
            _take_over(execution.continued, folder)
            _run(execution, trainer, folder, progress).write(folder)
        if not execution.keep:
            clean_up(folder)


def _run(execution: Execution, trainer: TrialTrainer, folder: Path, progress: Progress) -> ExecutionOutcome:
    """Return the outcome: failures of the trial are outcomes too, errors of the data are raised."""
    location = locate(trainer.dataset)
    dataset, factors = open_dataset(location, trainer.factors_name, reading=trainer.reading)
    given = align_tables(trainer.attributes.read(), dataset.tracks, str(dataset.folder))
    n_weights = None
    try:
        run = resolve(execution.key, execution.changes, trainer.attributes.paths)
    except (ConfigError, ValueError) as error:
        return _failure("invalid", error, n_weights)
    extra = open_extra_factors(dataset, factors, run.training)
    data = make_training_data(dataset, factors, run.train_fraction, given, extra)
    if trainer.data_digest not in (None, _digest(data)):
        raise DataError(
            f"{trainer.dataset} with its factors and attributes is not the data of the study: give each worker the "
            "same, and a study of other data a folder of its own."
        )
    try:
        n_weights = _count_weights(run, data)
    except (ConfigError, ValueError) as error:
        return _failure("invalid", error, n_weights)
    try:
        return _train(execution, run, data, factors, folder, progress)
    except (DivergenceError, MemoryExhaustedError, TrialPrunedError) as error:
        return _failure(_CAUSES[type(error)], error, n_weights)
    except ConfigError as error:
        return _failure("invalid", error, n_weights)
    except (tf.errors.OpError, ValueError) as error:
        if isinstance(error, CsKerasError):
            raise
        return _failure("crashed", error, n_weights)


_CAUSES: dict[type[Exception], Cause] = {
    DivergenceError: "diverged",
    MemoryExhaustedError: "memory",
    TrialPrunedError: "pruned",
}


def _failure(cause: Cause, error: Exception, n_weights: int | None) -> ExecutionOutcome:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ExecutionOutcome(cause=cause, reason=line.rstrip("."), n_weights=n_weights)


def _count_weights(run: RunConfig, data: TrainingData) -> int:
    """Build the model, which shows whether these settings fit together, and return its trainable parameters."""
    keras.backend.clear_session()
    model = build_network(architecture(run), data.targets.shape[1], data.dataset.info.audio)
    return trainable_parameters(model)


def _train(
    execution: Execution,
    run: RunConfig,
    data: TrainingData,
    factors: Factors,
    folder: Path,
    progress: Progress,
) -> ExecutionOutcome:
    data = dataclasses.replace(data, unseen=data.validation)
    targets = make_training_targets(data, factors, run.training)
    watch = _watch(run, data, targets, folder, execution.prune_after)
    trained = run_procedure(
        TrainingJob(run, data, targets, factors, folder, execution.shared, progress, execution.until, watch)
    )
    predicted, scaled = factors.scaler.inverse(trained.predicted), trained.predicted
    if not np.isfinite(predicted).all():
        raise DivergenceError("Training diverged: predictions are not finite")
    validation = _validation(data, factors)
    goal = parse_objective(execution.objective)
    per_query = measure_objective(goal, validation, predicted, scaled)
    write_npz(folder / VALIDATION_FILE, per_query=per_query)
    metrics = {goal.name: float(np.nanmean(per_query))}
    for other in map(parse_objective, METRICS):
        if other != goal and _can_be_measured(other, validation):
            metrics[other.name] = float(np.nanmean(measure_objective(other, validation, predicted, scaled)))
    fitted = trained.fitted
    return ExecutionOutcome(
        metrics=metrics,
        epochs=len(fitted.history),
        best_epoch=fitted.best_epoch,
        seconds=trained.seconds,
        n_weights=trainable_parameters(trained.model),
    )


def _watch(
    run: RunConfig, data: TrainingData, targets: TrainingTargets, folder: Path, prune_after: int
) -> Watch:
    """Return what ends a training that explodes or does not learn, by the loss of predicting the mean.

    Outputs of zero, where every model starts, stand for the mean, which scaling has taken off; where it has not,
    the threshold is lower. Losses of interactions or of pairs of tracks have no such reference.
    """
    if targets.objective is not None:
        return lambda number, epoch: None
    examples = targets.examples[data.validation]
    of_mean = float(make_loss(run.training)(examples, np.zeros_like(examples)))

    def watch(number: int, epoch: Epoch) -> None:
        loss = epoch["val_loss"]
        if run.training.loss == "mse" and loss > EXPLODED * of_mean:
            raise DivergenceError(
                f"Training diverged: in epoch {number} the validation loss is {loss:.3g}, and predicting the mean "
                f"gives {of_mean:.3g}"
            )
        if prune_after and number >= prune_after:
            losses = [one.val_loss for one in read_metrics(folder)]  # of earlier sittings too
            best = min(loss for loss in losses if loss is not None)
            if best >= of_mean:
                raise TrialPrunedError(
                    f"After epoch {number} the best validation loss is {best:.4f}, and predicting the mean gives "
                    f"{of_mean:.4f}"
                )

    return watch


def _validation(data: TrainingData, factors: Factors) -> ValidationData:
    """Return what predictions for the data's validation tracks are held against."""
    path = data.dataset.folder / INTERACTIONS_FILE
    user_items = None
    if len(factors.playlist_factors) and is_file(path):
        interactions = align_interactions(load_interactions(path), factors.track_ids)
        if interactions.playlist_ids.tolist() == factors.playlist_ids.tolist():
            user_items = interactions.user_items[:, data.validation]
    return ValidationData(
        data.item_factors[data.validation],
        data.targets[data.validation],
        factors.playlist_factors,
        user_items,
        data.dataset.tracks.artist_numbers[data.validation],
    )


def _can_be_measured(goal: SearchObjective, validation: ValidationData) -> bool:
    try:
        require_measurable(goal, validation)
    except CsKerasError:
        return False
    return True


def _take_over(other: Path | None, folder: Path) -> None:
    """Copy what an earlier execution left to go on from, unless this one has begun."""
    for name in (WORK_FOLDER, EMBEDDING_FOLDER, CLASSIFIER_FOLDER):
        if other is not None and (other / name).exists() and not (folder / name).exists():
            temporary = folder / f"partial-{name}"
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(other / name, temporary)
            temporary.rename(folder / name)
