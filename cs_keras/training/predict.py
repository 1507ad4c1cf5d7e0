"""Prediction of tracks by a trained model."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras.data.batches import prediction_batches
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig
from cs_keras.training.batch_distribution import prefetch_to_gpu

Progress = Callable[[int], None]


def predict_tracks(
    model: keras.Model,
    dataset: Dataset,
    rows: npt.NDArray[np.int64],
    sequence: SequenceConfig,
    batch_size: int,
    on_batch: Progress = lambda n_windows: None,
) -> npt.NDArray[np.float32]:
    """Return each track's prediction: the mean over the sequences that cover it.

    The model runs as it was trained: with or without XLA, on one device or on all of its strategy's. A loaded model
    runs on one device, without XLA.

    Parameters
    ----------
    model
        Maps (batch, frames, frame_size) to (batch, n_factors).
    dataset, rows
        Tracks to predict, shape (n,).
    sequence
        Window length and skips of training.
    batch_size
        Sequences at a time; it does not change the result beyond float32 rounding.

    Returns
    -------
    ndarray
        Shape (n, n_factors), float32, in the scaled space the model was trained in.
    """
    n_replicas = model.distribute_strategy.num_replicas_in_sync
    batches, windows = prediction_batches(dataset, rows, sequence, -(-batch_size // n_replicas))
    track = np.cumsum(np.r_[True, windows.row[1:] != windows.row[:-1]]) - 1
    sums = np.zeros((len(rows), model.output_shape[1]))  # memory grows with tracks, not with windows
    first = 0
    for outputs in _outputs(model, batches):
        np.add.at(sums, track[first : first + len(outputs)], outputs)
        first += len(outputs)
        on_batch(len(outputs))
    return (sums / np.bincount(track)[:, np.newaxis]).astype(np.float32)


def _outputs(model: keras.Model, batches: tf.data.Dataset) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the model's output for each of `batches`, of which every replica takes one at a time."""
    strategy = model.distribute_strategy
    run = tf.function(
        functools.partial(strategy.run, functools.partial(model, training=False)),
        reduce_retracing=True,
        autograph=False,
        jit_compile=model.compiled and model.jit_compile,  # uncompiled, Keras would use XLA on GPUs
    )
    left, n_replicas = int(batches.cardinality()), strategy.num_replicas_in_sync
    if n_replicas == 1:
        rounds = prefetch_to_gpu(batches)
    else:  # cuDNN takes no empty batches, so the last round is filled up
        filled = batches.concatenate(batches.take(1).repeat(-left % n_replicas))
        rounds = strategy.distribute_datasets_from_function(lambda context: filled)
    for batch in rounds:
        outputs = strategy.experimental_local_results(run((batch,)))[:left]
        left -= len(outputs)
        yield from (output.numpy() for output in outputs)


def apply_to_tracks(
    model: keras.Model,
    dataset: Dataset,
    rows: npt.NDArray[np.int64],
    on_track: Progress = lambda n_tracks: None,
) -> npt.NDArray[np.float32]:
    """Return the output of a model that pools over time itself, one whole track at a time, shape (n, n_outputs)."""
    run = whole_track_function(model)
    outputs = np.empty((len(rows), model.output_shape[1]), np.float32)
    for output, row in zip(outputs, rows, strict=True):
        output[:] = run(dataset.read_track(int(row)))
        on_track(1)
    return outputs


def whole_track_function(model: keras.Model) -> Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]:
    """Return a function of one track's frames, (n_frames, frame_size), any length, to the model's output for it."""
    run = tf.function(
        lambda frames: model(tf.cast(frames, tf.float32)[tf.newaxis], training=False)[0],
        reduce_retracing=True,
        autograph=False,
    )

    def apply(frames: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        output: npt.NDArray[np.float32] = run(tf.constant(frames)).numpy()
        return output

    return apply
