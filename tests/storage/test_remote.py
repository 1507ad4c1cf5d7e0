import contextlib
import gc
import threading
import types

import aiohttp
import pytest
import requests
from gcsfs.retry import HttpError

from cs_keras.errors import ConfigError, StorageError
from cs_keras.storage import remote
from cs_keras.storage.file_views import gc_paused, read_incrementally
from cs_keras.storage.remote import BadResponseError, RemoteConfig

CONTENT = bytes(range(256)) * 4


class Place:
    """A file whose reads fail with the given errors, one after the other, and then succeed."""

    def __init__(self, *failures):
        self.failures, self.reads, self.path = list(failures), [], "bucket/a"
        self.fs = types.SimpleNamespace(async_impl=False, cat_file=self.read)

    def __str__(self):
        return "gs://bucket/a"

    def read(self, path, start=0, end=None):
        self.reads.append((start, end))
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, bytes):
                return failure
            raise failure
        return CONTENT[start:end]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.0)


def fetch(place, check=lambda content: None, **settings):
    return remote.fetch(place, 10, 20, check, RemoteConfig(**settings))


PASSING = [
    HttpError({"code": 503, "message": "busy"}),
    HttpError({"code": "429", "message": "slow down"}),
    HttpError({"code": 408}),
    aiohttp.ClientPayloadError("cut"),
    aiohttp.ServerDisconnectedError(),
    requests.exceptions.ProxyError(),
    ConnectionResetError(),
    TimeoutError(),
    b"too short",
    BadResponseError("altered"),
]


@pytest.mark.parametrize("failure", PASSING, ids=lambda f: type(f).__name__)
def test_transient_errors_are_retried(failure):
    place = Place(failure, failure)
    assert fetch(place) == CONTENT[10:20]
    assert place.reads == [(10, 20)] * 3


@pytest.mark.parametrize(
    "failure",
    [HttpError({"code": 401, "message": "who?"}), OSError("Forbidden: bucket"), PermissionError("no")],
)
def test_permanent_failures_are_reported_at_once(failure):
    place = Place(failure)
    with pytest.raises(StorageError, match=r"^gs://bucket/a: (who\?, 401|Forbidden: bucket|no)\.$"):
        fetch(place)
    assert len(place.reads) == 1


def test_persistent_failures_are_reported_with_the_number_of_attempts():
    place = Place(*[HttpError({"code": 503, "message": "busy"})] * 9)
    with pytest.raises(StorageError, match=r"^gs://bucket/a: busy, 503 \(4 attempts\)\.$"):
        fetch(place, attempts=4)
    place = Place(*[TimeoutError()] * 9)
    with pytest.raises(StorageError, match="no response in time"):
        fetch(place, attempts=2)


def test_missing_files_are_not_requested_again():
    place = Place(FileNotFoundError("bucket/a"))
    with pytest.raises(FileNotFoundError):
        fetch(place)
    assert len(place.reads) == 1


def test_rejected_content_is_requested_again():
    place, seen = Place(b"0123456789"), []

    def check(content):
        seen.append(content)
        if content == b"0123456789":
            raise BadResponseError("altered")

    assert fetch(place, check) == CONTENT[10:20]
    assert seen == [b"0123456789", CONTENT[10:20]]


@pytest.mark.parametrize("settings", [{"in_flight": 0}, {"attempts": 0}, {"timeout_s": 0.0}])
def test_settings_out_of_range(settings):
    with pytest.raises(ConfigError):
        RemoteConfig(**settings)


def test_parts_of_a_file_are_fetched_without_waiting_inside_reads():
    place = Place()
    reads = []

    def read(file):
        reads.append(len(place.reads))
        found = [file.read(8), file.seek(90), file.read(10)]
        assert len(place.reads) == reads[-1]  # a read never goes to the network
        try:
            found.append((file.seek(-24, 2), file.read()))
        except OSError as error:
            raise KeyError("what a library makes of it") from error
        file.seek(95)
        return [*found, file.read(10)]  # across the head's end

    found = read_incrementally(place, len(CONTENT), 100, read)
    assert found == [CONTENT[:8], 90, CONTENT[90:100], (1000, CONTENT[1000:]), CONTENT[95:105]]
    assert place.reads == [(0, 100), (1000, 1024), (95, 195)]
    assert reads == [1, 2, 3]


def test_bytes_that_a_library_takes_for_absent_are_fetched():
    place = Place()

    def read(file):
        file.seek(500)
        with contextlib.suppress(OSError):
            return file.read(3)
        return None

    assert read_incrementally(place, len(CONTENT), 100, read) == CONTENT[500:503]


def test_errors_in_fetched_parts_are_raised():
    with pytest.raises(KeyError, match="nothing like that"):
        read_incrementally(Place(), len(CONTENT), 100, lambda file: {}["nothing like that"])


def test_no_garbage_is_collected_inside_nested_contexts():
    entered, leave = threading.Barrier(2), threading.Event()

    def other():
        with gc_paused():
            entered.wait()
            leave.wait()

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    with gc_paused(), gc_paused():
        assert not gc.isenabled()
    assert not gc.isenabled()  # the other is still inside
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_disabled_collection_stays_disabled():
    gc.disable()
    try:
        with gc_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
