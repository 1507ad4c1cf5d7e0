"""End-to-end training from sequences to factors; a track's prediction is the mean over its sequences."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.batches import TrainingBatches, prediction_batches
from cs_keras.data.windows import prediction_windows
from cs_keras.models.distribution import build_network, moments_model, split_moments, trained_part
from cs_keras.training.band_statistics import has_band_normalization, measure_bands, set_bands
from cs_keras.training.execution import choose_devices, dtype_policy, make_strategy
from cs_keras.training.predict import predict_tracks
from pipelines.training.procedures.job import TrainedModel, TrainingJob, cached_array, fit_to_factors
from pipelines.training.targets import Matrix, Rows


def train_regression(
    job: TrainingJob, build: Callable[[AudioConfig], keras.Model] | None = None
) -> TrainedModel:
    """Train the model of the run, or the one that `build` returns, on random crops.

    On all devices, or on one where the loss compares the tracks of a batch: shares of it would be other batches.
    """
    run, data, examples = job.run, job.data, job.targets.examples
    batch_size = run.training.batch_size
    devices = choose_devices(run.execution, batch_size)
    strategy = make_strategy(devices[:1] if run.training.compares_tracks else devices)
    with strategy.scope(), dtype_policy(run.execution.dtype_policy):
        audio = data.dataset.info.audio
        n_factors = data.targets.shape[1]
        # Examples of some losses are track numbers, not factors.
        n_outputs = examples.shape[1] if data.extra else n_factors
        model = build(audio) if build else build_network(run, n_outputs, audio)
        network, moments = trained_part(model), moments_model(model)
    fit_normalization(job, network, data.train)
    fitted = fit_to_factors(
        job,
        network,
        *make_batches(job, data.train, data.validation, examples),
        data.validation,
        lambda: predict_tracks(model, data.dataset, data.validation, run.sequence, batch_size),
    )
    predicted = predict_audio(job, moments, data.unseen, f"{run.key}: predict")
    if data.extra:
        model = keras.Model(model.input, model.output[:, :n_factors], name=model.name)
        predicted = predicted[:, :n_factors]
    mean, deviation = split_moments(predicted, n_factors)
    return TrainedModel(model, fitted, mean, len(data.train), deviation=deviation)


def fit_normalization(job: TrainingJob, network: keras.Model, train: Rows) -> None:
    """Fit the standardisation of the mel bands of `network`, if it has one, to sequences of tracks `train`."""
    if not has_band_normalization(network):
        return
    run, data = job.run, job.data

    def measure() -> Matrix:
        batches = TrainingBatches(
            data.dataset, train, data.targets, run.sequence, run.training.batch_size, run.seed
        )
        with job.progress.task(f"{run.key}: statistics of mel bands", batches.n_windows) as advance:
            one_pass = batches.from_epoch(0).take(batches.steps_per_epoch)
            return measure_bands(network, one_pass, advance).astype(np.float32)

    set_bands(network, cached_array(job.work / "bands.npz", measure))


def make_batches(
    job: TrainingJob, train: Rows, validation: Rows, examples: Matrix
) -> tuple[TrainingBatches, tf.data.Dataset]:
    """Return batches of random crops of tracks `train`, and of all sequences of tracks `validation`, shuffled.

    The targets of a track are its row of `examples`, shape (n_tracks, n). A batch holds many tracks, as losses that
    compare them need.
    """
    run, dataset, batch_size = job.run, job.data.dataset, job.run.training.batch_size
    batches = TrainingBatches(dataset, train, examples, run.sequence, batch_size, run.seed)
    inputs, windows = prediction_batches(dataset, validation, run.sequence, batch_size, run.seed)
    all_examples = tf.constant(examples)
    outputs = tf.data.Dataset.from_tensor_slices(windows.row).batch(batch_size)
    outputs = outputs.map(lambda rows: tf.gather(all_examples, rows))
    return batches, tf.data.Dataset.zip((inputs, outputs))


def predict_audio(job: TrainingJob, network: keras.Model, rows: Rows, title: str) -> Matrix:
    """Apply `network` to all sequences of tracks; return the mean of each track, shape (n, n_outputs), float32."""
    run, dataset = job.run, job.data.dataset
    n = count_sequences(job, rows)
    with job.progress.task(title, n) as advance:
        return predict_tracks(network, dataset, rows, run.sequence, run.training.batch_size, advance)


def count_sequences(job: TrainingJob, rows: Rows) -> int:
    """Return the number of sequences that cover tracks."""
    dataset = job.data.dataset
    return len(prediction_windows(rows, dataset.n_frames[rows], job.run.sequence, dataset.info.audio))
