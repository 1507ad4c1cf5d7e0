"""Removal of runs, and of cached results that only they used."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from cs_keras.errors import StorageError
from cs_keras.run_files.names import CONFIG_FILE
from cs_keras.runs import DONE, locked
from pipelines.training.shared_cache import remove_caches


def require_runs(folders: Sequence[Path]) -> None:
    """Raise StorageError unless all of `folders` are folders of runs, finished or not, and no links to them."""
    for folder in folders:
        if folder.is_symlink() or not (folder / CONFIG_FILE).is_file():
            raise StorageError(f"{folder} is no run: expected a run folder with a file {CONFIG_FILE}.")


def remove_runs(folders: Sequence[Path]) -> list[Path]:
    """Remove run folders, and return the cache folders that no other run uses, which are removed too.

    A run whose removal is interrupted counts as unfinished.

    Raises
    ------
    StorageError
        When one of `folders` is no run, in which case none is removed, or is in use.
    OSError
        When a file cannot be removed.
    """
    require_runs(folders)
    for folder in folders:
        with locked(folder):
            (folder / DONE).unlink(missing_ok=True)
            shutil.rmtree(folder)
    parents = dict.fromkeys(folder.parent for folder in folders)
    return [cache for parent in parents for cache in remove_caches(parent, "unused")[0]]
