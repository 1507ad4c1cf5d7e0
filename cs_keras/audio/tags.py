"""What a recording's own tags say about it, and how long its header says it is."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mutagen
from mutagen.id3 import ID3

_FRAMES = {"artist": "TPE1", "title": "TIT2", "album": "TALB", "isrc": "TSRC", "genre": "TCON"}


@dataclasses.dataclass(frozen=True)
class Tags:
    """Tags of one file; empty where it has none. `duration_s` is the header's word, None where it has none."""

    artist: str = ""
    title: str = ""
    album: str = ""
    isrc: str = ""
    genres: tuple[str, ...] = ()
    duration_s: float | None = None


def read_tags(path: Path) -> Tags:
    """Return the tags of an audio file; a file without readable tags gives empty ones, never an error."""
    try:
        file = mutagen.File(path, easy=True)
    except (mutagen.MutagenError, OSError, ValueError):
        return Tags()
    if file is None:
        return Tags()
    values = _values(file.tags)

    def first(name: str) -> str:
        return str((values.get(name) or [""])[0]).strip()

    genres = tuple(str(g).strip() for g in values.get("genre", []) if str(g).strip())
    duration = getattr(file.info, "length", None)
    return Tags(first("artist"), first("title"), first("album"), first("isrc"), genres, duration)


def _values(tags: Any) -> Mapping[str, list[Any]]:
    """Return tags by name; in wav and aiff, mutagen leaves ID3 frames as they are."""
    if isinstance(tags, ID3):
        return {
            name: [str(text) for text in tags[frame].text] for name, frame in _FRAMES.items() if frame in tags
        }
    return tags if isinstance(tags, Mapping) or hasattr(tags, "get") else {}
