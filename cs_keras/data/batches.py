"""tf.data pipelines: batches of windows of a dataset, determined by seed and step, so that training can resume."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras import tfio
from cs_keras.data.dataset import Dataset
from cs_keras.data.selection import select_sequences
from cs_keras.data.windows import (
    SELECTIONS_BY_SPECTRUM,
    SequenceConfig,
    Windows,
    prediction_windows,
    training_windows,
)
from cs_keras.errors import ConfigError

Targets = npt.NDArray[np.float32]
NOTHING = np.zeros(0, np.float32)
PREFETCHED_BATCHES = 2  # that a disk reads ahead


def read_in_parallel(numbers: tf.data.Dataset, read: Callable[[tf.Tensor], Any]) -> tf.data.Dataset:
    """Return ``read(number)`` for each of `numbers`, in their order, read ahead by a thread for each core."""
    batches = numbers.map(read, tf.data.AUTOTUNE, deterministic=True)
    return without_autotuning(batches.prefetch(tf.data.AUTOTUNE))


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return `dataset` without the thread of tf.data that tunes a pipeline while it runs.

    When an iterator is let go of, that thread can miss its signal to stop; whoever let go then waits for its next
    turn, for as long as the pipeline had run and up to a minute (TensorFlow 2.17). Without it, ``AUTOTUNE`` stands
    for the number of cores.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@contextlib.contextmanager
def dataset_errors(dataset: Dataset) -> Iterator[None]:
    """Raise the dataset's own error instead of TensorFlow's wrapper of it."""
    dataset.error = None
    try:
        yield
    except tf.errors.OpError as error:
        raise dataset.error or error from None


class TrainingBatches:
    """Endless shuffled batches of random crops of the tracks `rows` with their targets.

    `targets` have shape (n_tracks of the dataset, n_factors), float32; only `rows`, shape (n,), are read. Epoch
    e's crops and their order come from ``default_rng([seed, e])``: the order mixes all shards, takes 16 bytes per
    window, and does not depend on threads. The last, smaller batch of an epoch is used.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: npt.NDArray[np.int64],
        targets: Targets,
        sequence: SequenceConfig,
        batch_size: int,
        seed: int,
    ) -> None:
        self.dataset, self.targets, self.sequence, self.batch_size = dataset, targets, sequence, batch_size
        self._rows, self._seed = rows, seed
        self._epoch = functools.lru_cache(maxsize=2)(self._draw)
        self.n_windows = len(self._epoch(0))
        self.steps_per_epoch = -(-self.n_windows // batch_size)

    def from_epoch(self, epoch: int) -> tf.data.Dataset:
        """Return batches (sequences, targets) from the first step of `epoch` on, without end.

        Sequences have shape (batch, frames, frame_size) in the dtype on disk, targets (batch, n_factors), float32.
        """

        def windows(step: int) -> Windows:
            number, batch = divmod(int(step), self.steps_per_epoch)
            return self._epoch(number).batch(batch, self.batch_size)

        read = _loader(self.dataset, self.sequence, windows, self.targets)
        steps = tf.data.Dataset.range(epoch * self.steps_per_epoch, np.iinfo(np.int64).max)
        return read_in_parallel(steps, read)

    def _draw(self, epoch: int) -> Windows:
        rng = np.random.default_rng([self._seed, epoch])
        n_frames = self.dataset.n_frames[self._rows]
        return training_windows(self._rows, n_frames, self.sequence, self.dataset.info.audio, rng)


def prediction_batches(
    dataset: Dataset,
    rows: npt.NDArray[np.int64],
    sequence: SequenceConfig,
    batch_size: int,
    seed: int | None = None,
) -> tuple[tf.data.Dataset, Windows]:
    """Return batches of fixed windows that cover `rows`, and the windows in the same order.

    Tracks follow each other, or windows are shuffled by `seed`.
    """
    windows = prediction_windows(rows, dataset.n_frames[rows], sequence, dataset.info.audio)
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(windows))
        windows = Windows(windows.row[order], windows.start[order])
    load = _loader(dataset, sequence, lambda batch: windows.batch(batch, batch_size))
    numbers = tf.data.Dataset.range(-(-len(windows) // batch_size))
    return read_in_parallel(numbers, load), windows


class ArrayBatches:
    """Endless shuffled batches of rows of arrays: `TrainingBatches` for precomputed inputs.

    `inputs` and `targets` have shapes (n, ..., n_features) and (n, n_factors), float32. Epoch e's order comes from
    ``default_rng([seed, e])`` alone.
    """

    def __init__(self, inputs: Targets, targets: Targets, batch_size: int, seed: int) -> None:
        self._inputs, self._targets = inputs, targets
        self._batch_size, self._seed = batch_size, seed
        self.steps_per_epoch = -(-len(inputs) // batch_size)

    def from_epoch(self, epoch: int) -> tf.data.Dataset:
        """Return batches (inputs, targets) from the first step of `epoch` on, without end."""
        signature = tuple(tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in (self._inputs, self._targets))
        return tf.data.Dataset.from_generator(lambda: self._batches(epoch), output_signature=signature)

    def _batches(self, epoch: int) -> Iterator[tuple[Targets, Targets]]:
        for number in itertools.count(epoch):
            order = np.random.default_rng([self._seed, number]).permutation(len(self._inputs))
            for start in range(0, len(order), self._batch_size):
                chosen = order[start : start + self._batch_size]
                yield self._inputs[chosen], self._targets[chosen]


def _loader(
    dataset: Dataset,
    sequence: SequenceConfig,
    choose: Callable[[int], Windows],
    targets: Targets | None = None,
) -> Callable[[tf.Tensor], Any]:
    """Return a graph function from a number to the sequences of ``choose(number)``, with `targets` if given.

    It calls Python once per batch; two calls would take a quarter longer.
    """
    dtype, audio, frames = dataset.info.dtype, dataset.info.audio, sequence.excerpt_frames
    if audio.holds_waveforms and sequence.select in SELECTIONS_BY_SPECTRUM:
        raise ConfigError(
            f"sequence.select={sequence.select} needs a dataset of magnitudes. Received: {dataset.folder}, which "
            "holds waveforms."
        )

    def pair(x: tf.Tensor, n_frames: tf.Tensor, y: tf.Tensor) -> Any:
        x = tf.ensure_shape(x, (None, frames, audio.frame_size))
        x = select_sequences(x, tf.ensure_shape(n_frames, (None,)), sequence)
        return x if targets is None else (x, tf.ensure_shape(y, (None, targets.shape[1])))

    def about(windows: Windows) -> tuple[npt.NDArray[np.int64], Targets]:
        y = NOTHING if targets is None else targets[windows.row]
        return dataset.n_frames[windows.row] - windows.start, y

    def by_ranges(number: tf.Tensor) -> Any:
        def read(n: int) -> tuple[npt.NDArray[Any], ...]:
            windows = choose(n)
            dataset.prefetch(choose(n + PREFETCHED_BATCHES), frames)
            return dataset.read_windows(windows, frames), *about(windows)

        return pair(*tf.numpy_function(read, [number], (dtype, tf.int64, tf.float32)))

    def by_tfio(number: tf.Tensor) -> Any:
        def locate(n: int) -> tuple[npt.NDArray[Any], ...]:
            windows = choose(n)
            return *dataset.locate_windows(windows, frames), *about(windows)

        def read(one: tuple[tf.Tensor, ...]) -> tf.Tensor:
            path, shape, first, last = one
            x = tfio.read_hdf5(path, f"/{audio.content}", shape, first, last, dtype)
            return tf.ensure_shape(
                tf.pad(x, [[0, frames - last + first], [0, 0]]), (frames, audio.frame_size)
            )

        *located, n_frames, y = tf.numpy_function(
            locate, [number], (tf.string, tf.int64, tf.int64, tf.int64, tf.int64, tf.float32)
        )
        for tensor, shape in zip(located, ((None,), (None, 2), (None,), (None,)), strict=True):
            tensor.set_shape(shape)
        return pair(tf.map_fn(read, tuple(located), fn_output_signature=dtype), n_frames, y)

    return by_tfio if dataset.reading.reader == "tfio" else by_ranges
