"""Random patches of a network's spectrograms, to learn kernels from, in bounded memory."""

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras.data.batches import prediction_batches
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig, prediction_windows
from cs_keras.models.multiscale import Config

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

BATCH = 16  # sequences at a time


def sample_patches(
    network: keras.Model,
    dataset: Dataset,
    rows: Rows,
    sequence: SequenceConfig,
    config: Config,
    seed: int,
    on_batch: Callable[[int], None] = lambda n_sequences: None,
) -> Matrix:
    """Return patches from random positions of random tracks; tracks that are not needed are not read.

    Parameters
    ----------
    network
        Maps (batch, frames, frame_size) to spectrograms, (batch, steps, n).
    dataset, rows
        Tracks to take them from, shape (n,): train tracks only.
    sequence
        Window length and skips of the network's input.
    config
        Frames in a patch, and the largest numbers of patches.
    seed
        Seed of tracks and positions.

    Returns
    -------
    ndarray
        Shape (n_patches, patch_frames * n), float32, frame after frame.
    """
    rng = np.random.default_rng(seed)
    steps, n = network.output_shape[1:]
    n_positions = steps - config.patch_frames + 1
    share = min(config.sequence_patches, n_positions)
    chosen, n_sequences = _choose_tracks(dataset, rows, sequence, -(-config.n_patches // share), rng)
    patches = np.empty((n_sequences * share, config.patch_frames * n), np.float32)
    run = tf.function(lambda x: network(x, training=False), reduce_retracing=True, autograph=False)
    batches, _ = prediction_batches(dataset, chosen, sequence, BATCH)
    filled = 0
    for batch in batches:
        spectrograms = run(batch).numpy()
        for spectrogram in spectrograms:
            positions = np.sort(rng.choice(n_positions, share, replace=False))
            windows = np.lib.stride_tricks.sliding_window_view(spectrogram, config.patch_frames, axis=0)
            patches[filled : filled + share] = windows[positions].transpose(0, 2, 1).reshape(share, -1)
            filled += share
        on_batch(len(spectrograms))
    return patches[np.sort(rng.permutation(filled)[: config.n_patches])]


def _choose_tracks(
    dataset: Dataset, rows: Rows, sequence: SequenceConfig, n_needed: int, rng: np.random.Generator
) -> tuple[Rows, int]:
    """Return random tracks that have the sequences needed together, or all of them, and how many they have."""
    order = rng.permutation(rows)
    covering = prediction_windows(order, dataset.n_frames[order], sequence, dataset.info.audio)
    starts = np.flatnonzero(np.r_[True, covering.row[1:] != covering.row[:-1], True])
    n_tracks = min(int(np.searchsorted(starts, n_needed)), len(order))
    return order[:n_tracks], int(starts[n_tracks])
