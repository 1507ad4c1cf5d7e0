"""Operations on remote file systems that outlive what networks do: resets, stalls, cut answers, busy servers."""

import dataclasses
import json
import logging
import random
import time
import types
from collections.abc import Callable
from typing import Any, TypeVar

import aiohttp
import fsspec.asyn
import gcsfs.retry
import google.auth.exceptions
import requests
from upath import UPath

from cs_keras.config import check_range
from cs_keras.errors import CsKerasError, StorageError, UnreachableError

T = TypeVar("T")
BUSY = (408, 425, 429)  # HTTP statuses that ask to come again; so do those from 500 on
SLOWEST_BYTES_PER_S = 1e5  # of one request among many: a transfer at this rate is not a stall
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 20.0

# gcsfs logs a traceback for each request that it gives up; here the error says it, once, in a sentence.
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)


@dataclasses.dataclass(frozen=True)
class RemoteConfig:
    """How hard to try.

    Attributes
    ----------
    in_flight
        Requests at a time.
    attempts
        Tries of one request before it counts as failed.
    timeout_s
        Seconds after which a request that has not answered is given up and tried again; large transfers get more.
    """

    in_flight: int = 32
    attempts: int = 8
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        check_range("in_flight", self.in_flight, 1, 1024)
        check_range("attempts", self.attempts, 1, 100)
        check_range("timeout_s", self.timeout_s, 0.01, 3600)


DEFAULT = RemoteConfig()  # of this process; see `configure`


class BadResponseError(Exception):
    """An answer came and was not what was asked for: cut short, or with another checksum."""


def configure(settings: RemoteConfig) -> None:
    """Let `settings` hold for every request of this process that is given no others."""
    global DEFAULT
    DEFAULT = settings


def disable_builtin_retries(system: Any) -> None:
    """Leave trying again to `retry`: gcsfs's own waits would eat up a request's time and hide what went wrong."""
    retried: Any = getattr(type(system), "_request", None)
    if hasattr(retried, "__wrapped__"):
        system._request = types.MethodType(retried.__wrapped__, system)


def call(location: UPath, operation: str, *arguments: Any, n_bytes: int = 0, **options: Any) -> Any:
    """Run one operation of a location's file system, in time, and as often as it takes.

    Parameters
    ----------
    location
        What it is about; its path is the first argument.
    operation
        Name of the fsspec method, such as ``info``.
    n_bytes
        To be transferred; gives large ones more time.

    Raises
    ------
    FileNotFoundError
        When there is nothing at `location`.
    StorageError
        When it failed otherwise: `UnreachableError` unless what came was not what was written.
    """
    return retry(lambda: call_once(location, operation, *arguments, n_bytes=n_bytes, **options), location)


def fetch(
    location: UPath,
    start: int,
    end: int,
    check: Callable[[bytes], None],
    settings: RemoteConfig | None = None,
) -> bytes:
    """Return the bytes from `start` to before `end` of a remote file.

    Parameters
    ----------
    check
        Raises `BadResponseError` for bytes that are not the right ones: they are then asked for again.
    settings
        Tries and time-out.

    Raises
    ------
    FileNotFoundError, StorageError
        As `call`.
    """
    settings = settings or DEFAULT

    def ask() -> bytes:
        content: bytes = call_once(
            location, "cat_file", timeout_s=settings.timeout_s, n_bytes=end - start, start=start, end=end
        )
        if len(content) != end - start:
            raise BadResponseError(f"{end - start} bytes were asked for and {len(content)} came")
        check(content)
        return content

    return retry(ask, location, settings.attempts)


def call_once(
    location: UPath,
    operation: str,
    *arguments: Any,
    timeout_s: float | None = None,
    n_bytes: int = 0,
    **options: Any,
) -> Any:
    """Run one operation of a location's file system, once; see `call`. It raises what that file system raises."""
    system = location.fs
    if not system.async_impl:  # those in memory or on a disk, which do not stall
        return getattr(system, operation)(location.path, *arguments, **options)
    method = getattr(system, f"_{operation}")
    patience = (timeout_s or DEFAULT.timeout_s) + n_bytes / SLOWEST_BYTES_PER_S
    return fsspec.asyn.sync(system.loop, method, location.path, *arguments, timeout=patience, **options)


def retry(ask: Callable[[], T], location: UPath, attempts: int | None = None) -> T:
    """Return what `ask` returns, calling it again, ever later, while it fails in a way that may pass.

    See `fetch` for parameters and `call` for errors.
    """
    attempts = attempts or DEFAULT.attempts
    for attempt in range(1, attempts + 1):
        try:
            return ask()
        except (FileNotFoundError, CsKerasError):
            raise
        except Exception as error:  # every file system has errors of its own
            if attempt == attempts or not _may_pass(error):
                tried = f" ({attempt} attempts)" if attempt > 1 else ""
                kind = StorageError if isinstance(error, BadResponseError) else UnreachableError
                raise kind(f"{location}: {_reason(error)}{tried}.") from error
        time.sleep(min(FIRST_WAIT_S * 2 ** (attempt - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1.0))
    raise AssertionError("the last attempt returns or raises")


def _may_pass(error: Exception) -> bool:
    status = _status(error)
    if status is not None:
        return status in BUSY or status >= 500
    passing = (
        BadResponseError,
        TimeoutError,
        ConnectionError,
        aiohttp.ClientError,
        json.JSONDecodeError,  # an answer about a file, cut short
        requests.RequestException,
        gcsfs.retry.ChecksumError,
        google.auth.exceptions.TransportError,
        google.auth.exceptions.RefreshError,
    )
    return isinstance(error, passing) or "rateLimitExceeded" in str(error)


def _status(error: Exception) -> int | None:
    """Return the HTTP status that an error carries, by the name its file system gives it."""
    for name in ("code", "status"):
        value = getattr(error, name, None)
        if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
            return int(value)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = " ".join(str(error).split()).rstrip(".")
    return text or type(error).__name__
