"""Sequences to factors; a track's prediction is the mean over the sequences that cover it."""

from collections.abc import Callable

import keras
import tensorflow as tf

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.batches import TrainingBatches, prediction_batches
from cs_keras.data.windows import prediction_windows
from cs_keras.models import model_module
from cs_keras.training.execution import choose_devices, dtype_policy, make_strategy
from cs_keras.training.predict import predict_tracks
from pipelines.training.procedures.job import Job, Trained, fit_to_factors


def train_regression(job: Job, build: Callable[[AudioConfig], keras.Model] | None = None) -> Trained:
    """Train on random crops, on as many devices as share a batch; what `build` gives, or the model of the run."""
    run, task, examples = job.run, job.task, job.lesson.examples
    batch_size = run.training.batch_size
    strategy = make_strategy(choose_devices(run.execution, batch_size))
    with strategy.scope(), dtype_policy(run.execution.dtype_policy):
        audio = task.dataset.info.audio
        # Examples are targets; of a loss that is about listening they are not.
        n_factors = task.targets.shape[1]
        n_outputs = examples.shape[1] if task.extra else n_factors
        model = build(audio) if build else model_module(run.key).build(run, n_outputs, audio)
    batches = TrainingBatches(task.dataset, task.train, examples, run.sequence, batch_size, run.seed)
    inputs, windows = prediction_batches(task.dataset, task.validation, run.sequence, batch_size)
    all_examples = tf.constant(examples)
    outputs = tf.data.Dataset.from_tensor_slices(windows.row).batch(batch_size)
    outputs = outputs.map(lambda rows: tf.gather(all_examples, rows))
    fitted = fit_to_factors(job, model, batches, tf.data.Dataset.zip((inputs, outputs)))
    n_frames = task.dataset.n_frames[task.unseen]
    covering = prediction_windows(task.unseen, n_frames, run.sequence, task.dataset.info.audio)
    with job.progress.task(f"{run.key}: predict", len(covering)) as advance:
        predicted = predict_tracks(model, task.dataset, task.unseen, run.sequence, batch_size, advance)
    if task.extra:
        model = keras.Model(model.input, model.output[:, :n_factors], name=model.name)
        predicted = predicted[:, :n_factors]
    return Trained(model, fitted, predicted)
