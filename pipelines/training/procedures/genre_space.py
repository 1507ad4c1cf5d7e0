"""A genre classifier of sequences, then a regression from a track's mean probabilities to factors.

On one device, as batches are small. Genres of test tracks are stored with their predicted probabilities for the
evaluation; training does not use them.
"""

import dataclasses

import keras
import numpy as np

from cs_keras.data.genres import GenreTargets, genre_targets, track_genres
from cs_keras.errors import DataError
from cs_keras.models import genre_space
from cs_keras.run_files.genres import GenreProbabilities, write_genres
from cs_keras.run_files.names import CLASSIFIER_FOLDER
from cs_keras.run_files.training import ClassifierTraining
from cs_keras.training.checkpoints import Epoch
from cs_keras.training.execution import dtype_policy
from cs_keras.training.fit import FitResult, fit
from cs_keras.training.losses.objective import make_genre_objective
from pipelines.training.procedures.job import (
    TrainedModel,
    TrainingJob,
    cached_array,
    describe_losses,
    describe_waiting,
)
from pipelines.training.procedures.regression import fit_normalization, make_batches, predict_audio
from pipelines.training.procedures.track_vectors import TrackVectors, regress, split_vectors


def train_genre_space(job: TrainingJob) -> TrainedModel:
    """Fit the classifier to genres of train tracks, then a ridge regression to its probabilities."""
    run, data = job.run, job.data
    genres = track_genres(data.dataset.tracks)
    targets = genre_targets(genres, data.train, data.validation, run.model.min_tracks)
    _require_genres(job, targets)
    notes = _describe_labels(job, targets)
    job.log(*notes)
    with dtype_policy(run.execution.dtype_policy):
        audio, n_genres = data.dataset.info.audio, len(targets.names)
        classifier = genre_space.build_classifier(run, n_genres, audio)
        head = genre_space.build_regressor(run, n_genres, data.targets.shape[1])
    fitted = _fit_classifier(job, classifier, targets)
    train, unseen = _predict_genres(job, classifier, fitted.best_epoch)
    trained = regress(job, head, train, unseen, stages=(classifier,), notes=notes)
    tracks = data.dataset.tracks
    own_genres = [genres[track] for track in data.unseen.tolist()]
    is_test = tracks.in_split("test")[data.unseen]
    write_genres(
        job.folder,
        GenreProbabilities(tracks.ids[data.unseen], targets.names, unseen.values, is_test, own_genres),
    )
    summary = ClassifierTraining(
        genres=dict(targets.counts),
        n_train_tracks=int(np.count_nonzero(targets.has[data.train])),
        best_epoch=fitted.best_epoch,
        accuracy=fitted.history[fitted.best_epoch - 1]["val_accuracy"],
        seconds=fitted.seconds,
        history=tuple(fitted.history),
    )
    return dataclasses.replace(trained, coordinates=unseen.values, classifier=summary)


def _require_genres(job: TrainingJob, targets: GenreTargets) -> None:
    needed = f"models.{job.run.key}.model.min_tracks = {job.run.model.min_tracks}"
    if len(targets.names) < 2:
        raise DataError(
            f"A classifier needs at least two genres with enough train tracks ({needed}). Received: "
            f"{len(targets.names)}."
        )
    if not targets.has[job.data.validation].any():
        raise DataError(
            "None of the validation tracks with interactions has a genre that enough train tracks have."
        )


def _describe_labels(job: TrainingJob, targets: GenreTargets) -> list[str]:
    """Return notes on the labels for readers of the results."""
    train = job.data.train
    notes = [f"similarity of tracks is Euclidean distance of {len(targets.names)} genre probabilities"]
    if targets.left_out:
        least, n_found = job.run.model.min_tracks, len(targets.left_out) + len(targets.counts)
        notes.append(
            f"{len(targets.left_out)} of {n_found} genres were left out, with fewer than {least} train tracks "
            "(min_tracks)"
        )
    if n := int(np.count_nonzero(~targets.has[train])):
        notes.append(f"{n} of {len(train)} train tracks have no genre and did not train the classifier")
    return notes


def _fit_classifier(job: TrainingJob, classifier: keras.Model, targets: GenreTargets) -> FitResult:
    """Fit `classifier` on random crops of train tracks, stopping early by validation tracks."""
    run, data, training = job.run, job.data, job.run.training
    # `classifier` itself gets no optimizer.
    network = keras.Model(classifier.input, classifier.output, name=classifier.name)
    train, validation = (rows[targets.has[rows]] for rows in (data.train, data.validation))

    fit_normalization(job, network, train)

    def report_epoch(number: int, epoch: Epoch) -> None:
        job.log(
            f"classifier epoch {number} of {training.epochs}, {describe_losses(epoch)}",
            f"accuracy {epoch['val_accuracy']:.1%} of validation sequences",
            *describe_waiting(epoch),
        )

    return fit(
        network,
        *make_batches(job, train, validation, targets.shares),
        training,
        job.folder / CLASSIFIER_FOLDER,
        report_epoch,
        run.execution.jit,
        make_genre_objective(),
        job.until,
        progress=job.progress,
        label=f"{run.key}: classifier",
    )


def _predict_genres(
    job: TrainingJob, classifier: keras.Model, epoch: int
) -> tuple[TrackVectors, TrackVectors]:
    """Predict genre probabilities of train and unseen tracks, each the mean over its sequences."""
    rows = np.concatenate([job.data.train, job.data.unseen])
    predicted = cached_array(
        job.work / f"genres-{epoch}.npz",  # a search may train on to another epoch
        lambda: predict_audio(job, classifier, rows, f"{job.run.key}: genres of sequences"),
    )
    return split_vectors(predicted, job.data)
