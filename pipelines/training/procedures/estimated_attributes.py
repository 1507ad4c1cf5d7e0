"""An estimator of attributes of sequences, then a regression from a track's mean estimates to factors."""

import dataclasses
import functools
import shutil
from typing import Any

import keras
import numpy as np

from cs_keras.data.attributes.encoding import Encoding, fit_encoding
from cs_keras.data.attributes.table import Attributes
from cs_keras.evaluation.labels.attribute_estimates import EstimateQuality, measure_estimates
from cs_keras.models import estimated_attributes, load_model
from cs_keras.run_files.names import ESTIMATES_FILE, ESTIMATOR_FILE, MODEL_FILE, WORK_FOLDER
from cs_keras.runs import digest, read_json, read_npz, write_json, write_npz
from cs_keras.training.execution import dtype_policy
from pipelines.training.objectives import TrainingTargets
from pipelines.training.procedures.attributes import require_attributes
from pipelines.training.procedures.job import TrainedModel, TrainingJob
from pipelines.training.procedures.regression import train_regression
from pipelines.training.procedures.track_vectors import regress, split_vectors
from pipelines.training.requirements import choose_attributes
from pipelines.training.run_artifacts import save_model
from pipelines.training.run_config import RunConfig, identity, resolve_branch
from pipelines.training.shared_cache import shared_work
from pipelines.training.targets import Matrix, TrainingData


def train_estimated_attributes(job: TrainingJob) -> TrainedModel:
    """Train the estimator on attributes of train tracks, then the regressor on its estimates for all of them."""
    run, data = job.run, job.data
    attributes = choose_attributes(run, data.dataset.tracks, data.tables)
    assert attributes is not None  # the procedure takes them
    require_attributes(data, attributes)
    labelled = dataclasses.replace(
        data,
        train=data.train[attributes.has[data.train]],
        validation=data.validation[attributes.has[data.validation]],
        unseen=np.concatenate([data.train, data.unseen]),
    )
    encoding = fit_encoding(attributes.table.take(labelled.train), run.model.max_categories)
    estimator, estimates, summary = _estimate(job, labelled, attributes, encoding)
    train, unseen = split_vectors(estimates, data)
    validation = unseen.of(labelled.validation)
    quality = measure_estimates(encoding, attributes.table.take(validation.rows), validation.values)
    notes = _notes(run, attributes, encoding, quality)
    if n := len(data.train) - len(labelled.train):
        notes += (
            f"{n} of {len(data.train)} train tracks have no attributes and did not train the estimator",
        )
    job.log(*notes)
    keras.utils.set_random_seed(run.seed)  # the same seed, whether or not the estimator was cached
    with dtype_policy(run.execution.dtype_policy):
        head = estimated_attributes.build_regressor(run, data.targets.shape[1], encoding.n_features)
    trained = regress(job, head, train, unseen, stages=(estimator,), notes=notes)
    branches = {run.model.estimator: {**summary, "estimates": dataclasses.asdict(quality)}}
    return dataclasses.replace(trained, branches=branches)


def _estimate(
    job: TrainingJob, labelled: TrainingData, attributes: Attributes, encoding: Encoding
) -> tuple[keras.Model, Matrix, dict[str, Any]]:
    """Return the estimator, its estimates for all of ``labelled.unseen``, and a summary of its training.

    Runs share all three.
    """
    run = resolve_branch(job.run, job.run.model.estimator)
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, loss="mse", monitor="val_loss"))
    targets = encoding.encode(attributes.table)
    data = dataclasses.replace(labelled, targets=targets)
    with shared_work(
        job.shared, _settings(run, data, attributes, encoding), job.progress, job.folder
    ) as folder:
        if not (folder / ESTIMATES_FILE).exists():
            # Without `until` and `watch`, which are for the run itself.
            _train_estimator(
                TrainingJob(
                    run, data, TrainingTargets(targets), job.factors, folder, job.shared, job.progress
                )
            )
        estimates = read_npz(folder / ESTIMATES_FILE, "values")["values"]
        return load_model(folder / MODEL_FILE), estimates, read_json(folder / ESTIMATOR_FILE)


def _train_estimator(job: TrainingJob) -> None:
    """Train the estimator and write it, its summary and then its estimates."""
    keras.utils.set_random_seed(job.run.seed)
    n_features = job.data.targets.shape[1]
    job.log(f"training on attributes, encoded as {n_features} numbers")
    build = functools.partial(estimated_attributes.build_estimator, job.run, n_features)
    trained = train_regression(job, build)
    save_model(trained.model, job.folder / MODEL_FILE)
    write_json(job.folder / ESTIMATOR_FILE, trained.summary)
    write_npz(job.folder / ESTIMATES_FILE, values=trained.predicted)
    shutil.rmtree(job.folder / WORK_FOLDER, ignore_errors=True)


def _settings(
    run: RunConfig, data: TrainingData, attributes: Attributes, encoding: Encoding
) -> dict[str, Any]:
    """Return all settings that decide the estimator and its estimates."""
    settings = identity(run, attributes.digest)
    del settings["evaluation"]
    rows = digest([data.train.tolist(), data.validation.tolist(), data.unseen.tolist()])
    return {
        "procedure": "estimator of attributes",
        "data_digest": data.data_digest,
        "tracks": rows,
        "encoding": digest(encoding.document()),
        "run": settings,
    }


def _notes(
    run: RunConfig, attributes: Attributes, encoding: Encoding, quality: EstimateQuality
) -> tuple[str, ...]:
    """Describe the estimates and their quality on validation tracks."""
    found = []
    if quality.r2 is not None:
        found.append(f"R² {quality.r2:.3f} over {quality.n_numbers} numbers")
    if quality.auc is not None:
        found.append(f"AUC {quality.auc:.3f} over {quality.n_labels} labels")
    return (
        f"{run.model.estimator} estimates {len(encoding.columns)} attributes of {attributes.table.where}; on "
        f"validation tracks: {' and '.join(found) or 'nothing to evaluate'}",
    )
