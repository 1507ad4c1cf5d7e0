"""Outputs of a trained network for all sequences, stored in a file to train on and predict from.

Sequences cover their tracks as in prediction. Files hold float32 rows only and grow by blocks of tracks: a killed
computation resumes after the last complete block, and memory holds a batch at a time.
"""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras.data.batches import prediction_batches, read_in_parallel
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig, prediction_windows
from cs_keras.errors import StorageError
from cs_keras.runs import require_space
from cs_keras.storage.open_files import open_for_writing
from cs_keras.training.batch_distribution import prefetch_to_gpu

BLOCK_TRACKS = 64

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Sequences:
    """Features of all sequences that cover some tracks, (n_sequences, n_features), and each one's track table row.

    Features are read from disk as needed.
    """

    values: Floats
    row: Integers

    def of_tracks(self, rows: Integers) -> Integers:
        """Return the sequences of tracks `rows`, in order, shape (n,), int64."""
        return np.flatnonzero(np.isin(self.row, rows))


def compute_sequences(
    model: keras.Model,
    dataset: Dataset,
    rows: Integers,
    sequence: SequenceConfig,
    batch_size: int,
    path: Path,
    on_batch: Callable[[int], None] = lambda n_sequences: None,
    jit: bool = False,
) -> Sequences:
    """Return the output of `model` for each sequence of `rows`, computing those that `path` does not hold yet.

    Parameters
    ----------
    model
        Maps (batch, frames, frame_size) to (batch, n_features), each sequence independently.
    dataset, rows
        Tracks, shape (n,).
    sequence, batch_size
        Length and skips; sequences at a time.
    path
        The file; an existing one must be of the same model, rows and settings.
    jit
        Compile the model with XLA.

    Raises
    ------
    StorageError
        The file cannot be written, or has another size.
    """
    blocks = [rows[first : first + BLOCK_TRACKS] for first in range(0, len(rows), BLOCK_TRACKS)]
    covering = [
        prediction_windows(block, dataset.n_frames[block], sequence, dataset.info.audio).row
        for block in blocks
    ]
    row, n_features = np.concatenate(covering), model.output_shape[1]
    if not path.exists():
        ends = [0, *itertools.accumulate(len(block) * 4 * n_features for block in covering)]
        batches = _outputs(model, dataset, sequence, batch_size, jit)
        try:
            _append_blocks(
                path, ends, lambda number: batches(blocks[number]), lambda n: on_batch(n // 4 // n_features)
            )
        except OSError as error:
            raise (
                error if isinstance(error, StorageError) else StorageError(f"Cannot write {path}: {error}.")
            ) from error
    else:
        on_batch(len(row))
    if path.stat().st_size != len(row) * 4 * n_features:
        raise StorageError(f"{path} does not hold {len(row)} sequences; delete it to compute them again.")
    return Sequences(np.memmap(path, np.float32, "r", shape=(len(row), n_features)), row)


def _outputs(
    model: keras.Model, dataset: Dataset, sequence: SequenceConfig, batch_size: int, jit: bool
) -> Callable[[Integers], Iterator[bytes]]:
    """Return a function of track table rows to the model's outputs for their sequences, batch after batch."""
    run = tf.function(
        lambda x: model(x, training=False),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), dataset.info.dtype)],
        jit_compile=jit,
        autograph=False,
    )

    def outputs(rows: Integers) -> Iterator[bytes]:
        batches, _ = prediction_batches(dataset, rows, sequence, batch_size)
        for batch in prefetch_to_gpu(batches):
            yield run(batch).numpy().astype(np.float32).tobytes()

    return outputs


def _append_blocks(
    path: Path,
    ends: list[int],
    parts_of: Callable[[int], Iterator[bytes]],
    on_bytes: Callable[[int], None],
) -> None:
    """Write blocks whose bytes end at `ends`, starting with the first incomplete one."""
    partial = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(open_for_writing(partial, os.O_RDWR | os.O_APPEND), "ab") as file:
        n_done = sum(end <= file.tell() for end in ends) - 1
        require_space(path.parent, ends[-1] - ends[n_done])
        file.truncate(ends[n_done])
        on_bytes(ends[n_done])
        for number in range(n_done, len(ends) - 1):
            for part in parts_of(number):
                file.write(part)
                on_bytes(len(part))
            file.flush()
    os.replace(partial, path)


class SequenceBatches:
    """Endless shuffled batches of features and targets of the sequences of tracks `rows`, shape (n,).

    `targets` have shape (n_tracks of the dataset, n_outputs), float32: all sequences of a track share its row. The
    order of epoch e comes from ``default_rng([seed, e])`` alone.
    """

    def __init__(
        self, sequences: Sequences, rows: Integers, targets: Floats, batch_size: int, seed: int
    ) -> None:
        self._sequences, self._targets, self._batch_size, self._seed = sequences, targets, batch_size, seed
        self._chosen = sequences.of_tracks(rows)
        self._order = functools.lru_cache(maxsize=2)(self._shuffle)
        self.steps_per_epoch = -(-len(self._chosen) // batch_size)

    def from_epoch(self, epoch: int) -> tf.data.Dataset:
        """Return batches (features, targets) endlessly, from the first step of `epoch`."""
        steps = tf.data.Dataset.range(epoch * self.steps_per_epoch, np.iinfo(np.int64).max)
        return self._load(steps)

    def one_pass(self) -> tf.data.Dataset:
        """Return the batches of epoch 0."""
        return self.from_epoch(0).take(self.steps_per_epoch)

    def _shuffle(self, epoch: int) -> Integers:
        return np.random.default_rng([self._seed, epoch]).permutation(self._chosen)

    def _load(self, steps: tf.data.Dataset) -> tf.data.Dataset:
        def load(step: int) -> tuple[Floats, Floats]:
            epoch, batch = divmod(int(step), self.steps_per_epoch)
            chosen = self._order(epoch)[batch * self._batch_size : (batch + 1) * self._batch_size]
            return self._sequences.values[chosen], self._targets[self._sequences.row[chosen]]

        def read(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            pair = tf.numpy_function(load, [step], (tf.float32, tf.float32))
            for tensor, array in zip(pair, (self._sequences.values, self._targets), strict=True):
                tensor.set_shape((None, array.shape[1]))
            return tuple(pair)

        return read_in_parallel(steps, read)


def predict_from_sequences(
    model: keras.Model, sequences: Sequences, rows: Integers, batch_size: int
) -> Floats:
    """Return for each track the mean output of `model` over its sequences' features, shape (n, n_outputs), float32.

    Parameters
    ----------
    model
        Maps (batch, n_features) to (batch, n_outputs).
    sequences
        Features of tracks `rows`, one track after another.
    batch_size
        Sequences at a time; it does not change the result beyond float32 rounding.
    """
    track = np.cumsum(np.r_[True, sequences.row[1:] != sequences.row[:-1]]) - 1
    sums = np.zeros((len(rows), model.output_shape[1]))
    run = tf.function(
        lambda x: model(x, training=False),
        input_signature=[tf.TensorSpec((None, sequences.values.shape[1]), tf.float32)],
        autograph=False,
    )
    for first in range(0, len(track), batch_size):
        chosen = slice(first, first + batch_size)
        np.add.at(sums, track[chosen], run(tf.constant(sequences.values[chosen])).numpy())
    return (sums / np.bincount(track)[:, np.newaxis]).astype(np.float32)
