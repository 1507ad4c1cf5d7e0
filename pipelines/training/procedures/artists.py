"""Models of a track's artist: from the factors of the artist's other train tracks, alone or with content."""

import dataclasses
import time
from pathlib import Path

import keras
import numpy as np

from cs_keras.layers.artists import ArtistAttention, ShrunkMean
from cs_keras.models import artist_mean, model_module
from cs_keras.models.artist_residual import ARTIST_MEAN, COMBINED, EVIDENCE
from cs_keras.models.regressors import OUTPUT
from cs_keras.run_files.names import ARTISTS_FILE, BRANCH_FILE, BRANCHES_FOLDER
from cs_keras.run_files.training import write_metrics
from cs_keras.runs import read_json, write_npz
from cs_keras.training.artists import (
    Names,
    estimate_variance_ratio,
    fit_combination,
    gather_by_artist,
    sum_by_artist,
)
from cs_keras.training.execution import dtype_policy
from cs_keras.training.fit import FitResult
from pipelines.training.procedures.branches import Trainers, apply_to_vectors
from pipelines.training.procedures.content import train_content
from pipelines.training.procedures.job import TrainedModel, TrainingJob
from pipelines.training.procedures.track_vectors import TrackVectors, regress
from pipelines.training.targets import Matrix, Rows


@dataclasses.dataclass(frozen=True, eq=False)
class KnownTracks:
    """What a model of artists knows: of each train track the artist, shape (n_train,), and vectors, (n_train, n).

    Vectors are scaled factors, followed by the predictions of the content model where there is one.
    """

    artists: Names
    vectors: Matrix

    def write(self, folder: Path) -> None:
        """Write both into a run folder, for predictions of new tracks."""
        write_npz(folder / ARTISTS_FILE, artists=self.artists, vectors=self.vectors)

    def sums(self, wanted: Names, content: Matrix, own: Rows | None = None) -> Matrix:
        """Return the input of a model that takes sums, for tracks by artists `wanted`.

        `content` has shape (n, n_factors + 1), predictions and a flag, or (n, 0); `own` are rows of the tracks
        among the train tracks, None for new ones.
        """
        leave_out = None if own is None else self.vectors[own]
        return np.hstack([content, sum_by_artist(self.vectors, self.artists, wanted, leave_out)])

    def sets(
        self, wanted: Names, content: Matrix, max_tracks: int, seed: int, own: Rows | None = None
    ) -> Matrix:
        """Return the input of a model that takes tracks one by one; see `sums` for the parameters."""
        others = gather_by_artist(self.vectors, self.artists, wanted, max_tracks, seed, own)
        first = np.zeros((len(wanted), 1, others.shape[2]), np.float32)
        first[:, 0, -content.shape[1] :] = content
        return np.concatenate([first, others], axis=1)


def train_artist_mean(job: TrainingJob) -> TrainedModel:
    """Estimate the shrinkage from train tracks, and predict the unseen tracks from those of their artists."""
    run, data, began = job.run, job.data, time.perf_counter()
    artists, factors = data.dataset.tracks.artist_names, data.targets[data.train]
    known = KnownTracks(artists[data.train], factors)
    known.write(job.folder)
    with dtype_policy(run.execution.dtype_policy):
        model = artist_mean.build(run, factors.shape[1], data.dataset.info.audio)
    ratio = _set_artist_mean(job, model.get_layer(OUTPUT), known)
    nothing = np.zeros((len(artists), 0), np.float32)
    notes = _describe_known(job, known), _describe_shrinkage(ratio)
    return _finish(job, model, known, nothing, began, notes)


def train_with_content(job: TrainingJob, trainers: Trainers) -> TrainedModel:
    """Train the content model with `trainers`, by procedure, then combine it with the artists of train tracks."""
    run, data = job.run, job.data
    predicted = train_content(job, trainers)
    began = time.perf_counter()
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)  # the same seed, whether or not the content model was cached
    content = _as_content(predicted, len(data.targets), data.train)
    artists, factors = data.dataset.tracks.artist_names, data.targets[data.train]
    known = KnownTracks(artists[data.train], np.hstack([factors, content[data.train, :-1]]))
    known.write(job.folder)
    with dtype_policy(run.execution.dtype_policy):
        model = model_module(run.key).build(run, factors.shape[1], data.dataset.info.audio)
    _set_artist_mean(job, model.get_layer(ARTIST_MEAN), known)
    notes = _set_combination(job, model, known, content[data.train])
    key = run.model.content
    branches = {key: read_json(job.folder / BRANCHES_FOLDER / key / BRANCH_FILE)}
    if run.model.is_solved:
        trained = _finish(job, model, known, content, began, notes)
    else:
        job.log(*notes)
        limits = run.model.max_tracks, run.seed
        own = np.arange(len(data.train))
        train = known.sets(known.artists, content[data.train], *limits, own)
        unseen = known.sets(artists[data.unseen], content[data.unseen], *limits)
        trained = regress(
            job, model, TrackVectors(train, data.train), TrackVectors(unseen, data.unseen), notes=notes
        )
    return dataclasses.replace(trained, branches=branches)


def _as_content(predicted: TrackVectors, n_tracks: int, train: Rows) -> Matrix:
    """Return predictions of all tracks followed by a flag, (n_tracks, n_factors + 1).

    Where there is none, that of train tracks is their mean, so that they change no mean of an artist's.
    """
    content = np.zeros((n_tracks, predicted.values.shape[1] + 1), np.float32)
    content[train, :-1] = predicted.of(train).values.mean(axis=0)
    content[predicted.rows, :-1], content[predicted.rows, -1] = predicted.values, 1
    return content


def _set_artist_mean(job: TrainingJob, layer: ShrunkMean, known: KnownTracks) -> float:
    """Set the shrunk mean of factors, and return 1 / c."""
    factors = known.vectors[:, : job.data.targets.shape[1]]
    shrinkage: float = job.run.model.shrinkage
    ratio = estimate_variance_ratio(factors, known.artists) / shrinkage
    layer.set_statistics(ratio, factors.mean(axis=0))
    return ratio


def _set_combination(
    job: TrainingJob, model: keras.Model, known: KnownTracks, content: Matrix
) -> tuple[str, ...]:
    """Set shrinkage and weights of content and artist, by train tracks with the `content`; return notes."""
    has = content[:, -1] > 0
    factors, predictions = np.hsplit(known.vectors, 2)
    ratio = estimate_variance_ratio((factors - predictions)[has], known.artists[has])
    ratio /= job.run.model.shrinkage
    evidence: ShrunkMean | ArtistAttention = model.get_layer(EVIDENCE)
    mean = known.vectors.mean(axis=0)
    evidence.set_statistics(ratio, mean)
    sums = sum_by_artist(known.vectors, known.artists, known.artists, known.vectors)
    shrunk = ShrunkMean(known.vectors.shape[1])
    shrunk.set_statistics(ratio, mean)
    chosen = has & (sums[:, -1] > 0)
    means = np.asarray(shrunk([sums[chosen, :-1], sums[chosen, -1:]]))
    own, artist, others = fit_combination(content[chosen, :-1], means, factors[chosen])
    combined = model.get_layer(COMBINED)
    for weight, value in ((combined.own, own), (combined.artist, artist), (combined.others, others)):
        weight.assign(value)
    return (
        _describe_known(job, known),
        f"its content model is {job.run.model.content}, for {int(has.sum())} of {len(has)} train tracks",
        f"{own:.2f} of a track's own content, {artist:.2f} of the artist's factors and {others:.2f} of the content "
        f"of the artist's tracks; {_describe_shrinkage(ratio)}",
    )


def _finish(
    job: TrainingJob,
    model: keras.Model,
    known: KnownTracks,
    content: Matrix,
    began: float,
    notes: tuple[str, ...],
) -> TrainedModel:
    """Measure the losses of a solved model, and predict the unseen tracks."""
    data, artists = job.data, job.data.dataset.tracks.artist_names
    inputs = {
        "loss": (known.sums(known.artists, content[data.train], np.arange(len(data.train))), data.train),
        "val_loss": (known.sums(artists[data.validation], content[data.validation]), data.validation),
    }
    losses = {
        name: float(
            np.mean(np.square(apply_to_vectors(model, values) - data.targets[rows]), dtype=np.float64)
        )
        for name, (values, rows) in inputs.items()
    }
    predicted = apply_to_vectors(model, known.sums(artists[data.unseen], content[data.unseen]))
    epoch = {**losses, "seconds": time.perf_counter() - began}
    write_metrics(job.folder, [epoch])
    job.log(*notes)
    job.watch(1, epoch)
    return TrainedModel(model, FitResult([epoch], 1), predicted, len(data.train), notes)


def _describe_known(job: TrainingJob, known: KnownTracks) -> str:
    unseen = job.data.dataset.tracks.artist_names[job.data.unseen]
    n = int(np.isin(unseen, known.artists[known.artists != ""]).sum())
    return f"{n} of {len(unseen)} validation and test tracks are by artists of train tracks"


def _describe_shrinkage(ratio: float) -> str:
    c = f"{1 / ratio:.1f}" if ratio else "infinitely many"
    return f"means of artists are shrunk as by {c} more tracks at the mean of all"
