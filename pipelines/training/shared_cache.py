"""Cache of intermediate results that several runs share: codebooks, histograms, features of sequences.

It is in ``.shared`` next to the run folders, under a digest of all settings that decide the result, and outlives
the runs, since it is the most expensive part of them. The folder may be deleted when nothing is running.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cs_keras.progress import Progress
from cs_keras.runs import digest, locked, write_json

SHARED_FOLDER = ".shared"
SETTINGS_FILE = "settings.json"


@contextlib.contextmanager
def shared_work(runs: Path, settings: Mapping[str, Any], progress: Progress) -> Iterator[Path]:
    """Open the cache folder for `settings`, exclusively for this process.

    Other processes that need the same folder wait until this one leaves the context or ends.

    Parameters
    ----------
    runs
        Folder of all runs.
    settings
        JSON-ready settings that decide the content of the folder.
    progress
        Receives a message when this process has to wait.

    Raises
    ------
    StorageError
        When the folder cannot be made.
    """
    folder = runs / SHARED_FOLDER / digest(dict(settings))[:16]
    with locked(folder, lambda: progress.log(f"waiting for another process that writes {folder}")):
        if not (folder / SETTINGS_FILE).exists():
            write_json(folder / SETTINGS_FILE, dict(settings))  # for people who look into the folder
        yield folder
