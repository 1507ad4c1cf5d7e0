"""Temporary local copies of small files of a remote folder."""

import contextlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from cs_keras.storage.location import Location, is_remote, list_files, read_bytes

IN_FLIGHT = 16  # concurrent requests


@contextlib.contextmanager
def mirrored(folder: Location, *patterns: str) -> Iterator[Path]:
    """Yield a temporary local folder with files of `folder`, which need not exist; a local `folder` itself.

    `patterns` are of file names, such as ``trials/*/trial.json``; see `pathlib.PurePath.match`. Raises
    StorageError when a file cannot be read.
    """
    if not is_remote(folder):
        yield Path(folder)
        return
    names = [name for name in list_files(folder) if any(map(PurePosixPath(name).match, patterns))]
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(IN_FLIGHT) as pool:
        copy = Path(temporary)
        for name, content in zip(names, pool.map(lambda name: read_bytes(folder / name), names), strict=True):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(content)
        yield copy
