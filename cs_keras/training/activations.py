"""How strongly the inner units of a network answer to tracks, at one moment and on average (Dieleman 2014)."""

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
BATCH_FRAMES = 4096  # run at a time: what a first layer makes of them takes some hundred megabytes


@dataclasses.dataclass(frozen=True, eq=False)
class Activity:
    """What some units of a network make of tracks; each array is float32 of shape (n_tracks, n_units).

    Attributes
    ----------
    most, moment_s
        The highest activation in a track, and when it is: seconds from the track's first frame.
    mean
        Over time, and over mel bands where a unit answers to each.
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
        Where each step is, counted from the window's first frame, shape (n_steps,), float32.
    """

    peaks: Matrix
    means: Matrix
    frames: Matrix


def strongest(activity: Activity, k: int, layer: str = "") -> Units:
    """Return the `k` tracks that activate each unit of a layer most, or all if there are fewer; ties by row.

    Units are ordered by the pivots of a QR decomposition of their mean activations: first the one whose mean
    activation differs most between tracks, then always the one least explained by those before.
    """
    moment = np.argsort(-activity.most, axis=0, kind="stable")[:k].T
    mean = np.argsort(-activity.mean, axis=0, kind="stable")[:k].T
    column = np.arange(activity.most.shape[1])[:, np.newaxis]
    return Units(
        layer,
        _order_units(activity.mean),
        moment,
        activity.most[moment, column],
        activity.moment_s[moment, column],
        mean,
        activity.mean[mean, column],
    )


def _order_units(means: Matrix) -> Rows:
    """Return units from the most to the least informative about tracks; many respond to much the same."""
    if not means.size:
        return np.zeros(0, np.int64)
    centred = means.astype(np.float64) - means.mean(axis=0, dtype=np.float64)
    pivots = scipy.linalg.qr(centred, mode="r", pivoting=True)[1]
    return np.asarray(pivots, dtype=np.int64)


def choose_windows(dataset: Dataset, rows: Rows, sequence: SequenceConfig, at_most: int) -> list[Windows]:
    """Return for each of `rows` the windows that predictions are made from: of more than `at_most`, some.

    Those are spread evenly over the track, the first and the last among them; of one alone, the middle.
    """
    chosen = []
    for row in rows.tolist():
        one = np.array([row])
        windows = prediction_windows(one, dataset.n_frames[one], sequence, dataset.info.audio)
        n = len(windows)
        if n > at_most:
            places = np.linspace(0, n - 1, at_most).round().astype(int) if at_most > 1 else np.array([n // 2])
            windows = Windows(windows.row[places], windows.start[places])
        chosen.append(windows)
    return chosen


def measure_activations(
    tapped: TappedModel,
    dataset: Dataset,
    tracks: list[Windows],
    sequence: SequenceConfig,
    on_track: Advance = lambda n_tracks: None,
) -> dict[str, Activity]:
    """Run a network over tracks and return what its ``filters`` and ``units`` make of them, as far as it has them.

    Positions of a filter that reach over the edge of a window are left out, where others remain: what it answers to
    there is the padding. So is the silence behind a track shorter than a window.

    Parameters
    ----------
    tapped
        The network.
    dataset
        Of the tracks, with the audio settings that the network was trained on.
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
        found[name] = Activity(most, (frame / rate).astype(np.float32), mean.astype(np.float32))
    return found


def compute_activation_maps(tapped: TappedModel, sound: npt.NDArray[Any]) -> Mapping[str, Matrix]:
    """Return what a network makes of one window, as far as it has it.

    Parameters
    ----------
    tapped
        The network.
    sound
        Shape (frames, frame_size).

    Returns
    -------
    dict of str to ndarray
        ``mel`` (frames, n_mels) and ``filters`` (n_steps, n_mels, n_filters), float32.
    """
    outputs = tapped.model(sound[np.newaxis].astype(np.float32), training=False)
    return {name: output.numpy()[0] for name, output in outputs.items() if name != UNITS}


def _batches(dataset: Dataset, windows: Windows, frames: int) -> Iterator[Any]:
    """Yield a track's windows, float32 tensors of shape (batch, frames, frame_size)."""
    size = max(1, BATCH_FRAMES // frames)
    for first in range(0, len(windows), size):
        chosen = slice(first, first + size)
        batch = dataset.read_windows(Windows(windows.row[chosen], windows.start[chosen]), frames)
        yield tf.constant(batch.astype(np.float32))


def _join(batches: list[dict[str, Any]]) -> dict[str, Steps]:
    """Return what was found batch by batch as one, in memory that is not the device's."""
    joined = {}
    for name in batches[0]:
        peaks, means = (np.concatenate([batch[name][part].numpy() for batch in batches]) for part in (0, 1))
        joined[name] = Steps(peaks=peaks, means=means, frames=batches[0][name][2].numpy())
    return joined


def _step_function(tapped: TappedModel, frames: int, frame_size: int) -> Callable[[Any], dict[str, Any]]:
    """Return a function of windows to what `Steps` holds, of filters and of units."""

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
    # The frame in the middle of what a step sees; one that sees the whole window begins with it.
    middle = (np.arange(n_steps)[steps] + 0.5) * frames / n_steps if n_steps > 1 else np.zeros(1)
    return tf.reduce_max(inner, axis=2), tf.reduce_mean(inner, axis=2), tf.constant(middle, tf.float32)


def _inside(n: int, edge: tuple[int, int]) -> slice:
    return slice(edge[0], n - edge[1]) if n > sum(edge) else slice(None)


def _reduce(steps: Steps, start: Rows, n_frames: Rows) -> tuple[npt.NDArray[Any], ...]:
    """Return each unit's highest activation in a track, its frame, and the mean: three arrays of shape (n_units,).

    Parameters
    ----------
    steps
        Of all the track's windows.
    start, n_frames
        First frame of each window, and how many frames the track has from there, shape (n_windows,).
    """
    sounds = steps.frames < n_frames[:, np.newaxis]
    sounds |= ~sounds.any(axis=1, keepdims=True)
    when = (start[:, np.newaxis] + steps.frames)[sounds]
    peaks, means = steps.peaks[sounds], steps.means[sounds]  # (n_steps of all windows, n_units)
    best = peaks.argmax(axis=0)
    return peaks[best, np.arange(peaks.shape[1])], when[best], means.mean(axis=0, dtype=np.float64)
