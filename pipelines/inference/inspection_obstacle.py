"""Reasons why the network of a run cannot be inspected; without TensorFlow."""

from pathlib import Path

from cs_keras.models.declaration import PROCEDURES
from cs_keras.run_files.names import CONFIG_FILE
from cs_keras.run_files.settings import CROSS_VALIDATION
from cs_keras.runs import read_json


def inspection_obstacle(folder: Path) -> str | None:
    """Return why the model of a run cannot be inspected, or None if it may be possible.

    Raises
    ------
    StorageError
        When the settings of the run cannot be read.
    """
    settings = read_json(folder / CONFIG_FILE)
    if isinstance(settings, dict) and (n_rotations := settings.get(CROSS_VALIDATION)):
        return f"it pools {n_rotations} rotations, each with a network of its own"
    procedure = PROCEDURES.get(str(settings.get("procedure"))) if isinstance(settings, dict) else None
    if procedure is None or procedure.takes is None:
        return None
    if procedure.pools_over_time:
        return "it takes histograms of whole tracks and has no filters"
    return None if procedure.takes_audio else f"it takes {procedure.takes.value}, not audio"
