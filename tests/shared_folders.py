"""Folders that tests share, made once for all workers of a run."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

Content = dict[Path, int]


class SharedFolders:
    """Folders below `root`, each made by the worker that first needs it while the others wait.

    Parameters
    ----------
    root
        Folder that all workers of one run have in common, and no other run has.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._content: dict[Path, Content] = {}

    def make_once(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return the folder `name`, calling `make` with it unless a worker has done so without an error."""
        folder, done = self._root / name, self._root / f"{name}.done"
        with open(self._root / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the worker ends, however it ends
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a failure has left
                make(folder)
                done.touch()
        self._content.setdefault(folder, _content(folder))
        return folder

    def assert_unchanged(self) -> None:
        """Fail if a test has changed a folder that others read."""
        for folder, before in self._content.items():
            after = _content(folder)
            changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
            assert not changed, f"tests have changed shared files: {sorted(map(str, changed))}"


def _content(folder: Path) -> Content:
    """Return the time of the last change of every file, in ns."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
