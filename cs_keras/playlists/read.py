"""Playlists as input: m3u8 files of recordings, and tables of track ids."""

import csv
import io
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cs_keras.errors import DataError, StorageError
from cs_keras.playlists.formats import restore
from cs_keras.storage.location import require_regular

M3U_SUFFIXES = (".m3u8", ".m3u")


def read_m3u(path: Path) -> list[Path]:
    """Return the files that an m3u8 or m3u playlist names, in order; relative names are relative to its folder.

    Raises
    ------
    StorageError
        It cannot be read.
    DataError
        It is not text, names none, or names anything but local files.
    """
    lines = (line.strip() for line in re.split(r"\r\n?|\n", _text(path)))
    named = [_file(line, path) for line in lines if line and not line.startswith("#")]
    if not named:
        raise DataError(f"{path} names no recordings: expected one file a line.")
    return named


def read_ids(path: Path) -> list[str]:
    """Return the ids of a table's column ``track_id``, in order, of a CSV separated by commas, semicolons or tabs.

    Raises
    ------
    StorageError
        It cannot be read.
    DataError
        It is not text, lacks the column, or has no ids.
    """
    text = _text(path)
    first_line = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first_line.count))
    try:
        if "track_id" not in (reader.fieldnames or ()):
            received = ", ".join(reader.fieldnames or ()) or "an empty file"
            raise DataError(f"{path} has no column 'track_id'. Received: {received}.")
        ids = [restore((row["track_id"] or "").strip()) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error
    if not any(ids):
        raise DataError(f"{path} lists no tracks: its column 'track_id' is empty.")
    return [track_id for track_id in ids if track_id]


def _text(path: Path) -> str:
    require_regular(path)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8.") from error


def _file(line: str, playlist: Path) -> Path:
    if not re.match(r"[a-z][a-z0-9+.-]+://", line, re.IGNORECASE):
        return playlist.parent / line
    try:
        url = urlsplit(line)
    except ValueError as error:
        raise DataError(f"{playlist} names {line}, which is not a URL: {error}.") from error
    if url.scheme.lower() != "file" or url.netloc not in ("", "localhost"):
        raise DataError(f"{playlist} names {line}; recordings are read from this machine's paths only.")
    return Path(unquote(url.path))
