"""Tags and duration in the header of an audio file."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mutagen
from mutagen.id3 import ID3

_FRAMES = {"artist": "TPE1", "title": "TIT2", "album": "TALB", "isrc": "TSRC", "genre": "TCON"}


@dataclasses.dataclass(frozen=True)
class Tags:
    """Tags of a file, empty without one. `duration_s` is that in the header, 0 without one."""

    artist: str = ""
    title: str = ""
    album: str = ""
    isrc: str = ""
    genres: tuple[str, ...] = ()
    duration_s: float = 0.0


def read_tags(path: Path) -> Tags:
    """Return the tags of an audio file, empty ones if they are unreadable."""
    try:
        file = mutagen.File(path, easy=True)
    except (mutagen.MutagenError, OSError, ValueError):
        file = None
    if file is None:
        return Tags()
    values = _tag_values(file.tags)

    def first(name: str) -> str:
        return str((values.get(name) or [""])[0]).strip()

    genres = tuple(str(g).strip() for g in values.get("genre", []) if str(g).strip())
    duration = getattr(file.info, "length", None) or 0.0
    return Tags(first("artist"), first("title"), first("album"), first("isrc"), genres, duration)


def _tag_values(tags: Any) -> Mapping[str, list[Any]]:
    """Return tags by name; for wav and aiff, mutagen gives raw ID3 frames."""
    if isinstance(tags, ID3):
        return {
            name: [str(text) for text in tags[frame].text] for name, frame in _FRAMES.items() if frame in tags
        }
    return tags if isinstance(tags, Mapping) or hasattr(tags, "get") else {}
