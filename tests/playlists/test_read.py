from pathlib import Path

import pytest

from cs_keras.errors import DataError, StorageError
from cs_keras.playlists.read import read_ids, read_m3u


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_playlist_by_another_program(tmp_path: Path) -> None:
    text = "\ufeff#EXTM3U\r\n#EXTINF:1,x\r\nsub/a.mp3\r\n\r\n/abs/b.mp3\r\nfile:///c%20d.mp3\r\n# comment\r\n"
    read = read_m3u(write(tmp_path / "l.m3u", text))
    assert read == [tmp_path / "sub" / "a.mp3", Path("/abs/b.mp3"), Path("/c d.mp3")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_of_ids(delimiter: str, tmp_path: Path) -> None:
    lines = [["x", "track_id"], ["1", "a"], ["2", " b "], ["3", ""]]
    path = write(tmp_path / "l.csv", "\n".join(map(delimiter.join, lines)))
    assert read_ids(path) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("#EXTM3U\n", "names no recordings"),
        ("https://x/y.mp3\n", "this machine's paths only"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_playlists_that_cannot_be_used(content: str | bytes, expected: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=expected):
        read_m3u(write(tmp_path / "l.m3u8", content))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("id,title\na,b\n", "no column 'track_id'. Received: id, title"),
        ("", "Received: an empty file"),
        ("track_id\n", "lists no tracks"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_tables_that_cannot_be_used(content: str | bytes, expected: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=expected):
        read_ids(write(tmp_path / "l.csv", content))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Cannot read"):
        read_m3u(tmp_path / "none.m3u8")
