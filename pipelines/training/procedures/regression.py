"""End-to-end training from sequences to factors; a track's prediction is the mean over its sequences."""

from collections.abc import Callable

import keras
import tensorflow as tf

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.batches import TrainingBatches, prediction_batches
from cs_keras.data.windows import prediction_windows
from cs_keras.models import model_module
from cs_keras.training.execution import choose_devices, dtype_policy, make_strategy
from cs_keras.training.predict import predict_tracks
from pipelines.training.procedures.job import TrainedModel, TrainingJob, fit_to_factors


def train_regression(
    job: TrainingJob, build: Callable[[AudioConfig], keras.Model] | None = None
) -> TrainedModel:
    """Train the model of the run, or the one that `build` returns, on random crops and all devices."""
    run, data, examples = job.run, job.data, job.targets.examples
    batch_size = run.training.batch_size
    strategy = make_strategy(choose_devices(run.execution, batch_size))
    with strategy.scope(), dtype_policy(run.execution.dtype_policy):
        audio = data.dataset.info.audio
        n_factors = data.targets.shape[1]
        # With loss wpe, examples are track numbers, not factors.
        n_outputs = examples.shape[1] if data.extra else n_factors
        model = build(audio) if build else model_module(run.key).build(run, n_outputs, audio)
    batches = TrainingBatches(data.dataset, data.train, examples, run.sequence, batch_size, run.seed)
    inputs, windows = prediction_batches(data.dataset, data.validation, run.sequence, batch_size)
    all_examples = tf.constant(examples)
    outputs = tf.data.Dataset.from_tensor_slices(windows.row).batch(batch_size)
    outputs = outputs.map(lambda rows: tf.gather(all_examples, rows))
    fitted = fit_to_factors(job, model, batches, tf.data.Dataset.zip((inputs, outputs)))
    n_frames = data.dataset.n_frames[data.unseen]
    covering = prediction_windows(data.unseen, n_frames, run.sequence, data.dataset.info.audio)
    with job.progress.task(f"{run.key}: predict", len(covering)) as advance:
        predicted = predict_tracks(model, data.dataset, data.unseen, run.sequence, batch_size, advance)
    if data.extra:
        model = keras.Model(model.input, model.output[:, :n_factors], name=model.name)
        predicted = predicted[:, :n_factors]
    return TrainedModel(model, fitted, predicted)
