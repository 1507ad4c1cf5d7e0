"""Open files of which there are more than a process may have: those used last stay open."""

import collections
import os
import threading
from pathlib import Path

MAX_OPEN = 256  # of the 1,024 that many systems allow a process


class OpenFile:
    """An open file that closes itself once nobody uses it: one thread may be reading when another lets go of it."""

    def __init__(self, path: Path, flags: int) -> None:
        self.number = -1
        self.number = os.open(path, flags, 0o644)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


class OpenFiles:
    """Files opened when asked for, a bounded number at a time.

    Parameters
    ----------
    flags
        Of `os.open`.
    """

    def __init__(self, flags: int) -> None:
        self._flags = flags | os.O_CLOEXEC
        self._open: collections.OrderedDict[Path, OpenFile] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path) -> OpenFile:
        """Return `path`, open.

        Raises
        ------
        OSError
            When it cannot be opened.
        """
        with self._lock:
            if path not in self._open:
                self._open[path] = OpenFile(path, self._flags)
            self._open.move_to_end(path)
            while len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
            return self._open[path]

    def close_deleted(self, path: Path | None = None) -> None:
        """Close files whose names are gone, `path` or whichever there are, which frees the space they take."""
        with self._lock:
            for name in [path] if path else list(self._open):
                opened = self._open.get(name)
                if opened and os.fstat(opened.number).st_nlink == 0:
                    del self._open[name]
