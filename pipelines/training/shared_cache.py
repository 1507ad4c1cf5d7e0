"""Work that several runs need alike, done once: a codebook, histograms, features of sequences.

It lies in ``.shared`` among the run folders, under a digest of all that decides it, and stays when the runs that
needed it are finished, since it is what takes longest to make. The folder may be deleted whenever nothing runs.
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
    """Give the folder for the work that `settings` decide, to this process alone.

    Another process that needs the same waits until this one is done with it or ends, however it ends.

    Parameters
    ----------
    runs
        Folder of all runs.
    settings
        JSON-ready; equal ones get the same folder.
    progress
        Is told of waiting.

    Raises
    ------
    StorageError
        When the folder cannot be made.
    """
    folder = runs / SHARED_FOLDER / digest(dict(settings))[:16]
    with locked(folder, lambda: progress.log(f"waiting for another process, which makes {folder}")):
        if not (folder / SETTINGS_FILE).exists():
            write_json(folder / SETTINGS_FILE, dict(settings))  # so that a person can tell what lies here
        yield folder
