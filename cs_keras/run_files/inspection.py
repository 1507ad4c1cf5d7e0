"""``inspection.npz``: the filters and units of a run's network, and the tracks that activate them most."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.errors import CsKerasError, DataError
from cs_keras.run_files.names import INSPECTION_FILE
from cs_keras.runs import read_npz, write_npz

VERSION = 2
READABLE = (1, VERSION)  # the first had no layers

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Units:
    """Units of one layer and the tracks with the highest activation of each, in decreasing order.

    Attributes
    ----------
    layer : str
        Name of the layer; empty if the network has no such layer.
    order : ndarray of int64, shape (n_units,)
        Units, those first that together distinguish tracks best by their mean activation.
    moment_track, moment_value, moment_s : ndarray, shape (n_units, k)
        Highest activation at one moment: rows of ``track_ids``, activations, and times in seconds.
    mean_track, mean_value : ndarray, shape (n_units, k)
        Highest mean activation: rows of ``track_ids``, and activations.
    """

    layer: str
    order: Rows
    moment_track: Rows
    moment_value: Matrix
    moment_s: Matrix
    mean_track: Rows
    mean_value: Matrix

    def __len__(self) -> int:
        return len(self.order)


@dataclass(frozen=True, eq=False)
class Example:
    """One window of one track, and its feature maps."""

    track_id: str
    start_s: float  # of the window in the track, in seconds
    mel: Matrix  # mel spectrogram in dB, shape (frames, n_mels)
    filters: Rows  # numbers of the filters, shape (n_shown,)
    maps: Matrix  # shape (n_steps, n_mels, n_shown)


@dataclass(frozen=True, eq=False)
class NetworkView:
    """Values inside a network, by layer in the order of computation; float32.

    Attributes
    ----------
    values
        A sample of the outputs of each layer of the front end, shape (n_values,).
    weights
        Kernels of each convolution, shape (n_filters, n_channels, n_first, n_second): the filters and input
        channels of the largest norms, over the axes of the layer's input. Those of one axis have all input channels
        as the second axis, and one channel.
    activations
        Outputs for one window: shape (n_units,) of a dense layer, (n_steps, n_units) of one with steps, and
        (n_first, n_second, n_shown) of feature maps, those with the largest variance.
    """

    values: Mapping[str, Matrix] = field(default_factory=dict)
    weights: Mapping[str, Matrix] = field(default_factory=dict)
    activations: Mapping[str, Matrix] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Inspection:
    """Filters and units of a run's network, and the tracks that activate them.

    Attributes
    ----------
    track_ids : ndarray of str, shape (n_inspected,)
        Validation and test tracks that were passed through the network.
    n_tracks, n_windows : int
        Number of validation and test tracks, and maximum number of windows per track.
    window_s : float
        Length of a window in seconds.
    kernels : ndarray of float32, shape (n_filters, n_frames, n_mels)
    filters, units : Units
        Units of the first convolution, and of the last hidden dense layer.
    example : Example
    network : NetworkView
        Of the window of `example`; empty in files of earlier releases.
    """

    track_ids: npt.NDArray[np.str_]
    n_tracks: int
    n_windows: int
    window_s: float
    kernels: Matrix
    filters: Units
    units: Units
    example: Example
    network: NetworkView = NetworkView()


def write_inspection(folder: Path, dataset_digest: str, inspection: Inspection) -> None:
    """Write ``inspection.npz`` of a run, with the digest of the dataset that its tracks are from."""
    example = inspection.example
    units = {"filters": inspection.filters, "units": inspection.units}
    write_npz(
        folder / INSPECTION_FILE,
        version=np.array(VERSION),
        dataset=np.array(dataset_digest),
        track_ids=inspection.track_ids,
        n_tracks=np.array(inspection.n_tracks),
        n_windows=np.array(inspection.n_windows),
        window_s=np.array(inspection.window_s),
        kernels=inspection.kernels,
        **{
            f"{kind}_{name}": np.asarray(value)
            for kind in units
            for name, value in asdict(units[kind]).items()
        },
        example_id=np.array(example.track_id),
        example_s=np.array(example.start_s),
        example_mel=example.mel,
        example_filters=example.filters,
        example_maps=example.maps,
        **dict(_network_arrays(inspection.network)),
    )


def is_inspected(folder: Path, dataset_digest: str) -> bool:
    """Return whether a run has a readable ``inspection.npz`` of this release and this dataset."""
    try:
        mark = read_npz(folder / INSPECTION_FILE, "version", "dataset")
    except CsKerasError:
        return False
    return int(mark["version"]) == VERSION and str(mark["dataset"]) == dataset_digest


def read_inspection(folder: Path) -> Inspection | None:
    """Read the inspection of a run's network; None if there is none, or one of another release.

    Raises
    ------
    StorageError
        When the file is there and cannot be read, or lacks an array.
    DataError
        When shapes of its arrays do not match.
    """
    path = folder / INSPECTION_FILE
    version = int(read_npz(path, "version")["version"]) if path.exists() else 0
    if version not in READABLE:
        return None
    whole = read_npz(path, "track_ids", "n_tracks", "n_windows", "window_s", "kernels")
    example = read_npz(path, *(f"example_{name}" for name in ("id", "s", "mel", "filters", "maps")))
    inspection = Inspection(
        whole["track_ids"],
        int(whole["n_tracks"]),
        int(whole["n_windows"]),
        float(whole["window_s"]),
        whole["kernels"],
        _read_units(path, "filters"),
        _read_units(path, "units"),
        Example(str(example["example_id"]), float(example["example_s"]), *list(example.values())[2:]),
        _read_network(path) if version == VERSION else NetworkView(),
    )
    _check(inspection, path)
    return inspection


def _read_units(path: Path, kind: str) -> Units:
    names = [f"{kind}_{field.name}" for field in fields(Units)]
    layer, *arrays = read_npz(path, *names).values()
    return Units(str(layer), *arrays)


def _network_arrays(network: NetworkView) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    for part in fields(NetworkView):
        layers: Mapping[str, Matrix] = getattr(network, part.name)
        yield f"{part.name}_layers", np.array(list(layers), np.str_)
        for number, array in enumerate(layers.values()):
            yield f"{part.name}_{number}", array


def _read_network(path: Path) -> NetworkView:
    names = {part.name: f"{part.name}_layers" for part in fields(NetworkView)}
    layers = read_npz(path, *names.values())

    def read(part: str, n_layers: int) -> list[npt.NDArray[np.generic]]:
        return list(read_npz(path, *(f"{part}_{i}" for i in range(n_layers))).values()) if n_layers else []

    found = {part: layers[key].tolist() for part, key in names.items()}
    return NetworkView(
        **{part: dict(zip(own, read(part, len(own)), strict=True)) for part, own in found.items()}
    )


def _check(inspection: Inspection, path: Path) -> None:
    filters, example = inspection.filters, inspection.example
    fits = [
        len(inspection.kernels) == len(filters),
        example.mel.ndim == 2 and example.maps.ndim == 3,
        example.maps.shape[-1] == len(example.filters),
        set(example.filters.tolist()) <= set(range(len(filters))),
    ]
    for units in (filters, inspection.units):
        tracks = (units.moment_track, units.mean_track)
        values = (units.moment_value, units.moment_s, units.mean_value)
        fits += [sorted(units.order.tolist()) == list(range(len(units)))]
        fits += [len({array.shape for array in (*tracks, *values)}) == 1, len(units) == len(units.mean_track)]
        fits += [
            not rows.size or 0 <= rows.min() <= rows.max() < len(inspection.track_ids) for rows in tracks
        ]
    if not all(fits):
        raise DataError(
            f"{path} has arrays whose shapes do not match. Remove it to inspect the network again."
        )
