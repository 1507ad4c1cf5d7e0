"""Blocks of remote files kept on a local disk: sparse files whose blocks prove themselves by their checksums.

A kept file is laid out as the remote block of frames, with holes where nothing was fetched yet. No table says which
blocks are there: what has the right checksum is. So a killed writer, a torn page or many processes at once cannot
make it lie. Whole files are evicted, those unused for longest first; who has one open goes on reading it.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cs_keras.errors import ConfigError, StorageError
from cs_keras.storage.open_files import OpenFile, OpenFiles

SUFFIX = ".frames"
LOCK = ".lock"
FREED_SHARE = 0.9  # evicting goes on until so much of the limit is in use, so that it is rare
CHECKED_SHARE = 32  # the size is looked at each time that this process has added this part of the limit
USE_INTERVAL_S = 10.0  # a file's last use is noted this often
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclasses.dataclass(frozen=True)
class CacheConfig:
    """Where to keep what was fetched, and how much of it.

    Attributes
    ----------
    folder
        Shared by any number of processes of one machine.
    max_bytes
        Limit of what is kept; each process may exceed it by a thirty-second part before it evicts.
    """

    folder: Path
    max_bytes: int = 200 * 10**9


def parse_size(text: str) -> int:
    """Return a number of bytes from text such as ``200GB``, ``1.5 TB`` or ``1000000``.

    Raises
    ------
    ConfigError
        When it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if not found or not (n_bytes := int(float(found[1]) * _UNITS[found[2].upper()])):
        raise ConfigError(f"A size is a number with a unit, such as 200GB. Received: {text!r}.")
    return n_bytes


class Cache:
    """A folder of kept files, bounded in size.

    Raises
    ------
    StorageError
        When the folder cannot be made.
    """

    def __init__(self, config: CacheConfig) -> None:
        self._config = config
        self._added = 0
        self._lock = threading.Lock()
        self._descriptors = OpenFiles(os.O_RDWR | os.O_CREAT)
        try:
            config.folder.mkdir(parents=True, exist_ok=True)
            self._evict()
        except OSError as error:
            raise StorageError(f"Cannot make cache folder {config.folder}: {error.strerror}.") from error

    def open(self, identity: str) -> "CachedFile":
        """Return the kept file of what `identity` names, new or as any process left it."""
        name = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
        return CachedFile(self, self._config.folder / f"{name}{SUFFIX}", self._descriptors)

    def added(self, n_bytes: int) -> None:
        """Count what was written; evict when it is time to look."""
        with self._lock:
            self._added += n_bytes
            if self._added * CHECKED_SHARE < self._config.max_bytes:
                return
            self._added = 0
        self._evict()

    def _evict(self) -> None:
        """Remove files, unused for longest first, until the limit is kept."""
        with open(self._config.folder / LOCK, "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            kept = sorted(self._kept())
            used = sum(n_bytes for _, n_bytes, _ in kept)
            enough = self._config.max_bytes * (FREED_SHARE if used > self._config.max_bytes else 1.0)
            for _, n_bytes, path in kept:
                if used <= enough:
                    break
                path.unlink(missing_ok=True)
                used -= n_bytes
        self._descriptors.close_deleted()

    def _kept(self) -> Iterator[tuple[float, int, Path]]:
        """Yield time of last use, bytes on disk, and path of each kept file."""
        for path in self._config.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                yield status.st_mtime, status.st_blocks * 512, path


class CachedFile:
    """One sparse file; removed by another process's eviction, it is made anew."""

    def __init__(self, cache: Cache, path: Path, descriptors: OpenFiles) -> None:
        self._cache, self._path, self._descriptors = cache, path, descriptors
        self._noted = -USE_INTERVAL_S

    def read(self, offset: int, buffer: memoryview) -> bool:
        """Fill `buffer` from `offset` on; False where nothing was kept, and its content then means nothing."""
        try:
            opened = self._open()  # held until the call is over, so that nobody else gets its number
            return os.preadv(opened.number, [buffer], offset) == len(buffer)
        except OSError:
            return False

    def write(self, offset: int, content: memoryview) -> None:
        """Keep `content`, unless the disk is full or gone: reading on matters more than keeping."""
        with contextlib.suppress(OSError):
            opened = self._open()
            os.pwrite(opened.number, content, offset)
            self._cache.added(len(content))

    def _open(self) -> OpenFile:
        now = time.monotonic()
        if now - self._noted >= USE_INTERVAL_S:
            self._noted = now
            self._descriptors.close_deleted(self._path)
            opened = self._descriptors.get(self._path)
            os.utime(opened.number)
        return self._descriptors.get(self._path)
