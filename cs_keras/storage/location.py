"""Files and folders on this machine or behind a URL, with the same functions for both."""

import contextlib
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

from typing_extensions import TypeIs
from upath import UPath

from cs_keras.errors import ConfigError, StorageError, UnreachableError
from cs_keras.storage import remote

Location: TypeAlias = Path | UPath
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}", re.IGNORECASE)
# Listings are not cached, because other processes write too; written files are verified by MD5.
_OPTIONS = {"gs": {"consistency": "md5"}, "gcs": {"consistency": "md5"}}


def locate(text: str) -> Location:
    """Return a path or URL as `Path` on this machine, or as `UPath` for fsspec.

    Credentials are those of the file system: for ``gs://`` Google's default credentials, none with
    ``FSSPEC_GS_TOKEN=anon``, an emulator with ``STORAGE_EMULATOR_HOST=http://HOST:PORT``.

    Raises ConfigError when there is no file system for the URL, or its package is not installed, and
    StorageError when there are no credentials.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return Path(text)
    protocol, rest = scheme[1].lower(), text[scheme.end() :]
    if not rest.strip("/"):
        raise ConfigError(
            f"A URL must name a bucket and a folder in it, such as gs://bucket/dataset. Received: {text}."
        )
    if protocol in ("file", "local"):
        return Path(unquote(rest))
    try:
        location = UPath(f"{protocol}://{rest}", use_listings_cache=False, **_OPTIONS.get(protocol, {}))
        remote.disable_builtin_retries(location.fs)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"Cannot open {text}: no file system is installed for it: {error}.") from error
    except Exception as error:  # of credentials, which differ by file system
        raise StorageError(f"Cannot open {text}: {error}.") from error
    return location


def is_remote(location: Location) -> TypeIs[UPath]:
    """Return whether `location` is behind a URL."""
    return not isinstance(location, Path)


def is_file(location: Location) -> bool:
    """Return whether `location` is a file."""
    return _type_of(location) == "file"


def is_folder(location: Location) -> bool:
    """Return whether `location` is a folder; in a bucket, whether a file is below it."""
    return _type_of(location) == "directory"


def require_regular(path: Path) -> None:
    """Raise StorageError for a pipe, a device or a socket: reading it may never end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # which opening it reports
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise StorageError(f"{path} is not a regular file: expected no pipe, device or socket.")


def file_size(location: Location) -> int:
    """Return a file's length in bytes; FileNotFoundError if there is none."""
    return int(remote.call(location, "info")["size"]) if is_remote(location) else location.stat().st_size


def read_bytes(location: Location, check: Callable[[bytes], None] = lambda content: None) -> bytes:
    """Return a whole, small file.

    `check` raises `cs_keras.storage.remote.BadResponseError` for wrong content; a remote file is then read
    again. Raises FileNotFoundError when there is no such file, and StorageError when it cannot be read, or its
    content is wrong.
    """
    if is_remote(location):
        return remote.retry(lambda: _checked(remote.call_once(location, "cat_file"), check), location)
    require_regular(location)
    try:
        return _checked(location.read_bytes(), check)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreachableError(f"Cannot read {location}: {error.strerror}.") from error
    except remote.BadResponseError as error:
        raise StorageError(f"{location}: {error}.") from error


def _checked(content: bytes, check: Callable[[bytes], None]) -> bytes:
    check(content)
    return content


def write_bytes(location: UPath, content: bytes) -> None:
    """Write a remote file in one request, which object stores make atomic.

    Raises StorageError when it cannot be written.
    """
    try:
        remote.call(location, "pipe_file", content, n_bytes=len(content))
    except FileNotFoundError as error:
        raise StorageError(f"Cannot write {location}: there is no such bucket.") from error


def remove(location: Location) -> None:
    """Remove a file, if there is one."""
    if not is_remote(location):
        location.unlink(missing_ok=True)
    else:
        with contextlib.suppress(FileNotFoundError):  # also when it was removed and the response lost
            remote.call(location, "rm_file")


def list_files(folder: Location) -> list[str]:
    """Return the paths of all files below `folder`, relative to it, with slashes, sorted."""
    return sorted(list_file_sizes(folder))


def list_file_sizes(folder: Location) -> dict[str, int]:
    """Return the length in bytes of each file below `folder` by its relative path, from one listing."""
    if not is_remote(folder):
        root = folder
        sizes = {}
        for path in root.rglob("*"):
            with contextlib.suppress(OSError):  # a temporary file that was renamed, or a link to nowhere
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    sizes[path.relative_to(root).as_posix()] = status.st_size
        return sizes
    try:
        found = remote.call(folder, "find", detail=True)
    except FileNotFoundError:
        return {}
    prefix = folder.path.strip("/") + "/"
    return {path.strip("/").removeprefix(prefix): int(entry["size"]) for path, entry in found.items()}


def _type_of(location: Location) -> str | None:
    try:
        if not is_remote(location):
            mode = location.stat().st_mode
            return "directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "special"
        return str(remote.call(location, "info")["type"])
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a name with a null character
        return None
    except StorageError:
        raise
    except OSError as error:
        raise UnreachableError(f"Cannot read {location}: {error.strerror}.") from error
