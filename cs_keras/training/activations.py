"""Activations of a network's inner units for tracks: maxima over time and means (Dieleman 2014)."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import tensorflow as tf

from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig, Windows, prediction_windows
from cs_keras.models.taps import FirstLayer, TappedModel
from cs_keras.progress import Advance
from cs_keras.run_files.inspection import Units

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

FILTERS, UNITS = "filters", "units"
BATCH_FRAMES = 4096  # per batch: the first layer's output takes some hundred megabytes


@dataclasses.dataclass(frozen=True, eq=False)
class Activations:
    """Activations of units for tracks; each array is float32 of shape (n_tracks, n_units).

    `most` has the highest in a track and `moment_s` its time, in seconds from the track's first frame; `mean` is
    over time, and over mel bands where a unit has them.
    """

    most: Matrix
    moment_s: Matrix
    mean: Matrix


def find_strongest_tracks(activations: Activations, k: int, layer: str = "") -> Units:
    """Return the `k` tracks that activate each unit of a layer most, or all if there are fewer; ties by row.

    Units are ordered by the pivots of a QR decomposition of their mean activations: first the one whose mean
    activation differs most between tracks, then always the one least explained by those before.
    """
    moment = np.argsort(-activations.most, axis=0, kind="stable")[:k].T
    mean = np.argsort(-activations.mean, axis=0, kind="stable")[:k].T
    column = np.arange(activations.most.shape[1])[:, np.newaxis]
    centred = activations.mean.astype(np.float64) - activations.mean.mean(axis=0, dtype=np.float64)
    order = scipy.linalg.qr(centred, mode="r", pivoting=True)[1] if centred.size else np.zeros(0)
    return Units(
        layer,
        order.astype(np.int64),
        moment,
        activations.most[moment, column],
        activations.moment_s[moment, column],
        mean,
        activations.mean[mean, column],
    )


def choose_windows(dataset: Dataset, rows: Rows, sequence: SequenceConfig, at_most: int) -> list[Windows]:
    """Return for each of `rows` its prediction windows, at most `at_most` of them.

    A selection is spread evenly over the track, including the first and the last; a single one is the middle.
    """
    chosen = []
    for row in rows.tolist():
        one = np.array([row])
        windows = prediction_windows(one, dataset.n_frames[one], sequence, dataset.info.audio)
        n = len(windows)
        if n > at_most:
            selected = (
                np.linspace(0, n - 1, at_most).round().astype(int) if at_most > 1 else np.array([n // 2])
            )
            windows = Windows(windows.row[selected], windows.start[selected])
        chosen.append(windows)
    return chosen


def measure_activations(
    tapped: TappedModel,
    dataset: Dataset,
    tracks: list[Windows],
    sequence: SequenceConfig,
    on_track: Advance = lambda n_tracks: None,
) -> dict[str, Activations]:
    """Run a network over tracks and return the activations of its ``filters`` and ``units``, if it has them.

    Filter positions that overlap the padding at a window's edge are left out, if others remain, and so is the
    silence after a track shorter than a window.

    Parameters
    ----------
    tapped
        The network.
    dataset
        Dataset of the tracks, with the audio settings that the network was trained on.
    tracks
        Windows of each track; at least one track.
    """
    run = _step_function(tapped, sequence.frames, dataset.info.audio.frame_size)
    measured = []
    for windows in tracks:
        n_frames = dataset.n_frames[windows.row] - windows.start
        batches = [run(batch) for batch in _batches(dataset, windows, sequence.frames)]
        reduced = {}
        for name, (*_, frames) in batches[0].items():
            # The results of all batches in host memory.
            peaks, means = (np.concatenate([one[name][part].numpy() for one in batches]) for part in (0, 1))
            reduced[name] = _reduce(peaks, means, frames.numpy(), windows.start, n_frames)
        measured.append(reduced)
        on_track(1)
    rate = dataset.info.audio.frames_per_second
    found = {}
    for name in measured[0]:
        most, frame, mean = (np.stack(parts) for parts in zip(*(one[name] for one in measured), strict=True))
        found[name] = Activations(most, (frame / rate).astype(np.float32), mean.astype(np.float32))
    return found


def compute_activation_maps(tapped: TappedModel, frames: npt.NDArray[Any]) -> Mapping[str, Matrix]:
    """Return the mel spectrogram and filter activations of one window, if the network has them.

    `frames` have shape (frames, frame_size), the results ``mel`` (frames, n_mels) and ``filters`` (n_steps, n_mels,
    n_filters), float32.
    """
    outputs = tapped.model(frames[np.newaxis].astype(np.float32), training=False)
    return {name: output.numpy()[0] for name, output in outputs.items() if name != UNITS}


def _batches(dataset: Dataset, windows: Windows, frames: int) -> Iterator[Any]:
    """Yield a track's windows, float32 tensors of shape (batch, frames, frame_size)."""
    size = max(1, BATCH_FRAMES // frames)
    for first in range(0, len(windows), size):
        chosen = slice(first, first + size)
        batch = dataset.read_windows(Windows(windows.row[chosen], windows.start[chosen]), frames)
        yield tf.constant(batch.astype(np.float32))


def _step_function(tapped: TappedModel, frames: int, frame_size: int) -> Callable[[Any], dict[str, Any]]:
    """Return a function from windows to peaks and means over the mel bands of each step, and the steps' positions.

    For filters and units each: two tensors of shape (n_windows, n_steps, n_units), and one of shape (n_steps,), in
    frames from the window's first; float32.
    """

    def run(x: Any) -> dict[str, Any]:
        outputs = tapped.model(x, training=False)
        steps = {}
        if tapped.first is not None:
            steps[FILTERS] = _filter_steps(outputs[FILTERS], tapped.first, frames)
        if UNITS in outputs:
            units = outputs[UNITS][:, tf.newaxis]
            steps[UNITS] = units, units, tf.zeros(1)
        return steps

    spec = tf.TensorSpec((None, frames, frame_size), tf.float32)
    compiled: Callable[[Any], dict[str, Any]] = tf.function(run, input_signature=[spec], autograph=False)
    return compiled


def _filter_steps(maps: Any, first: FirstLayer, frames: int) -> tuple[Any, Any, Any]:
    n_steps, n_mels = maps.shape[1:3]
    steps, mels = _inside(n_steps, first.edge_steps), _inside(n_mels, first.edge_mels)
    inner = maps[:, steps, mels]
    # The middle frame of a step's input; 0 for one that covers the whole window.
    middle = (np.arange(n_steps)[steps] + 0.5) * frames / n_steps if n_steps > 1 else np.zeros(1)
    return tf.reduce_max(inner, axis=2), tf.reduce_mean(inner, axis=2), tf.constant(middle, tf.float32)


def _inside(n: int, edge: tuple[int, int]) -> slice:
    return slice(edge[0], n - edge[1]) if n > sum(edge) else slice(None)


def _reduce(
    peaks: Matrix, means: Matrix, position: Matrix, start: Rows, n_frames: Rows
) -> tuple[npt.NDArray[Any], ...]:
    """Return each unit's highest activation in a track, its frame, and the mean: three arrays of shape (n_units,).

    `start` and `n_frames` are each window's first frame, and the number of frames from there to the track's end;
    see `_step_function` for the others.
    """
    is_audio = position < n_frames[:, np.newaxis]
    is_audio |= ~is_audio.any(axis=1, keepdims=True)
    frame = (start[:, np.newaxis] + position)[is_audio]
    peaks, means = peaks[is_audio], means[is_audio]  # (n_steps of all windows, n_units)
    best = peaks.argmax(axis=0)
    return peaks[best, np.arange(peaks.shape[1])], frame[best], means.mean(axis=0, dtype=np.float64)
