"""An embedding of sequences, trained on triplets; then embeddings, computed once, to factors.

On one device: triplets are found within a batch, and would be others in shares of it.
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
from pipelines.training.procedures.features import hear, train_on_sequences
from pipelines.training.procedures.job import Job, Trained, speed
from pipelines.training.targets import Rows

COLLAPSED_SPREAD = 0.01  # of 1 at most; a hundredth is embeddings within about 8 degrees of their mean


def train_triplet(job: Job) -> Trained:
    """Fit the embedding to triplets of train tracks, then dense layers to its points."""
    run, task = job.run, job.task
    with dtype_policy(run.execution.dtype_policy):
        model = triplet.build(run, task.targets.shape[1], task.dataset.info.audio)
        embedding, head = model.layers[-2:]
        regressor = keras.Model(head.input, head.output, name=run.key)  # so that `model` gets no optimizer
    embedded = _fit_embedding(job, embedding)
    spread = embedded.history[embedded.best_epoch - 1]["val_embedding_spread"]
    notes: tuple[str, ...] = ()
    if spread < COLLAPSED_SPREAD:
        notes = (f"the embedding collapsed: its spread is {spread:.4f}, and 0 is a single point",)
        job.progress.log(f"{run.key}: {notes[0]}")
    fitted, predicted = train_on_sequences(job, regressor, *hear(job, embedding, job.work))
    summary = EmbeddingTraining(
        run.model.margin, tuple(embedded.history), embedded.best_epoch, embedded.seconds
    )
    return Trained(model, fitted, predicted, notes, summary)


def _fit_embedding(job: Job, embedding: keras.Model) -> FitResult:
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

    def tell(number: int, epoch: Epoch) -> None:
        job.progress.log(
            f"{run.key}: embedding epoch {number} of {config.embedding_epochs}, triplet loss {epoch['loss']:.4f}, "
            f"validation {epoch['val_loss']:.4f} (collapsed: {config.margin}), {epoch['active_share']:.0%} of "
            f"triplets active, spread {epoch['val_embedding_spread']:.3f} (collapsed: 0), {speed(epoch)}"
        )

    train = _batches(job, job.task.train, "train")
    validation = _batches(job, job.task.validation, "validation")
    return fit(
        network,
        train,
        validation.from_epoch(0).take(validation.steps_per_epoch),  # the same triplets after every epoch
        training,
        job.folder / EMBEDDING_FOLDER,
        tell,
        run.execution.jit and not is_cached,  # XLA cannot cut micro-batches of a size known only when it runs
        triplet_objective(config.mining, config.margin, config.n_dimensions),
    )


def _batches(job: Job, rows: Rows, split: str) -> TrainingBatches:
    """Return batches of triplets of the tracks `rows`, or where they are mined in the batch of any of them."""
    run, task, config = job.run, job.task, job.run.model
    if len(rows) < 3:
        raise DataError(f"Triplets need at least three {split} tracks with listening. Received: {len(rows)}.")
    size = config.embedding_batch_size
    if config.mining != "offline":
        return TrainingBatches(task.dataset, rows, task.item_factors, run.sequence, size, run.seed)
    candidates = find_candidates(task.item_factors[rows], config.n_nearest, config.n_farthest)
    return TripletBatches(candidates, task.dataset, rows, task.item_factors, run.sequence, size, run.seed)
