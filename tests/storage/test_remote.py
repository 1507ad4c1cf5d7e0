import types

import aiohttp
import pytest
import requests
from gcsfs.retry import HttpError

from cs_keras.errors import ConfigError, StorageError
from cs_keras.storage import remote
from cs_keras.storage.ranged_file import RangedFile
from cs_keras.storage.remote import BadAnswerError, RemoteConfig

CONTENT = bytes(range(256)) * 4


class Place:
    """A file whose reads fail with what is given, one after the other, and then succeed."""

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
    BadAnswerError("altered"),
]


@pytest.mark.parametrize("failure", PASSING, ids=lambda f: type(f).__name__)
def test_what_may_pass_is_tried_again(failure):
    place = Place(failure, failure)
    assert fetch(place) == CONTENT[10:20]
    assert place.reads == [(10, 20)] * 3


@pytest.mark.parametrize(
    "failure",
    [HttpError({"code": 401, "message": "who?"}), OSError("Forbidden: bucket"), PermissionError("no")],
)
def test_what_will_not_pass_is_told_at_once(failure):
    place = Place(failure)
    with pytest.raises(StorageError, match=r"^gs://bucket/a: (who\?, 401|Forbidden: bucket|no)\.$"):
        fetch(place)
    assert len(place.reads) == 1


def test_what_does_not_pass_is_told_with_the_number_of_attempts():
    place = Place(*[HttpError({"code": 503, "message": "busy"})] * 9)
    with pytest.raises(StorageError, match=r"^gs://bucket/a: busy, 503 \(4 attempts\)\.$"):
        fetch(place, attempts=4)
    place = Place(*[TimeoutError()] * 9)
    with pytest.raises(StorageError, match="no answer in time"):
        fetch(place, attempts=2)


def test_what_is_not_there_is_not_asked_for_again():
    place = Place(FileNotFoundError("bucket/a"))
    with pytest.raises(FileNotFoundError):
        fetch(place)
    assert len(place.reads) == 1


def test_content_that_is_refused_is_asked_for_again():
    place, seen = Place(b"0123456789"), []

    def check(content):
        seen.append(content)
        if content == b"0123456789":
            raise BadAnswerError("altered")

    assert fetch(place, check) == CONTENT[10:20]
    assert seen == [b"0123456789", CONTENT[10:20]]


@pytest.mark.parametrize("settings", [{"in_flight": 0}, {"attempts": 0}, {"timeout_s": 0.0}])
def test_settings_out_of_range(settings):
    with pytest.raises(ConfigError):
        RemoteConfig(**settings)


def test_a_ranged_file_reads_its_head_at_once_and_the_rest_as_asked():
    place = Place()
    file = RangedFile(place, len(CONTENT), 100)
    assert file.read(8) == CONTENT[:8]
    assert file.seek(90) == 90 and file.read(10) == CONTENT[90:100]
    assert place.reads == [(0, 100)]
    assert file.seek(-24, 2) == 1000 and file.read() == CONTENT[1000:]
    file.seek(95)
    assert file.read(10) == CONTENT[95:105]  # across the head's end
    assert (95, 105) in place.reads
