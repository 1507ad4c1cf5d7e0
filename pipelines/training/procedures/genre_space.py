"""Sequences to genres; a track's genres, the mean over its sequences, to factors.

On one device: labels come with their tracks, and batches are small. Labels of test tracks are stored beside what is
told of them, to judge it by later; nothing that is learnt depends on them.
"""

import keras
import numpy as np
import tensorflow as tf

from cs_keras.data.batches import TrainingBatches, prediction_batches
from cs_keras.data.genres import Genres, GenreTargets, genre_targets, track_genres
from cs_keras.data.windows import prediction_windows
from cs_keras.errors import DataError
from cs_keras.models import genre_space
from cs_keras.models.regressors import join_stages
from cs_keras.run_files.genres import GenreProbabilities, write_genres
from cs_keras.run_files.names import CLASSIFIER_FOLDER
from cs_keras.run_files.training import ClassifierTraining
from cs_keras.training.checkpoints import Epoch
from cs_keras.training.execution import dtype_policy
from cs_keras.training.fit import FitResult, fit
from cs_keras.training.genres import make_genre_objective
from cs_keras.training.predict import predict_tracks
from pipelines.training.procedures.job import Job, Trained, kept, speed
from pipelines.training.procedures.track_vectors import TrackVectors, regress
from pipelines.training.targets import Matrix, Rows


def train_genre_space(job: Job) -> Trained:
    """Fit the classifier to genres of train tracks, then a ridge regression to its probabilities."""
    run, task = job.run, job.task
    genres = track_genres(task.dataset.tracks)
    targets = genre_targets(genres, task.train, task.validation, run.model.min_tracks)
    _require_genres(job, targets)
    notes = _notes(job, targets)
    with dtype_policy(run.execution.dtype_policy):
        audio, n_genres = task.dataset.info.audio, len(targets.names)
        classifier = genre_space.build_classifier(run, n_genres, audio)
        head = genre_space.build_regressor(run, n_genres, task.targets.shape[1])
    fitted = _fit_classifier(job, classifier, targets)
    train, unseen = _tell(job, classifier, fitted.best_epoch)
    regressed = regress(job, head, train, unseen)
    _write_genres(job, targets.names, unseen.values, genres)
    return Trained(
        join_stages(run.key, classifier, regressed.head),
        regressed.fitted,
        regressed.predicted,
        (*notes, *regressed.notes),
        places=unseen.values,
        classifier=_summary(task.train, targets, fitted),
    )


def _require_genres(job: Job, targets: GenreTargets) -> None:
    needed = f"models.{job.run.key}.model.min_tracks = {job.run.model.min_tracks}"
    if len(targets.names) < 2:
        raise DataError(
            f"A classifier needs at least two genres with enough train tracks ({needed}). Received: "
            f"{len(targets.names)}."
        )
    if not targets.has[job.task.validation].any():
        raise DataError(
            "None of the validation tracks with listening has a genre that enough train tracks have."
        )


def _notes(job: Job, targets: GenreTargets) -> tuple[str, ...]:
    """Return, and tell, what a reader of the results must know of the labels."""
    train = job.task.train
    notes = [
        f"its similar tracks are near by Euclidean distance of {len(targets.names)} probabilities of genres"
    ]
    if targets.left_out:
        least, n_found = job.run.model.min_tracks, len(targets.left_out) + len(targets.counts)
        notes.append(
            f"left out as genres of fewer than {least} train tracks (min_tracks): {len(targets.left_out)} of "
            f"{n_found}"
        )
    if n := int(np.count_nonzero(~targets.has[train])):
        notes.append(f"left out of the classifier's training for want of a genre: {n} of {len(train)} tracks")
    for note in notes:
        job.progress.log(f"{job.run.key}: {note}")
    return tuple(notes)


def _fit_classifier(job: Job, classifier: keras.Model, targets: GenreTargets) -> FitResult:
    """Fit `classifier` on random crops of train tracks, stopping early by validation tracks."""
    run, task, training = job.run, job.task, job.run.training
    network = keras.Model(
        classifier.input, classifier.output, name=classifier.name
    )  # that takes the optimizer
    train, validation = (rows[targets.has[rows]] for rows in (task.train, task.validation))
    batches = TrainingBatches(
        task.dataset, train, targets.shares, run.sequence, training.batch_size, run.seed
    )
    inputs, windows = prediction_batches(task.dataset, validation, run.sequence, training.batch_size)
    shares = tf.constant(targets.shares)
    outputs = tf.data.Dataset.from_tensor_slices(windows.row).batch(training.batch_size)
    outputs = outputs.map(lambda rows: tf.gather(shares, rows))

    def tell(number: int, epoch: Epoch) -> None:
        job.progress.log(
            f"{run.key}: classifier epoch {number} of {training.epochs}, cross-entropy {epoch['loss']:.4f}, "
            f"validation {epoch['val_loss']:.4f}, accuracy {epoch['val_accuracy']:.1%} of validation sequences, "
            f"{speed(epoch)}"
        )

    return fit(
        network,
        batches,
        tf.data.Dataset.zip((inputs, outputs)),
        training,
        job.folder / CLASSIFIER_FOLDER,
        tell,
        run.execution.jit,
        make_genre_objective(),
        job.until,
    )


def _tell(job: Job, classifier: keras.Model, epoch: int) -> tuple[TrackVectors, TrackVectors]:
    """Return the probabilities of train and of unseen tracks, each the mean over the sequences that cover it."""
    run, task = job.run, job.task
    rows = np.concatenate([task.train, task.unseen])
    covering = prediction_windows(rows, task.dataset.n_frames[rows], run.sequence, task.dataset.info.audio)

    def predict() -> Matrix:
        with job.progress.task(f"{run.key}: genres of sequences", len(covering)) as advance:
            return predict_tracks(
                classifier, task.dataset, rows, run.sequence, run.training.batch_size, advance
            )

    told = kept(job.work / f"genres-{epoch}.npz", predict)  # a search may train on to another epoch
    train, unseen = np.split(told, [len(task.train)])
    return TrackVectors(train, task.train), TrackVectors(unseen, task.unseen)


def _write_genres(job: Job, names: tuple[str, ...], probabilities: Matrix, genres: Genres) -> None:
    """Write genre probabilities of unseen tracks with their own genres."""
    tracks, unseen = job.task.dataset.tracks, job.task.unseen
    predicted = GenreProbabilities(
        tracks.ids[unseen],
        names,
        probabilities,
        tracks.in_split("test")[unseen],
        [genres[track] for track in unseen.tolist()],
    )
    write_genres(job.folder, predicted)


def _summary(train: Rows, targets: GenreTargets, fitted: FitResult) -> ClassifierTraining:
    return ClassifierTraining(
        genres=dict(targets.counts),
        n_train_tracks=int(np.count_nonzero(targets.has[train])),
        best_epoch=fitted.best_epoch,
        accuracy=fitted.history[fitted.best_epoch - 1]["val_accuracy"],
        seconds=fitted.seconds,
        history=tuple(fitted.history),
    )
