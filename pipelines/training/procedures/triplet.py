"""Triplet training: an embedding of sequences, then a regressor from precomputed embeddings to factors.

On one device: triplets are mined within a batch, so that shares of a batch would give other triplets.
"""

import dataclasses

import keras

from cs_keras.data.batches import TrainingBatches
from cs_keras.errors import DataError
from cs_keras.models import triplet
from cs_keras.run_files.names import EMBEDDING_FOLDER
from cs_keras.run_files.training import EmbeddingTraining
from cs_keras.training.checkpoints import Epoch
from cs_keras.training.execution import dtype_policy
from cs_keras.training.fit import FitResult, fit
from cs_keras.training.triplets.fit import TripletBatches, triplet_objective
from cs_keras.training.triplets.gradient_caching import GradientCachingModel
from cs_keras.training.triplets.mining import find_candidates
from pipelines.training.procedures.features import compute_split_sequences, train_on_sequences
from pipelines.training.procedures.job import TrainedModel, TrainingJob, describe_losses, describe_waiting
from pipelines.training.procedures.regression import fit_normalization
from pipelines.training.targets import Rows

COLLAPSED_SPREAD = 0.01  # of 1 at most; a hundredth is embeddings within about 8 degrees of their mean


def train_triplet(job: TrainingJob) -> TrainedModel:
    """Fit the embedding to triplets of train tracks, then dense layers to embeddings."""
    run, data = job.run, job.data
    with dtype_policy(run.execution.dtype_policy):
        model = triplet.build(run, data.targets.shape[1], data.dataset.info.audio)
        embedding, head = model.layers[-2:]
        regressor = keras.Model(head.input, head.output, name=run.key)  # `model` itself gets no optimizer
    fit_normalization(job, embedding, data.train)
    embedded = _fit_embedding(job, embedding)
    spread = embedded.history[embedded.best_epoch - 1]["val_embedding_spread"]
    notes: tuple[str, ...] = ()
    if spread < COLLAPSED_SPREAD:
        notes = (f"the embedding collapsed: its spread is {spread:.4f}, and 0 is a single point",)
        job.log(*notes)
    fitted, predicted = train_on_sequences(job, regressor, *compute_split_sequences(job, embedding, job.work))
    summary = EmbeddingTraining(
        run.model.margin, tuple(embedded.history), embedded.best_epoch, embedded.seconds
    )
    return TrainedModel(model, fitted, predicted, len(data.train), notes, embedding=summary)


def _fit_embedding(job: TrainingJob, embedding: keras.Model) -> FitResult:
    run, config = job.run, job.run.model
    n_sequences = config.embedding_batch_size * (3 if config.mining == "offline" else 1)
    is_cached = n_sequences > config.micro_batch
    with dtype_policy(run.execution.dtype_policy):
        if is_cached:
            network = GradientCachingModel(embedding, config.micro_batch)
        else:
            network = keras.Model(embedding.input, embedding.output, name=embedding.name)
    training = dataclasses.replace(
        run.training, epochs=config.embedding_epochs, batch_size=config.embedding_batch_size
    )

    def report_epoch(number: int, epoch: Epoch) -> None:
        job.log(
            f"embedding epoch {number} of {config.embedding_epochs}, {describe_losses(epoch)}",
            f"{epoch['active_share']:.0%} of triplets active, spread {epoch['val_embedding_spread']:.3f} "
            f"(collapsed: 0, at loss {config.margin})",
            *describe_waiting(epoch),
        )

    train = _batches(job, job.data.train, "train")
    validation = _batches(job, job.data.validation, "validation")
    return fit(
        network,
        train,
        validation.from_epoch(0).take(validation.steps_per_epoch),  # the same triplets after every epoch
        training,
        job.folder / EMBEDDING_FOLDER,
        report_epoch,
        run.execution.jit and not is_cached,  # XLA needs static sizes, unlike micro-batches
        triplet_objective(config.mining, config.margin, config.n_dimensions),
        progress=job.progress,
        label=f"{run.key}: embedding",
    )


def _batches(job: TrainingJob, rows: Rows, split: str) -> TrainingBatches:
    """Return batches of triplets of the tracks `rows`, or of any tracks if triplets are mined in the batch."""
    run, data, config = job.run, job.data, job.run.model
    if len(rows) < 3:
        raise DataError(
            f"Triplets need at least three {split} tracks with interactions. Received: {len(rows)}."
        )
    size = config.embedding_batch_size
    if config.mining != "offline":
        return TrainingBatches(data.dataset, rows, data.item_factors, run.sequence, size, run.seed)
    candidates = find_candidates(data.item_factors[rows], config.n_nearest, config.n_farthest)
    return TripletBatches(candidates, data.dataset, rows, data.item_factors, run.sequence, size, run.seed)
