"""Tags and duration in the header of an audio file."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mutagen
from mutagen.id3 import ID3

_FRAMES = {"artist": "TPE1", "title": "TIT2", "album": "TALB", "isrc": "TSRC", "genre": "TCON"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tags:
    """Tags of a file, empty where missing; `duration_s` is the estimate in its header, 0 where missing."""

    artist: str = ""
    title: str = ""
    album: str = ""
    isrc: str = ""
    genres: tuple[str, ...] = ()
    duration_s: float = 0.0


def read_tags(path: Path) -> Tags:
    """Return the tags of an audio file, empty ones if they are unreadable."""
    if not os.path.isfile(path):  # no error for any name; opening a pipe would wait for a writer
        return Tags()
    try:
        file = mutagen.File(path, easy=True)
    except Exception:  # mutagen raises whatever a damaged file provokes
        file = None
    if file is None:
        return Tags()
    values = _tag_values(file.tags)

    def first(name: str) -> str:
        return str((values.get(name) or [""])[0]).strip()

    genres = tuple(str(g).strip() for g in values.get("genre", []) if str(g).strip())
    duration = getattr(file.info, "length", None) or 0.0
    texts = {name: first(name) for name in ("artist", "title", "album", "isrc")}
    return Tags(**texts, genres=genres, duration_s=duration)


def _tag_values(tags: Any) -> Mapping[str, list[Any]]:
    """Return tags by name; for wav and aiff, mutagen gives raw ID3 frames."""
    if isinstance(tags, ID3):
        return {
            name: [str(text) for text in tags[frame].text] for name, frame in _FRAMES.items() if frame in tags
        }
    return tags if isinstance(tags, Mapping) or hasattr(tags, "get") else {}
