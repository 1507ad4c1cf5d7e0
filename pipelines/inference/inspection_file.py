"""``inspection.npz`` of a run: what its first layer and its last hidden one answer to; without TensorFlow."""

from pathlib import Path

import numpy as np

from cs_keras.errors import CsKerasError
from cs_keras.run_files.names import CONFIG_FILE, INSPECTION_FILE
from cs_keras.runs import Array, read_json, read_npz, write_npz

INSPECTION_VERSION = 1
REASONS = {  # by the procedure of a run
    "codebook": "it counts sounds over whole tracks, so that it has no filters and knows no moments",
    "ranking": "it counts sounds over whole tracks, so that it has no filters and knows no moments",
    "attributes": "it does not hear, it knows tracks by a table of attributes",
    "genres": "it does not hear, it knows tracks by their genres",
}


def write_inspection(folder: Path, dataset_digest: str, arrays: dict[str, Array]) -> None:
    """Write ``inspection.npz`` of a run, marked with the dataset that its tracks are of."""
    mark = {"version": np.array(INSPECTION_VERSION), "dataset": np.array(dataset_digest)}
    write_npz(folder / INSPECTION_FILE, **mark, **arrays)


def is_inspected(folder: Path, dataset_digest: str) -> bool:
    """Tell whether a run has a whole ``inspection.npz`` of this release and this dataset."""
    try:
        mark = read_npz(folder / INSPECTION_FILE, "version", "dataset")
    except CsKerasError:
        return False
    return int(mark["version"]) == INSPECTION_VERSION and str(mark["dataset"]) == dataset_digest


def why_not(folder: Path) -> str | None:
    """Return why a run has nothing to inspect, as far as its settings tell; None if it may have something.

    Raises
    ------
    StorageError
        When they cannot be read.
    """
    settings = read_json(folder / CONFIG_FILE)
    return REASONS.get(str(settings.get("procedure"))) if isinstance(settings, dict) else None
