"""Inspection of a network: kernels, activations of a track, and the tracks that activate units most.

After Dieleman 2014: for each filter of the first convolution, and each unit of the last hidden dense layer, the
tracks that activate it most at one moment and on average. Validation and test tracks only, on which it was not
trained.
"""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig, Windows
from cs_keras.errors import DataError
from cs_keras.models import load_model
from cs_keras.models.taps import TappedModel, tap_model
from cs_keras.progress import Progress
from cs_keras.run_files.inspection import Example, Inspection, NetworkView, is_inspected, write_inspection
from cs_keras.run_files.names import MODEL_FILE
from cs_keras.training.activations import (
    FILTERS,
    UNITS,
    Activations,
    choose_windows,
    compute_activation_maps,
    find_strongest_tracks,
    measure_activations,
)
from cs_keras.training.network_view import view_network
from pipelines.inference.inspection_obstacle import inspection_obstacle
from pipelines.inference.trained_run import read_run

MAX_TRACKS = 500
MAX_FRAMES = 512_000  # of all tracks together: 2,000 windows of the usual length
SEED = 0
N_STRONGEST = 5  # tracks kept for each unit
N_SHOWN = 8  # filters whose maps are kept
MAX_VIEWED = 64  # tracks whose values are sampled

Rows = npt.NDArray[np.int64]


def inspect_run(folder: Path, dataset: Dataset, progress: Progress) -> None:
    """Write ``inspection.npz`` into a run folder, unless it is there and of this dataset.

    Parameters
    ----------
    folder
        Folder of a finished run.
    dataset
        That it was trained on.
    progress
        Where to report.

    Raises
    ------
    StorageError
        When the run or the dataset cannot be read, or the file not be written.
    DataError
        When the dataset has other audio settings or no audio, or the network has nothing to inspect.
    """
    if is_inspected(folder, dataset.digest):
        return
    reason = inspection_obstacle(folder)
    if reason:
        raise DataError(f"The network of {folder.name} cannot be inspected: {reason}.")
    run = read_run(folder)
    if run.signature.audio != dataset.info.audio:
        raise DataError(
            f"{dataset.folder} does not fit the model of {folder}: expected the audio settings that it was trained "
            f"on, {run.signature.audio}. Received: {dataset.info.audio}."
        )
    rows = np.flatnonzero(~dataset.tracks.in_split("train") & dataset.tracks.has_audio)
    if not len(rows):
        raise DataError(f"{dataset.folder} has no validation or test tracks with audio.")
    model = load_model(folder / MODEL_FILE)
    tapped = tap_model(model)
    sequence = dataclasses.replace(run.sequence, select="random")  # the whole track
    chosen = _sample(rows, sequence.frames)
    progress.log(f"inspect {folder.name}: {len(chosen)} of {len(rows)} validation and test tracks")
    at_most = max(1, MAX_FRAMES // (len(chosen) * sequence.frames))
    tracks = choose_windows(dataset, chosen, sequence, at_most)
    with progress.task(f"inspect {folder.name}", len(tracks)) as advance:
        try:
            activities = measure_activations(tapped, dataset, tracks, sequence, advance)
        except tf.errors.OpError as error:  # of memory above all
            reason = str(error).splitlines()[0]
            raise DataError(f"The network of {folder.name} cannot be run: {reason}") from error
    _check(activities, folder)
    nothing = Activations(*(np.zeros((1, 0), np.float32) for _ in dataclasses.fields(Activations)))
    first = tapped.first
    filters, units = (
        find_strongest_tracks(activities.get(kind, nothing), N_STRONGEST, layer)
        for kind, layer in ((FILTERS, first.name if first else ""), (UNITS, tapped.top or ""))
    )
    window = _example_window(dataset, tracks)
    inspection = Inspection(
        track_ids=dataset.tracks.ids[[windows.row[0] for windows in tracks]],
        n_tracks=len(rows),
        n_windows=max(map(len, tracks)),
        window_s=sequence.frames / dataset.info.audio.frames_per_second,
        kernels=first.kernels if first else np.zeros((0, 0, 0), np.float32),
        filters=filters,
        units=units,
        example=_example(tapped, dataset, window, sequence, np.sort(filters.order[:N_SHOWN])),
        network=_view(model, dataset, tracks, window, sequence.frames),
    )
    write_inspection(folder, dataset.digest, inspection)


def _sample(rows: Rows, frames: int) -> Rows:
    """Return the tracks to run a network over: all of a few, a seeded sample of many."""
    n = max(1, min(MAX_TRACKS, MAX_FRAMES // frames))
    return rows if len(rows) <= n else np.sort(np.random.default_rng(SEED).choice(rows, n, replace=False))


def _check(activities: dict[str, Activations], folder: Path) -> None:
    for name, activity in activities.items():
        if not np.isfinite([activity.most, activity.mean]).all():
            raise DataError(
                f"The network of {folder.name} has {name} whose activations are not finite numbers."
            )


def view_track(folder: Path, dataset: Dataset, track_id: str) -> NetworkView:
    """Return the pictures' values of a run's network for the middle of one track.

    Raises
    ------
    StorageError
        When the run or the dataset cannot be read.
    DataError
        When the dataset has no such track with audio or other audio settings, or the network cannot be inspected.
    """
    reason = inspection_obstacle(folder)
    if reason:
        raise DataError(f"The network of {folder.name} cannot be inspected: {reason}.")
    run = read_run(folder)
    if run.signature.audio != dataset.info.audio:
        raise DataError(f"{dataset.folder} has other audio settings than the training data of {folder}.")
    rows = np.flatnonzero((dataset.tracks.ids == track_id) & dataset.tracks.has_audio)
    if not len(rows):
        raise DataError(f"{dataset.folder} has no track {track_id!r} with audio.")
    sequence = dataclasses.replace(run.sequence, select="random")
    tracks = choose_windows(dataset, rows, sequence, MAX_FRAMES)
    return _view(load_model(folder / MODEL_FILE), dataset, tracks, _middle(tracks[0]), sequence.frames)


def _view(
    model: keras.Model, dataset: Dataset, tracks: list[Windows], example: Windows, frames: int
) -> NetworkView:
    """Return a network's values for the window `example`, and a sample of those for `MAX_VIEWED` tracks."""
    middles = [example, *map(_middle, tracks[:MAX_VIEWED])]
    windows = Windows(*(np.concatenate([getattr(one, part) for one in middles]) for part in ("row", "start")))
    return view_network(model, dataset.read_windows(windows, frames).astype(np.float32), 0)


def _middle(windows: Windows) -> Windows:
    return windows.batch(len(windows) // 2, 1)


def _example_window(dataset: Dataset, tracks: list[Windows]) -> Windows:
    """Return the middle window of the first test track, or else of the first track."""
    is_test = dataset.tracks.in_split("test")
    return _middle(next((one for one in tracks if is_test[one.row[0]]), tracks[0]))


def _example(
    tapped: TappedModel, dataset: Dataset, window: Windows, sequence: SequenceConfig, shown: Rows
) -> Example:
    """Return a window and its maps of the filters `shown`."""
    maps = compute_activation_maps(tapped, dataset.read_windows(window, sequence.frames)[0])
    return Example(
        track_id=str(dataset.tracks.ids[window.row[0]]),
        start_s=float(window.start[0]) / dataset.info.audio.frames_per_second,
        mel=maps.get("mel", np.zeros((0, 0), np.float32)),
        filters=shown,
        maps=maps[FILTERS][..., shown] if len(shown) else np.zeros((0, 0, 0), np.float32),
    )
