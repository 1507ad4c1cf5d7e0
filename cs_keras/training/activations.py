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

    Attributes
    ----------
    most, moment_s
        Highest activation in a track, and its time: seconds from the track's first frame.
    mean
        Mean over time, and over mel bands where a unit has them.
    """

    most: Matrix
    moment_s: Matrix
    mean: Matrix


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
    """Activations along the windows of a track.

    Attributes
    ----------
    peaks, means
        Over the mel bands of each step, shape (n_windows, n_steps, n_units), float32.
    frames
        Position of each step, in frames from the window's first, shape (n_steps,), float32.
    """

    peaks: Matrix
    means: Matrix
    frames: Matrix


def find_strongest_tracks(activations: Activations, k: int, layer: str = "") -> Units:
    """Return the `k` tracks that activate each unit of a layer most, or all if there are fewer; ties by row.

    Units are ordered by the pivots of a QR decomposition of their mean activations: first the one whose mean
    activation differs most between tracks, then always the one least explained by those before.
    """
    moment = np.argsort(-activations.most, axis=0, kind="stable")[:k].T
    mean = np.argsort(-activations.mean, axis=0, kind="stable")[:k].T
    column = np.arange(activations.most.shape[1])[:, np.newaxis]
    return Units(
        layer,
        _order_units(activations.mean),
        moment,
        activations.most[moment, column],
        activations.moment_s[moment, column],
        mean,
        activations.mean[mean, column],
    )


def _order_units(means: Matrix) -> Rows:
    """Return units from the most to the least informative about tracks; many respond to much the same."""
    if not means.size:
        return np.zeros(0, np.int64)
    centred = means.astype(np.float64) - means.mean(axis=0, dtype=np.float64)
    pivots = scipy.linalg.qr(centred, mode="r", pivoting=True)[1]
    return np.asarray(pivots, dtype=np.int64)


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
    sequence
        Length of a window.
    on_track
        Called with numbers of tracks as they are done.
    """
    run = _step_function(tapped, sequence.frames, dataset.info.audio.frame_size)
    measured = []
    for windows in tracks:
        n_frames = dataset.n_frames[windows.row] - windows.start
        steps = _join([run(batch) for batch in _batches(dataset, windows, sequence.frames)])
        measured.append({name: _reduce(one, windows.start, n_frames) for name, one in steps.items()})
        on_track(1)
    rate = dataset.info.audio.frames_per_second
    found = {}
    for name in measured[0]:
        most, frame, mean = (np.stack(parts) for parts in zip(*(one[name] for one in measured), strict=True))
        found[name] = Activations(most, (frame / rate).astype(np.float32), mean.astype(np.float32))
    return found


def compute_activation_maps(tapped: TappedModel, frames: npt.NDArray[Any]) -> Mapping[str, Matrix]:
    """Return the mel spectrogram and filter activations of one window, if the network has them.

    Parameters
    ----------
    tapped
        The network.
    frames
        Shape (frames, frame_size).

    Returns
    -------
    dict of str to ndarray
        ``mel`` (frames, n_mels) and ``filters`` (n_steps, n_mels, n_filters), float32.
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


def _join(batches: list[dict[str, Any]]) -> dict[str, Steps]:
    """Concatenate the results of batches in host memory."""
    joined = {}
    for name in batches[0]:
        peaks, means = (np.concatenate([batch[name][part].numpy() for batch in batches]) for part in (0, 1))
        joined[name] = Steps(peaks=peaks, means=means, frames=batches[0][name][2].numpy())
    return joined


def _step_function(tapped: TappedModel, frames: int, frame_size: int) -> Callable[[Any], dict[str, Any]]:
    """Return a function from windows to the arrays of `Steps`, for filters and units."""

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


def _reduce(steps: Steps, start: Rows, n_frames: Rows) -> tuple[npt.NDArray[Any], ...]:
    """Return each unit's highest activation in a track, its frame, and the mean: three arrays of shape (n_units,).

    Parameters
    ----------
    steps
        Steps of all the track's windows.
    start, n_frames
        First frame of each window, and the number of frames from there to the track's end, shape (n_windows,).
    """
    is_audio = steps.frames < n_frames[:, np.newaxis]
    is_audio |= ~is_audio.any(axis=1, keepdims=True)
    frame = (start[:, np.newaxis] + steps.frames)[is_audio]
    peaks, means = steps.peaks[is_audio], steps.means[is_audio]  # (n_steps of all windows, n_units)
    best = peaks.argmax(axis=0)
    return peaks[best, np.arange(peaks.shape[1])], frame[best], means.mean(axis=0, dtype=np.float64)
