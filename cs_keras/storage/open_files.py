"""Files of this machine: links that lead out of a folder are not followed; a bounded number of files is open."""

import collections
import errno
import os
import stat
import threading
from pathlib import Path

from cs_keras.errors import StorageError
from cs_keras.storage.location import Location, is_remote

MAX_OPEN = 256  # of the 1,024 that many systems allow a process


def refuse_links(*folders: Location) -> None:
    """Raise StorageError when one of `folders`, or a folder in it, is a symbolic link.

    Called before files in `folders` are written or removed: where somebody else made them, a link may lead to any
    files of this user. The folder that the user names may be a link; `folders` are those that are in it.
    """
    for folder in folders:
        if is_remote(folder):
            continue
        inside = (Path(root, name) for root, names, _ in os.walk(folder) for name in names)
        for path in (folder, *inside):
            if path.is_symlink():
                raise StorageError(
                    f"{path} is a symbolic link, which is not followed where files are written or removed: "
                    "expected a folder."
                )


def open_for_writing(path: Path, flags: int = os.O_RDWR) -> int:
    """Open a file, created if necessary and never truncated, and return its descriptor.

    Raises OSError when it cannot be opened, or is a link or a special file: a folder that somebody else made may
    contain a link to any file of this user.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "it is a symbolic link, which is not followed", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return descriptor


class OpenFile:
    """An open file that is closed when nothing refers to it: a thread may still read one that another closes."""

    def __init__(self, path: Path, flags: int) -> None:
        self.descriptor = -1
        self.descriptor = open_for_writing(path, flags) if flags & os.O_CREAT else os.open(path, flags)

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
