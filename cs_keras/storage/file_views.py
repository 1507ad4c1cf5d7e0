"""How h5py reads remote files without waiting for itself.

While h5py reads from a Python file it holds a lock, and whatever frees one of its objects needs that lock. If the
read waits for the thread that runs fsspec's requests, and Python collects garbage on that thread, each waits for
the other (https://docs.h5py.org/en/stable/high/file.html#python-file-like-objects). So a read of a `PartialFile`
does not wait; and around calls that read files of any size `gc_paused` stands.
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
_n_paused = 0  # calls inside `gc_paused` at this time, where garbage was collected before


class PartialFile(io.RawIOBase):
    """Read-only, seekable view of a remote file, of which only some parts are held.

    A read of what is not held raises OSError, and `missing` then says what it was.

    Parameters
    ----------
    n_bytes
        The file's length.
    parts
        What is held: bytes by where they start.
    """

    def __init__(self, n_bytes: int, parts: dict[int, bytes]) -> None:
        self._n_bytes, self._parts, self._position = n_bytes, parts, 0
        self.missing: tuple[int, int] | None = None

    def readable(self) -> bool:
        """Return True: the file can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: the file can be positioned."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

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
        raise OSError(f"bytes {start} to {end} are not here yet")


def read_incrementally(
    location: UPath, n_bytes: int, least_bytes: int, read: Callable[[PartialFile], T]
) -> T:
    """Return what `read` makes of a remote file, calling it anew with each part that it turns out to need.

    Parameters
    ----------
    location
        The file.
    n_bytes
        Its length.
    least_bytes
        Of the head, which is fetched first, and of every other request that the file is long enough for.
    read
        Given the file; called once more than parts are fetched, so that it should need few.

    Raises
    ------
    FileNotFoundError, StorageError
        As `remote.fetch`; and what `read` raises when nothing is missing.
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
    """Begin no collection of garbage, on any thread, while what is inside is done: for calls of h5py."""
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
