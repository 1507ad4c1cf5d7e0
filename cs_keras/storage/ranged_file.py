"""A remote file that libraries which want a file object can read: the head in one request, the rest as asked."""

import io

from upath import UPath

from cs_keras.storage import remote


class RangedFile(io.RawIOBase):
    """Read-only, seekable view of a remote file.

    Parameters
    ----------
    location
        The file.
    n_bytes
        Its length.
    head_bytes
        Fetched at once, when first needed: what is read of these costs no further request.
    """

    def __init__(self, location: UPath, n_bytes: int, head_bytes: int) -> None:
        self._location, self._n_bytes, self._position = location, n_bytes, 0
        self._head_bytes = min(head_bytes, n_bytes)
        self._head = b""

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be positioned."""
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
        end = min(self._position + len(buffer), self._n_bytes)
        content = self._read(self._position, end) if end > self._position else b""
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def _read(self, start: int, end: int) -> bytes:
        if end <= self._head_bytes and not self._head:
            self._head = self._fetch(0, self._head_bytes)
        return self._head[start:end] if end <= len(self._head) else self._fetch(start, end)

    def _fetch(self, start: int, end: int) -> bytes:
        return remote.fetch(self._location, start, end, lambda content: None)
