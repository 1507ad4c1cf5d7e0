"""Cache of intermediate results that several runs share: codebooks, histograms, features of sequences.

It is in ``.shared`` next to the run folders, under a digest of all settings that decide the result, and outlives
the runs, since it is the most expensive part of them. Each part records the runs that used it, so that
`remove_caches` finds those that no run uses any more.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from cs_keras.progress import Progress
from cs_keras.runs import PARTIAL, FolderInUseError, digest, locked, read_json, write_json
from cs_keras.storage.open_files import refuse_links

SHARED_FOLDER = ".shared"
SETTINGS_FILE = "settings.json"
USERS_FILE = "users.json"  # run folders, and other caches, that used the result


@contextlib.contextmanager
def shared_work(
    runs: Path, settings: Mapping[str, Any], progress: Progress, user: Path | None = None
) -> Iterator[Path]:
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
    user
        Run folder, or cache folder, that uses the result; it is recorded.

    Raises
    ------
    StorageError
        When the folder cannot be made, or a link is in its place.
    """
    refuse_links(runs / SHARED_FOLDER)
    folder = runs / SHARED_FOLDER / digest(dict(settings))[:16]
    with locked(folder, lambda: progress.log(f"waiting for another process that writes {folder}")):
        if not (folder / SETTINGS_FILE).exists():
            write_json(folder / SETTINGS_FILE, dict(settings))  # for people who look into the folder
        if user is not None:
            name = os.path.relpath(user, runs).removesuffix(PARTIAL)
            users = _read_users(folder)
            if name not in users:
                write_json(folder / USERS_FILE, [*users, name])
        yield folder


def remove_caches(runs: Path, which: Literal["unused", "unrecorded", "all"]) -> tuple[list[Path], int]:
    """Remove cache folders, and return them and their size in bytes; those that a process has open stay.

    Parameters
    ----------
    runs
        Folder of all runs, or of a study.
    which
        ``unused``: those whose recorded users are all gone; ``unrecorded``: also those without a record, which
        earlier releases made; or ``all``.

    Raises
    ------
    StorageError
        When one of the folders is a link.
    OSError
        When a file cannot be removed.
    """
    refuse_links(runs / SHARED_FOLDER)
    removed, n_bytes = [], 0
    for folder in _find_caches(runs, which):
        with contextlib.suppress(FolderInUseError), locked(folder):
            n_bytes += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder)
            removed.append(folder)
    return removed, n_bytes


def _find_caches(runs: Path, which: str) -> list[Path]:
    folders = sorted(path for path in (runs / SHARED_FOLDER).glob("*") if (path / SETTINGS_FILE).exists())
    users = {folder: _read_users(folder) for folder in folders}
    used: set[Path] = set()
    more = set(folders)
    while more:  # a cache that is used may itself have used another
        unknown = [folder for folder in folders if folder not in used]
        more = {folder for folder in unknown if any(_exists(runs, user, used) for user in users[folder])}
        used |= more
    if which == "all":
        return folders
    return [one for one in folders if one not in used and (users[one] or which == "unrecorded")]


def _exists(runs: Path, user: str, used: set[Path]) -> bool:
    """Return whether a user is a run folder that exists, or a cache folder that is used."""
    path = runs / user
    caches = [parent for parent in (path, *path.parents) if parent.parent == runs / SHARED_FOLDER]
    if caches:
        return caches[0] in used
    return path.is_dir() or path.with_name(f"{path.name}{PARTIAL}").is_dir()


def _read_users(folder: Path) -> list[str]:
    return list(read_json(folder / USERS_FILE)) if (folder / USERS_FILE).exists() else []
