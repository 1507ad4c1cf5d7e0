"""Open files in a bounded number: the least recently used are closed."""

import collections
import os
import threading
from pathlib import Path

MAX_OPEN = 256  # of the 1,024 that many systems allow a process


class OpenFile:
    """An open file that is closed when nothing refers to it: a thread may still read one that another closes."""

    def __init__(self, path: Path, flags: int) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, flags, 0o644)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class OpenFiles:
    """Least-recently-used cache of files opened with `flags` of `os.open`."""

    def __init__(self, flags: int) -> None:
        self._flags = flags | os.O_CLOEXEC
        self._open: collections.OrderedDict[Path, OpenFile] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path) -> OpenFile:
        """Return `path`, open; OSError when it cannot be opened."""
        with self._lock:
            if path not in self._open:
                self._open[path] = OpenFile(path, self._flags)
            self._open.move_to_end(path)
            while len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
            return self._open[path]

    def close_deleted(self, path: Path | None = None) -> None:
        """Close `path`, or all files, whose names were deleted, which frees their disk space."""
        with self._lock:
            for name in [path] if path else list(self._open):
                opened = self._open.get(name)
                if opened and os.fstat(opened.descriptor).st_nlink == 0:
                    del self._open[name]
