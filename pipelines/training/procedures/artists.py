"""Models of a track's artist: from the factors of the artist's other train tracks."""

import time

import numpy as np

from cs_keras.layers.artists import ShrunkMean
from cs_keras.models import artist_mean
from cs_keras.models.regressors import OUTPUT
from cs_keras.run_files.names import ARTISTS_FILE
from cs_keras.run_files.training import write_metrics
from cs_keras.runs import write_npz
from cs_keras.training.artists import Names, estimate_variance_ratio, sum_by_artist
from cs_keras.training.execution import dtype_policy
from cs_keras.training.fit import FitResult
from pipelines.training.procedures.branches import apply_to_vectors
from pipelines.training.procedures.job import TrainedModel, TrainingJob
from pipelines.training.targets import Matrix


def train_artist_mean(job: TrainingJob) -> TrainedModel:
    """Estimate the shrinkage from train tracks, and predict the unseen tracks from those of their artists."""
    run, data, began = job.run, job.data, time.perf_counter()
    targets, artists = data.targets, data.dataset.tracks.artist_names
    factors, of_train = targets[data.train], artists[data.train]
    with dtype_policy(run.execution.dtype_policy):
        model = artist_mean.build(run, targets.shape[1], data.dataset.info.audio)
    ratio = estimate_variance_ratio(factors, of_train) / run.model.shrinkage
    set_shrinkage(model.get_layer(OUTPUT), ratio, factors.mean(axis=0))
    own = sum_by_artist(factors, of_train, of_train, leave_out=factors)
    losses = [
        _squared_error(apply_to_vectors(model, evidence), targets[rows])
        for evidence, rows in (
            (own, data.train),
            (sum_by_artist(factors, of_train, artists[data.validation]), data.validation),
        )
    ]
    predicted = apply_to_vectors(model, sum_by_artist(factors, of_train, artists[data.unseen]))
    write_npz(job.folder / ARTISTS_FILE, artists=of_train, vectors=factors)
    epoch = {"loss": losses[0], "val_loss": losses[1], "seconds": time.perf_counter() - began}
    write_metrics(job.folder, [epoch])
    notes = (*describe_artists(job, of_train), describe_shrinkage(ratio))
    job.log(*notes)
    job.watch(1, epoch)
    return TrainedModel(model, FitResult([epoch], 1), predicted, len(data.train), notes)


def set_shrinkage(layer: ShrunkMean, ratio: float, mean: Matrix) -> None:
    """Set the weights of a shrunk mean."""
    layer.ratio.assign(ratio)
    layer.mean.assign(mean)


def describe_artists(job: TrainingJob, of_train: Names) -> tuple[str, ...]:
    """Return notes on how many unseen tracks are by artists of train tracks."""
    unseen = job.data.dataset.tracks.artist_names[job.data.unseen]
    n = int(np.isin(unseen, of_train[of_train != ""]).sum())
    return (f"{n} of {len(unseen)} validation and test tracks are by artists of train tracks",)


def describe_shrinkage(ratio: float) -> str:
    """Return a note on the shrinkage c = 1 / `ratio`."""
    c = f"{1 / ratio:.1f}" if ratio else "infinitely many"
    return f"means of artists are shrunk as by {c} more tracks at the mean of all"


def _squared_error(predicted: Matrix, targets: Matrix) -> float:
    return float(np.mean(np.square(predicted - targets), dtype=np.float64))
