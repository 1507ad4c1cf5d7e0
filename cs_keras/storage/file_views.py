"""File views that let h5py read remote files without deadlocks.

While h5py reads from a Python file it holds a lock, and freeing any of its objects needs that lock. If the read
waits for the thread that runs fsspec's requests, and Python collects garbage on that thread, each waits for the
other (https://docs.h5py.org/en/stable/high/file.html#python-file-like-objects). So a read of a `PartialFile` never
waits; calls that read whole files are wrapped in `gc_paused`.
"""

import contextlib
import gc
import io
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from upath import UPath

from cs_keras.storage import remote

T = TypeVar("T")
_LOCK = threading.Lock()
_n_paused = 0  # calls inside `gc_paused` at present, if garbage collection was enabled before


class PartialFile(io.RawIOBase):
    """Read-only, seekable view of a remote file of which some parts, by their position, were fetched.

    A read of other bytes raises OSError and sets `missing` to their range.
    """

    def __init__(self, n_bytes: int, parts: dict[int, bytes]) -> None:
        self._n_bytes, self._parts, self._position = n_bytes, parts, 0
        self.missing: tuple[int, int] | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._n_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` from the position on and return the number of bytes."""
        start, end = self._position, min(self._position + len(buffer), self._n_bytes)
        if end <= start:
            return 0
        for first, part in self._parts.items():
            if first <= start and end <= first + len(part):
                buffer[: end - start] = part[start - first : end - first]
                self._position = end
                return end - start
        self.missing = start, end
        raise OSError(f"bytes {start} to {end} are not fetched yet")


def read_incrementally(
    location: UPath, n_bytes: int, least_bytes: int, read: Callable[[PartialFile], T]
) -> T:
    """Return `read` of a remote file of `n_bytes`, called again with each part that it lacks; it should need few.

    The head, fetched first, and the other requests have at least `least_bytes`. Raises FileNotFoundError and
    StorageError as `remote.fetch`, and errors of `read` when no part is missing.
    """
    parts: dict[int, bytes] = {}
    missing = (0, min(1, n_bytes))
    while True:
        start, end = missing
        end = min(max(end, start + least_bytes), n_bytes)
        parts[start] = remote.fetch(location, start, end, lambda content: None)
        file = PartialFile(n_bytes, parts)
        try:
            result = read(file)
        except Exception:  # libraries wrap what a file raises in errors of their own
            if file.missing is None:
                raise
        if file.missing is None:
            return result
        missing = file.missing


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection on all threads: a context for calls of h5py."""
    global _n_paused
    with _LOCK:
        _n_paused += gc.isenabled() or _n_paused > 0
        gc.disable()
    try:
        yield
    finally:
        with _LOCK:
            if _n_paused:
                _n_paused -= 1
                if not _n_paused:
                    gc.enable()
