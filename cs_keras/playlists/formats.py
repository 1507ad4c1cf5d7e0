"""Playlists as m3u8, XSPF, JSPF, CSV and JSON, with names escaped for each format."""

import csv
import io
import json
import os
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cs_keras.errors import DataError
from cs_keras.playlists.entries import Entry, printable

COLUMNS = ("rank", "track_id", "artist", "title", "album", "isrc", "duration_s", "score", "factors")


def to_m3u8(entries: Sequence[Entry], folder: Path) -> str:
    r"""Return an extended M3U playlist, to be written as UTF-8 without a byte-order mark.

    Parameters
    ----------
    entries
        Each with the path of its audio file.
    folder
        Folder of the playlist file, which paths are relative to.

    Raises
    ------
    DataError
        An entry has no path, or one that a line of UTF-8 cannot hold.
    """
    lines = ["#EXTM3U"]
    for entry in entries:
        seconds = round(entry.duration_s) if entry.duration_s > 0 else -1
        lines += [f"#EXTINF:{seconds},{printable(entry.label)}", _line_of(entry, folder)]
    return "\n".join(lines) + "\n"


def to_xspf(entries: Sequence[Entry], title: str, folder: Path) -> bytes:
    """Return a playlist in XSPF version 1 (https://www.xspf.org/spec), an XML document in UTF-8.

    Parameters
    ----------
    entries
        Those with a path get a location, relative to the playlist file; players find the others by name.
    title
        Title of the playlist.
    folder
        Folder of the playlist file.
    """
    playlist = ET.Element("playlist", {"version": "1", "xmlns": "http://xspf.org/ns/0/"})
    ET.SubElement(playlist, "title").text = printable(title)
    tracks = ET.SubElement(playlist, "trackList")
    for entry in entries:
        track = ET.SubElement(tracks, "track")
        for name, value in _xspf_elements(entry, folder).items():
            ET.SubElement(track, name).text = str(value)
    ET.indent(playlist)
    document: bytes = ET.tostring(playlist, encoding="UTF-8", xml_declaration=True)
    return document + b"\n"


def to_jspf(entries: Sequence[Entry], title: str, folder: Path) -> str:
    """Return a playlist in JSPF, which is XSPF as JSON; see `to_xspf`."""
    tracks = [_xspf_elements(entry, folder) for entry in entries]
    for track in tracks:
        track.update({name: [track[name]] for name in ("location", "identifier") if name in track})
    document = {"playlist": {"title": printable(title), "track": tracks}}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def to_csv(entries: Sequence[Entry], measures: Sequence[Mapping[str, Any]]) -> str:
    """Return a table, best first; text that a spreadsheet would read as a formula gets a leading apostrophe.

    Parameters
    ----------
    entries
        Tracks.
    measures
        Further columns, the same for all entries; their text is neutralised too.
    """
    file = io.StringIO()
    rows = [_cells(rank, *pair) for rank, pair in enumerate(zip(entries, measures, strict=True), 1)]
    writer = csv.DictWriter(file, list(rows[0]) if rows else list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: neutralise(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
        for row in rows
    )
    return file.getvalue()


def to_json(entries: Sequence[Entry], measures: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """Return a JSON document: `about`, then ``tracks`` with the columns of `to_csv`, names as they are."""
    tracks = [_cells(rank, *pair) for rank, pair in enumerate(zip(entries, measures, strict=True), 1)]
    return json.dumps({**about, "tracks": tracks}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def neutralise(text: str) -> str:
    """Return text on one line that no spreadsheet reads as a formula, in plain or full-width characters."""
    shown = printable(text)
    return f"'{shown}" if _is_formula(shown) or text[:1] in ("\t", "\r") else shown


def restore(cell: str) -> str:
    """Return the input of `neutralise`, except for characters that it replaced."""
    return cell[1:] if cell[:1] == "'" and _is_formula(cell[1:]) else cell


def _is_formula(text: str) -> bool:
    begins = unicodedata.normalize("NFKC", text).lstrip()[:1]
    return bool(begins) and begins in "=+-@"


def _cells(rank: int, entry: Entry, measures: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: getattr(entry, name) for name in COLUMNS[1:6]}
    return {"rank": rank, **known, "duration_s": round(entry.duration_s, 3), **measures}


def _xspf_elements(entry: Entry, folder: Path) -> dict[str, Any]:
    """Return what is known of a track by the names of XSPF, durations in ms."""
    relative = entry.path and Path(os.path.relpath(entry.path, folder))
    elements = {
        "location": relative and quote(os.fsencode(relative.as_posix())),  # quotes colons: never a URL
        "identifier": entry.isrc_code and f"urn:isrc:{entry.isrc_code}",
        "title": printable(entry.title) or printable(entry.track_id),
        "creator": printable(entry.artist),
        "album": printable(entry.album),
        "duration": round(1000 * entry.duration_s),
    }
    return {name: value for name, value in elements.items() if value}


def _line_of(entry: Entry, folder: Path) -> str:
    """Return the path of an entry's audio file as a line of a playlist in `folder`."""
    if entry.path is None:
        raise DataError(f"Track {entry.track_id!r} has no audio file that a playlist could name.")
    line = Path(os.path.relpath(entry.path, folder)).as_posix()
    try:
        line.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"An m3u8 playlist is UTF-8, and the file name {os.fsencode(entry.path)!r} is not; rename the file."
        ) from error
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in line):
        raise DataError(
            f"An m3u8 playlist has one file a line, and the file name {str(entry.path)!r} has line breaks or other "
            "control characters; rename the file."
        )
    # A comment, a URL, or a name that players would strip becomes a path with a leading folder.
    return f"./{line}" if re.match(r"[#\s]|[^/]*:", line) else line
