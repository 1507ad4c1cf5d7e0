from pathlib import Path

import pytest
from upath import UPath

from cs_keras.errors import ConfigError, StorageError
from cs_keras.runs import atomic_write, read_json, write_json
from cs_keras.storage import location
from cs_keras.storage.location import locate
from cs_keras.storage.remote import BadResponseError


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    """The same folder on a disk and behind a URL."""
    place = tmp_path if request.param == "local" else locate(f"memory://{tmp_path.name}/data")
    yield place
    if request.param == "memory":
        place.fs.store.clear()


def write(place, content=b"x"):
    with atomic_write(place) as file:
        file.write(content)


def test_paths_and_urls_are_located():
    assert locate("a/b") == Path("a/b")
    assert locate("/a") == Path("/a")
    assert locate("file:///a/b") == Path("/a/b")
    assert isinstance(locate("memory://a/b"), UPath)
    assert str(locate("memory://a/b") / "c.h5").endswith("a/b/c.h5")


def test_urls_of_unknown_protocols_are_errors():
    with pytest.raises(ConfigError, match="Cannot open nosuch://a"):
        locate("nosuch://a")
    with pytest.raises(ConfigError, match="s3fs"):
        locate("s3://bucket/data")


def test_files_and_folders(folder):
    write(folder / "a.json")
    write(folder / "below" / "b.h5", b"123")
    assert location.is_file(folder / "a.json") and not location.is_file(folder / "below")
    assert location.is_folder(folder / "below") and not location.is_folder(folder / "a.json")
    assert not location.is_file(folder / "none") and not location.is_folder(folder / "none")
    assert location.list_file_sizes(folder) == {"a.json": 1, "below/b.h5": 3}
    assert location.list_files(folder / "below") == ["b.h5"]
    assert location.list_files(folder / "none") == []
    assert location.file_size(folder / "below" / "b.h5") == 3


def test_written_files_are_read_replaced_and_removed(folder):
    write(folder / "a", b"one")
    write(folder / "a", b"two")
    assert location.read_bytes(folder / "a") == b"two"
    location.remove(folder / "a")
    location.remove(folder / "a")
    with pytest.raises(FileNotFoundError):
        location.read_bytes(folder / "a")


def test_json_is_the_same_anywhere(folder):
    write_json(folder / "a.json", {"é": [1, 2]})
    assert read_json(folder / "a.json") == {"é": [1, 2]}
    with pytest.raises(StorageError, match="there is no such file"):
        read_json(folder / "b.json")


def test_a_write_that_fails_leaves_what_was_there(folder):
    write(folder / "a", b"old")
    with pytest.raises(ZeroDivisionError), atomic_write(folder / "a") as file:
        file.write(b"new")
        1 / 0  # noqa: B018
    assert location.read_bytes(folder / "a") == b"old"
    assert location.list_files(folder) == ["a"]


def test_rejected_content_is_an_error(folder, monkeypatch):
    monkeypatch.setattr("cs_keras.storage.remote.FIRST_WAIT_S", 0.001)
    write(folder / "a")

    def refuse(content):
        raise BadResponseError("it is not as it was written")

    with pytest.raises(StorageError, match="a: it is not as it was written"):
        location.read_bytes(folder / "a", refuse)
