"""Cache of blocks of remote files on a local disk: sparse files whose blocks are verified by their checksums.

A cached file has the layout of the remote block of frames, with holes where nothing was fetched yet. There is no
index of cached blocks: a block with a correct checksum is cached. So killed writers, torn pages and concurrent
processes cannot corrupt the cache. Whole files are evicted, the least recently used first; open ones stay
readable.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
import threading
import time
from pathlib import Path

from cs_keras.errors import ConfigError, StorageError
from cs_keras.storage.open_files import OpenFile, OpenFiles, open_for_writing

SUFFIX = ".frames"
LOCK = ".lock"
EVICTION_TARGET = 0.9  # share of the limit that eviction leaves in use, so that it is rare
CHECK_DIVISOR = 32  # the size is checked each time that this process has added this part of the limit
USE_INTERVAL_S = 10.0  # interval at which a file's last use is recorded
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclasses.dataclass(frozen=True)
class CacheConfig:
    """Folder of a cache, shared by any number of processes of one machine, and limit of the cached bytes.

    Each process may exceed the limit by a thirty-second part before it evicts.
    """

    folder: Path
    max_bytes: int = 200 * 10**9


def parse_size(text: str) -> int:
    """Parse a number of bytes such as ``200GB``, ``1.5 TB`` or ``1000000``; ConfigError for other text."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if not found or not (n_bytes := int(float(found[1]) * _UNITS[found[2].upper()])):
        raise ConfigError(f"A size is a number with a unit, such as 200GB. Received: {text!r}.")
    return n_bytes


class Cache:
    """A folder of cached files, bounded in size; StorageError when the folder cannot be made."""

    def __init__(self, config: CacheConfig) -> None:
        self._config = config
        self._added = 0
        self._lock = threading.Lock()
        self._files = OpenFiles(os.O_RDWR | os.O_CREAT)
        try:
            config.folder.mkdir(parents=True, exist_ok=True)
            self._evict()
        except OSError as error:
            raise StorageError(f"Cannot make cache folder {config.folder}: {error.strerror}.") from error

    def open(self, identity: str) -> "CachedFile":
        """Return the cached file for `identity`, new or as any process left it."""
        name = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
        return CachedFile(self, self._config.folder / f"{name}{SUFFIX}", self._files)

    def count_written(self, n_bytes: int) -> None:
        """Count written bytes; evict when the size is due to be checked."""
        with self._lock:
            self._added += n_bytes
            if self._added * CHECK_DIVISOR < self._config.max_bytes:
                return
            self._added = 0
        self._evict()

    def _evict(self) -> None:
        """Remove the least recently used files until the limit holds."""
        with open(open_for_writing(self._config.folder / LOCK), "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            cached = []
            for path in self._config.folder.glob(f"*{SUFFIX}"):
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    cached.append((status.st_mtime, status.st_blocks * 512, path))
            used = sum(n_bytes for _, n_bytes, _ in cached)
            target = self._config.max_bytes * (EVICTION_TARGET if used > self._config.max_bytes else 1.0)
            for _, n_bytes, path in sorted(cached):
                if used <= target:
                    break
                path.unlink(missing_ok=True)
                used -= n_bytes
        self._files.close_deleted()


class CachedFile:
    """One sparse file; it is created again after another process evicted it."""

    def __init__(self, cache: Cache, path: Path, files: OpenFiles) -> None:
        self._cache, self._path, self._files = cache, path, files
        self._recorded = -USE_INTERVAL_S

    def read(self, offset: int, buffer: memoryview) -> bool:
        """Fill `buffer` from `offset` on; False, and undefined content, where the file is shorter."""
        try:
            opened = self._open()  # referenced until the call returns, so that its descriptor is not reused
            return os.preadv(opened.descriptor, [buffer], offset) == len(buffer)
        except OSError:
            return False

    def write(self, offset: int, content: memoryview) -> None:
        """Cache `content`; errors such as a full disk are ignored, because the cache is optional."""
        with contextlib.suppress(OSError):
            opened = self._open()
            os.pwrite(opened.descriptor, content, offset)
            self._cache.count_written(len(content))

    def _open(self) -> OpenFile:
        now = time.monotonic()
        if now - self._recorded >= USE_INTERVAL_S:
            self._recorded = now
            self._files.close_deleted(self._path)
            opened = self._files.get(self._path)
            os.utime(opened.descriptor)
        return self._files.get(self._path)
