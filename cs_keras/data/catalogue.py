"""Recordings to ingest and their metadata: from ``tracks.csv``, from tags, or from names of files and folders."""

import csv
import dataclasses
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cs_keras.audio.decode import AUDIO_SUFFIXES
from cs_keras.audio.tags import Tags, read_tags
from cs_keras.data.schema import DATASET_FILE, is_valid_id
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.storage.location import Location, is_file, locate, require_regular

DESCRIPTIONS = ("artist", "title", "album", "isrc", "release_date")  # columns of text
COLUMNS = ("path", "track_id", *DESCRIPTIONS, "genres")

_DISC = re.compile(r"(cd|dis[ck])[ _.-]*\d+", re.IGNORECASE)
_TRACK_NUMBER = re.compile(r"(\d+\s*[._-]|0\d+\s)\s*")
_NO_ARTIST = re.compile(r"\d*|va|various( artists)?|compilations?|unknown( artist)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Recording(Tags):
    """An audio file and its metadata; `artist_from_folder` if its artist is not from tags or a table."""

    path: Path
    track_id: str
    artist_from_folder: bool = False
    release_date: str = ""


def find_sources(sources: Sequence[str], split: str | None) -> tuple[Location | None, list[Path]]:
    """Return the dataset among what a user names, or None and the audio files and folders.

    Raises
    ------
    ConfigError
        When there is more than one dataset, or a split without a dataset.
    StorageError
        When recordings are behind a URL.
    """
    locations = [locate(source) for source in sources]
    datasets = [location for location in locations if is_file(location / DATASET_FILE)]
    if datasets and len(locations) > 1:
        raise ConfigError(
            f"Expected one dataset, or audio files and folders. Received: {len(locations)} names, among them the "
            f"dataset {datasets[0]}."
        )
    if datasets:
        return datasets[0], []
    if split:
        raise ConfigError(f"--split needs a dataset, and {sources[0]} is not one.")
    paths = []
    for location in locations:
        if not isinstance(location, Path):
            raise StorageError(
                f"{location} is not a cs-keras dataset, and recordings are read from this machine's paths only."
            )
        paths.append(location)
    return None, paths


def find_audio(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """Return audio files with their ids: given files, and those below given folders, in a fixed order.

    A file's id is its path without the suffix, relative to the given folder, or its name. Raises StorageError
    when a path does not exist, or a folder holds no audio.
    """
    found: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file())
            if not inside:
                raise StorageError(
                    f"There is no audio in {path}: expected files ending in {', '.join(AUDIO_SUFFIXES)}."
                )
            found += [(p, _id_from(p.relative_to(path))) for p in inside]
        elif path.is_file():
            found.append((path, _id_from(Path(path.name))))
        else:
            raise StorageError(f"There is no file or folder {path}.")
    return found


def audio_files(root: Path | None, table: Path | None) -> dict[str, Path]:
    """Return the audio files of tracks by id: those that a table names, else those below a folder.

    Raises StorageError or DataError when the table cannot be read, or the folder holds no audio.
    """
    if table is not None:
        return {recording.track_id: recording.path for recording in read_catalogue(table)}
    return {} if root is None else {track_id: path for path, track_id in find_audio([root])}


def describe_recordings(files: Sequence[tuple[Path, str]]) -> list[Recording]:
    """Return recordings with the metadata of their tags; names replace a missing title and artist.

    The title is the file's name. The artist is read from the id, which is the path below the given folder:
    ``Artist/Album/track`` (folders of discs are passed over), else ``Artist - Title``, else ``Artist/track``.
    Numbers and "Various Artists" are no artists.
    """
    recordings = [_from_tags(path, track_id) for path, track_id in files]
    return [
        recording
        if recording.artist or not (artist := next(_artists_in(recording.track_id), ""))
        else dataclasses.replace(recording, artist=artist, artist_from_folder=True)
        for recording in recordings
    ]


def read_catalogue(path: Path, encoding: str | None = None) -> list[Recording]:
    """Read ``tracks.csv``: a header with at least ``path``, then one recording a row.

    Parameters
    ----------
    path
        Text table separated by commas, semicolons or tabs. Columns: ``path`` (relative to the table's folder),
        ``track_id`` (default: the path without its suffix), ``artist``, ``title``, ``album``, ``isrc``, ``genres``
        (separated by ``|`` or ``;``), ``release_date`` (such as 1994 or 1994-08-29). Empty cells are filled from
        the file's tags, except dates. Other columns are ignored.
    encoding
        Default: UTF-8, or UTF-16 where a byte-order mark says so.

    Raises
    ------
    StorageError
        When the file cannot be read.
    DataError
        When the encoding, a column or a row is invalid; the message names the row.
    """
    rows = _read_rows(path, encoding)
    recordings = [_from_row(path, number, row) for number, row in rows]
    if not recordings:
        raise DataError(f"{path} lists no recordings: it has a header but no rows.")
    check_unique(recordings, str(path))
    return recordings


def check_unique(recordings: Sequence[Recording], where: str) -> None:
    """Raise DataError for an id or file that occurs twice, or an id that is empty or has control characters."""
    for name in ("track_id", "path"):
        seen: dict[object, Recording] = {}
        for recording in recordings:
            value = getattr(recording, name)
            if value in seen:
                raise DataError(
                    f"{where}: {name} {str(value)!r} occurs twice, for {seen[value].path} and {recording.path}; "
                    "give each recording its own id by --tracks, or name the folder that holds both."
                )
            seen[value] = recording
    for recording in recordings:
        if not is_valid_id(recording.track_id):
            raise DataError(f"{where}: track_id {recording.track_id!r} is empty or has control characters.")


def split_genres(text: str) -> tuple[str, ...]:
    """Return genres that ``|`` or ``;`` separate."""
    return tuple(name.strip() for name in text.replace(";", "|").split("|") if name.strip())


def _read_rows(path: Path, encoding: str | None) -> list[tuple[int, dict[str, str]]]:
    require_regular(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
    encoding = encoding or ("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    try:
        text = content.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise DataError(
            f"{path} is not {encoding} text; name its encoding, as in --encoding latin-1, or save it as UTF-8."
        ) from error
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        table = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error
    if not table:
        raise DataError(f"{path} is empty: expected a header with at least the column 'path'.")
    header = [name.strip().casefold() for name in table[0][1]]
    if "path" not in header:
        raise DataError(
            f"{path} has no column 'path'. Known columns: {', '.join(COLUMNS)}. Received: {', '.join(header)}."
        )
    for line, row in table[1:]:
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(row)} values; expected {len(header)}, as in the header."
            )
    return [(line, dict(zip(header, map(str.strip, row), strict=True))) for line, row in table[1:]]


def _from_row(table: Path, line: int, row: dict[str, str]) -> Recording:
    name = row["path"]
    if not name:
        raise DataError(f"{table}, line {line}: the column 'path' is empty.")
    if not Path(name).name or "\0" in name:
        raise DataError(f"{table}, line {line}: the column 'path' must name a file. Received: {name!r}.")
    tagged = _from_tags(table.parent / name, row.get("track_id") or _id_from(Path(name)))
    genres = split_genres(row.get("genres", ""))
    given = {column: row[column] for column in DESCRIPTIONS if row.get(column)}
    return dataclasses.replace(tagged, genres=genres or tagged.genres, **given)  # type: ignore[arg-type]


def _id_from(path: Path) -> str:
    """Return a path without its suffix as an id, with bytes that are not UTF-8 replaced."""
    name = path.with_suffix("").as_posix().strip()
    return os.fsencode(name).decode("utf-8", "replace")


def _artists_in(name: str) -> Iterator[str]:
    """Yield the artists that a path names, the most probable first."""
    *folders, file = (part.strip() for part in name.split("/"))
    folders = [folder for folder in folders if not _DISC.fullmatch(folder)]
    before_dash = [_TRACK_NUMBER.sub("", part, count=1).partition(" - ") for part in (file, *folders[-1:])]
    alone = folders if len(folders) == 1 else []  # of two, the second is an album
    found = [*folders[-2:-1], *(artist for artist, dash, _ in before_dash if dash), *alone]
    yield from (artist.strip() for artist in found if not _NO_ARTIST.fullmatch(artist.strip()))


def _from_tags(path: Path, track_id: str) -> Recording:
    tags = read_tags(path)
    known = {**dataclasses.asdict(tags), "title": tags.title or _id_from(Path(path.name))}
    return Recording(Path(os.path.abspath(path)), track_id, **known)
