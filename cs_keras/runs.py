"""Run folders and atomic files: a file is either complete or does not exist.

A run is in the folder ``DATE-MODEL-HASH.partial`` until ``DONE`` is written and the folder gets its final name.
The hash covers all resolved settings and the data, so the same command finds the same run again and resumes it.
"""

import contextlib
import datetime
import errno
import fcntl
import hashlib
import io
import json
import os
import platform
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from cs_keras.errors import StorageError
from cs_keras.parsing import parse_json
from cs_keras.storage.location import Location, is_file, is_remote, read_bytes, require_regular, write_bytes
from cs_keras.storage.open_files import open_for_writing, refuse_links

Array = np.ndarray[Any, Any]
PARTIAL = ".partial"
DONE = "DONE"
LOCK = ".lock"
TEMPORARY = ".tmp"
# NumPy parses array headers as Python; on CPython 3.11, threads that parse at once raise SystemError, "AST
# constructor recursion depth mismatch".
NPZ_LOCK = threading.RLock()
# Names of files that nothing else of a run depends on.
_NOT_VERIFIED = re.compile(rf"\.|{DONE}$|events\.out\.tfevents\.")
_TEMPORARY_NAME = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


class FolderInUseError(StorageError):
    """Another process has locked a folder."""


@contextlib.contextmanager
def atomic_write(path: Location, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file next to `path`; on leaving without an error it takes the name `path`.

    A file for a bucket is collected in memory and sent in one request. The file is not flushed to disk (fsync):
    the rename is safe if the process is killed, and after a power failure checksums detect lost data.

    Raises
    ------
    StorageError
        When the disk is full or the folder cannot be written to; `path` is then unchanged.
    """
    if is_remote(path):
        buffer = io.BytesIO()
        collected = buffer if "b" in mode else io.TextIOWrapper(buffer, "utf-8", write_through=True)
        yield collected
        write_bytes(path, buffer.getvalue())
        return
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # "x" opens a new file only: never one that a link of this name leads to.
        with open(temporary, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        reason = (
            "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or error
        )
        raise StorageError(f"Cannot write {path}: {reason}.") from error
    finally:
        with contextlib.suppress(OSError):  # where the folder could not be made, there is nothing to remove
            temporary.unlink()


def require_space(folder: Path, n_bytes: int) -> None:
    """Raise StorageError when fewer than `n_bytes` are free in `folder`, for writers that need it."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise StorageError(
            f"Cannot write to {folder}: the disk is full; {n_bytes / 1e6:.0f} MB are needed and "
            f"{free / 1e6:.0f} MB are free."
        )


def remove_temporaries(folder: Location) -> None:
    """Remove temporary files of killed writers in `folder` and below; no process may be writing there."""
    if is_remote(folder):
        return
    for path in folder.rglob(f".*{TEMPORARY}"):
        if is_temporary(path.name) and not path.is_dir():
            path.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Return whether a file of that name is a temporary file of `atomic_write`."""
    return _TEMPORARY_NAME.fullmatch(name) is not None


def write_json(path: Location, value: Any) -> None:
    """Write `value` as JSON, atomically; keys keep their order, NaN is refused."""
    with atomic_write(path, "w") as file:
        json.dump(value, file, indent=1, allow_nan=False)
        file.write("\n")


def read_json(path: Location) -> Any:
    """Read a JSON file.

    Raises
    ------
    StorageError
        When it cannot be read or is not JSON.
    """
    try:
        return parse_json(read_bytes(path))
    except FileNotFoundError as error:
        raise StorageError(f"Cannot read {path}: there is no such file.") from error
    except ValueError as error:
        raise StorageError(f"{path} is not valid JSON: {error}.") from error


def write_npz(path: Location, **arrays: Array) -> None:
    """Write arrays as an uncompressed npz, atomically; object arrays, which would be pickled, raise TypeError."""
    if any(a.dtype.hasobject for a in arrays.values()):
        raise TypeError("object arrays would be pickled")
    buffer = io.BytesIO()  # zipfile cannot close an archive, and prints a traceback, where a write failed
    np.savez(buffer, **arrays)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def read_npz(path: Location, *names: str, optional: Sequence[str] = ()) -> dict[str, Array]:
    """Read named arrays of an npz, and those of `optional` that it has, without unpickling.

    Raises
    ------
    StorageError
        When the file cannot be read, is not whole, or lacks one of `names`.
    """
    if not is_remote(path):
        require_regular(path)
    try:
        opened: IO[bytes] = io.BytesIO(read_bytes(path)) if is_remote(path) else open(path, "rb")
        with NPZ_LOCK, opened as raw, np.load(raw, allow_pickle=False) as file:
            missing = [name for name in names if name not in file]
            if missing:
                raise StorageError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(file.files)}.")
            return {name: file[name] for name in (*names, *optional) if name in file}
    except StorageError:
        raise
    except FileNotFoundError as error:
        raise StorageError(f"There is no file {path}.") from error
    except Exception as error:  # NumPy, zipfile, zlib and tokenize raise whatever a damaged file provokes
        raise StorageError(f"{path} is not an npz file, or damaged: {error}.") from error


def digest(value: Any) -> str:
    """Return the SHA-256 hex digest of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def open_run(runs: Path, model: str, config: Mapping[str, Any], data_digest: str) -> Path:
    """Return the folder of the run of `config` on this data: a finished, an unfinished or a new one.

    Parameters
    ----------
    runs
        Folder of all runs.
    model
        Model key; part of the folder's name.
    config
        Fully resolved settings, JSON-ready.
    data_digest
        Digest of the dataset and its factors.

    Returns
    -------
    Path
        A finished folder if there is one (see `is_done`), else an unfinished one, else a new ``.partial`` one with
        ``config.json`` and ``environment.json``.

    Raises
    ------
    StorageError
        When the folder cannot be created, or is unfinished and is a link or contains one to a folder.
    """
    name = f"{model}-{digest({'config': dict(config), 'data': data_digest})[:10]}"
    found = sorted(runs.glob(f"????-??-??-{name}")) or sorted(runs.glob(f"????-??-??-{name}{PARTIAL}"))
    folder = found[-1] if found else runs / f"{datetime.date.today():%Y-%m-%d}-{name}{PARTIAL}"
    if not is_done(folder):
        refuse_links(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot create the run folder {folder}: {error.strerror}.") from error
    if not (folder / "config.json").exists():
        write_json(folder / "environment.json", environment())
        write_json(folder / "config.json", {**config, "data_digest": data_digest})
    return folder


@contextlib.contextmanager
def locked(folder: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Lock a folder for this process and remove temporary files; the lock ends with the process.

    Parameters
    ----------
    folder
        Created if it does not exist.
    on_wait
        Called before waiting for another process that holds the lock; None to raise instead of waiting.

    Raises
    ------
    FolderInUseError
        When another process holds the lock.
    StorageError
        When the folder cannot be created.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _lock(path, on_wait)
    except BlockingIOError as error:
        raise FolderInUseError(f"Another process is working on {folder}.") from error
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror}.") from error
    with file:
        try:
            remove_temporaries(folder)
            yield
        finally:
            path.unlink(missing_ok=True)


def _lock(path: Path, on_wait: Callable[[], None] | None) -> IO[str]:
    """Return the locked lock file, after checking that its last owner has not removed it meanwhile."""
    while True:
        file = open(open_for_writing(path), "w", encoding="utf-8")
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is None:
                    raise
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def is_done(run: Path) -> bool:
    """Return whether `run` is finished."""
    return run.suffix != PARTIAL and (run / DONE).exists()


def finish_run(run: Path) -> Path:
    """Write ``DONE``, with a checksum of every file, rename the folder to its final name and return it."""
    files = sorted(path for path in run.rglob("*") if path.is_file() and not _NOT_VERIFIED.match(path.name))
    finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    done = {"finished": finished, "files": {str(path.relative_to(run)): _checksum(path) for path in files}}
    write_json(run / DONE, {**done, "checksum": digest(done)})
    final = run.with_suffix("") if run.suffix == PARTIAL else run
    try:
        return run.rename(final)
    except OSError as error:
        raise StorageError(f"Cannot rename {run} to {final}: {error.strerror}.") from error


def verify_run(run: Location, skip: Collection[str] = ()) -> None:
    """Compare the files of a finished run with their checksums in ``DONE``.

    Files with a name in `skip` are not read. Earlier releases wrote no checksums; their runs pass.

    Raises
    ------
    StorageError
        When a file is missing, or is, as ``DONE`` itself, not as it was when the run was finished.
    """
    content = read_bytes(run / DONE)
    if not content.strip() or re.fullmatch(rb"[0-9T:+-]+\s*", content):
        return
    try:
        done = parse_json(content)
        checksum, files = done.pop("checksum"), dict(done["files"])
        is_whole = checksum == digest(done)
    except (ValueError, TypeError, KeyError, AttributeError):
        is_whole, files = False, {}
    if not is_whole:
        raise StorageError(f"{run / DONE} is damaged: expected the checksums that were written with the run.")
    for name, expected in files.items():
        if PurePosixPath(name).name in skip:
            continue
        if not is_file(run / name):
            raise StorageError(f"{run} has no {name}, which it had when it was finished.")
        if _checksum(run / name) != expected:
            raise StorageError(
                f"{run / name} was changed or damaged after the run was finished: it does not have the checksum in "
                f"{DONE}. Restore the file, or delete the run folder and train again."
            )


def _checksum(path: Location) -> str:
    """Return the BLAKE2b-128 of a file."""
    if is_remote(path):
        return hashlib.blake2b(read_bytes(path), digest_size=16).hexdigest()
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error


def environment() -> dict[str, Any]:
    """Return versions of packages, number of processors, and platform."""
    names = (
        "cs-keras",
        "tensorflow",
        "keras",
        "kapre",
        "numpy",
        "scikit-learn",
        "implicit",
        "faiss-cpu",
        "h5py",
    )
    versions = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "packages": versions,
    }
