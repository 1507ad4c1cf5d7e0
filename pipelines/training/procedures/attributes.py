"""Regression from attributes of a table, or the dataset's own genres, encoded as one vector a track."""

import numpy as np

from cs_keras.data.attributes.encoding import Encoding, fit_encoding
from cs_keras.data.attributes.table import Attributes
from cs_keras.errors import ConfigError, DataError
from cs_keras.messages import count
from cs_keras.models.attributes import build_regressor
from cs_keras.models.distribution import add_moments, count_parameters
from cs_keras.run_files.names import ATTRIBUTES_FILE, ENCODER_FILE
from cs_keras.runs import write_json
from cs_keras.training.execution import dtype_policy
from pipelines.training.procedures.job import TrainedModel, TrainingJob
from pipelines.training.procedures.track_vectors import TrackVectors, regress
from pipelines.training.requirements import choose_attributes
from pipelines.training.targets import TrainingData


def train_attributes(job: TrainingJob) -> TrainedModel:
    """Fit the encoding to train tracks that have attributes, then the regressor to their vectors."""
    run, data = job.run, job.data
    attributes = choose_attributes(run, data.dataset.tracks, data.tables)
    assert attributes is not None  # the procedure takes them
    require_attributes(data, attributes)
    if run.model.max_frames and attributes.table.joined:
        raise ConfigError(
            f"model.max_frames is for frames of one table, and {run.key} joins {len(attributes.table.joined)}; set "
            f"it to 0, for statistics of frames. Received: {run.model.max_frames}."
        )
    rows = [own[attributes.has[own]] for own in (data.train, data.unseen)]
    settings = run.model.max_categories, run.model.max_frames, run.model.numeric_scaling
    encoding = fit_encoding(attributes.table.take(rows[0]), *settings)
    train, unseen = (TrackVectors(encoding.encode(attributes.table.take(own)), own) for own in rows)
    with dtype_policy(run.execution.dtype_policy):
        sizes = data.targets.shape[1], run.training.n_distributions
        head = build_regressor(run, count_parameters(*sizes), encoding.n_features, encoding.n_frames)
        head = add_moments(head, *sizes)
    notes = _describe_input(job.data, attributes, encoding)
    job.log(*notes)
    trained = regress(job, head, train, unseen, notes=notes, fit_validation=run.model.fit_validation)
    write_json(job.folder / ATTRIBUTES_FILE, encoding.document())
    if attributes.table.encoder is not None:
        write_json(job.folder / ENCODER_FILE, attributes.table.encoder)
    return trained


def require_attributes(data: TrainingData, attributes: Attributes) -> None:
    """Raise DataError unless a train and a validation track have attributes."""
    for split, rows in (("train", data.train), ("validation", data.validation)):
        if not attributes.has[rows].any():
            raise DataError(
                f"None of {len(rows)} {split} tracks with interactions has attributes in {attributes.table.where}: "
                "at least one is needed."
            )


def _describe_input(data: TrainingData, attributes: Attributes, encoding: Encoding) -> list[str]:
    """Return notes on the input for readers of the results."""
    has = attributes.has
    columns = count(len(encoding.columns), "attribute")
    notes = [f"{columns} of {attributes.table.where} encoded as {count(encoding.n_features, 'number')}"]
    if n := np.count_nonzero(~has[data.train]):
        notes.append(f"{n} of {len(data.train)} train tracks have no attributes and were not used")
    if n := np.count_nonzero(~has[data.unseen]):
        notes.append(
            f"{n} of {len(data.unseen)} validation and test tracks have no attributes: the mean is predicted for "
            "them"
        )
    if attributes.n_unknown:
        notes.append(f"{attributes.n_unknown} items of the table are not in the dataset")
    return [*notes, *encoding.notes()]
