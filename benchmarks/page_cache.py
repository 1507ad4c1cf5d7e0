"""The operating system's page cache: drop files from it, and measure how much of a file it holds."""

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def sync(paths: Iterable[Path]) -> None:
    """Write files to the disk: only clean pages can be dropped."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def drop(paths: Iterable[Path]) -> None:
    """Drop the cached pages of files, except pages that a process has mapped."""
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached_share(paths: Iterable[Path]) -> float:
    """Return the share of the files' pages that are in the cache."""
    flags = np.concatenate([_in_core(path) for path in paths])
    return float(flags.mean())


def _in_core(path: Path) -> np.ndarray:
    libc = ctypes.CDLL(None, use_errno=True)
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as mapped,
    ):
        n_pages = -(-len(mapped) // mmap.PAGESIZE)
        flags = (ctypes.c_ubyte * n_pages)()
        start = ctypes.c_char.from_buffer(mapped)
        address = ctypes.c_void_p(ctypes.addressof(start))
        failed = libc.mincore(address, ctypes.c_size_t(len(mapped)), flags)
        del start
        if failed:
            raise OSError(ctypes.get_errno(), "mincore")
    return np.frombuffer(flags, np.uint8) & 1
