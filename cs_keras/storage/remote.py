"""Operations on remote file systems, retried after resets, stalls, truncated responses and busy servers."""

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
BUSY = (408, 425, 429)  # HTTP statuses to retry; so are those from 500 on
SLOWEST_BYTES_PER_S = 1e5  # of one request among many; a transfer at this rate is not stalled
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 20.0

# gcsfs logs a traceback for each failed request; the error has the same information in one sentence.
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)


@dataclasses.dataclass(frozen=True)
class RemoteConfig:
    """Settings of requests.

    Attributes
    ----------
    in_flight
        Concurrent requests.
    attempts
        Attempts of a request before it fails.
    timeout_s
        Seconds after which a request without response is retried; large transfers get more.
    """

    in_flight: int = 32
    attempts: int = 8
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        check_range("in_flight", self.in_flight, 1, 1024)
        check_range("attempts", self.attempts, 1, 100)
        check_range("timeout_s", self.timeout_s, 0.01, 3600)


DEFAULT = RemoteConfig()  # for this process; see `configure`


class BadResponseError(Exception):
    """A response was truncated or has another checksum."""


def configure(settings: RemoteConfig) -> None:
    """Set the default settings of requests for this process."""
    global DEFAULT
    DEFAULT = settings


def disable_builtin_retries(system: Any) -> None:
    """Leave retries to `retry`: gcsfs's own waits would use up a request's time-out and hide the error."""
    retried: Any = getattr(type(system), "_request", None)
    if hasattr(retried, "__wrapped__"):
        system._request = types.MethodType(retried.__wrapped__, system)


def call(location: UPath, operation: str, *arguments: Any, n_bytes: int = 0, **options: Any) -> Any:
    """Run one operation of a location's file system, an fsspec method such as ``info``, with time-out and retries.

    `n_bytes`, the size of the transfer, extends the time-out. Raises FileNotFoundError when `location` does not
    exist, and StorageError when all attempts failed: `UnreachableError`, unless the last response was bad.
    """
    return retry(lambda: call_once(location, operation, *arguments, n_bytes=n_bytes, **options), location)


def fetch(
    location: UPath,
    start: int,
    end: int,
    check: Callable[[bytes], None],
    settings: RemoteConfig | None = None,
) -> bytes:
    """Fetch the bytes from `start` to before `end` of a remote file; errors are those of `call`.

    `check` raises `BadResponseError` for wrong bytes, which are then requested again.
    """
    settings = settings or DEFAULT

    def request() -> bytes:
        content: bytes = call_once(
            location, "cat_file", timeout_s=settings.timeout_s, n_bytes=end - start, start=start, end=end
        )
        if len(content) != end - start:
            raise BadResponseError(f"{end - start} bytes were requested and {len(content)} received")
        check(content)
        return content

    return retry(request, location, settings.attempts)


def call_once(
    location: UPath,
    operation: str,
    *arguments: Any,
    timeout_s: float | None = None,
    n_bytes: int = 0,
    **options: Any,
) -> Any:
    """Run one operation of a location's file system, once; see `call`. Errors are those of the file system."""
    system = location.fs
    if not system.async_impl:  # in memory or on a disk
        return getattr(system, operation)(location.path, *arguments, **options)
    method = getattr(system, f"_{operation}")
    timeout = (timeout_s or DEFAULT.timeout_s) + n_bytes / SLOWEST_BYTES_PER_S
    return fsspec.asyn.sync(system.loop, method, location.path, *arguments, timeout=timeout, **options)


def retry(request: Callable[[], T], location: UPath, attempts: int | None = None) -> T:
    """Return ``request()``, called again after transient errors, with exponential backoff.

    See `fetch` for parameters and `call` for errors.
    """
    attempts = attempts or DEFAULT.attempts
    for attempt in range(1, attempts + 1):
        try:
            return request()
        except (FileNotFoundError, CsKerasError):
            raise
        except Exception as error:  # each file system has its own errors
            if attempt == attempts or not _is_transient(error):
                tried = f" ({attempt} attempts)" if attempt > 1 else ""
                kind = StorageError if isinstance(error, BadResponseError) else UnreachableError
                raise kind(f"{location}: {_reason(error)}{tried}.") from error
        time.sleep(min(FIRST_WAIT_S * 2 ** (attempt - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1.0))
    raise AssertionError("the last attempt returns or raises")


def _is_transient(error: Exception) -> bool:
    status = _status(error)
    if status is not None:
        return status in BUSY or status >= 500
    transient = (
        BadResponseError,
        TimeoutError,
        ConnectionError,
        aiohttp.ClientError,
        json.JSONDecodeError,  # a truncated response about a file
        requests.RequestException,
        gcsfs.retry.ChecksumError,
        google.auth.exceptions.TransportError,
        google.auth.exceptions.RefreshError,
    )
    return isinstance(error, transient) or "rateLimitExceeded" in str(error)


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an error of any file system, None without one."""
    for name in ("code", "status"):
        value = getattr(error, name, None)
        if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
            return int(value)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no response in time"
    text = " ".join(str(error).split()).rstrip(".")
    return text or type(error).__name__
