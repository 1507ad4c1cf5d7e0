"""What a recording's own tags say about it, and how long its header says it is."""

import dataclasses
from pathlib import Path

import mutagen


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
    values = dict(file.tags or {}) if hasattr(file.tags, "keys") else {}

    def first(name: str) -> str:
        return str((values.get(name) or [""])[0]).strip()

    genres = tuple(str(g).strip() for g in values.get("genre", []) if str(g).strip())
    duration = getattr(file.info, "length", None)
    return Tags(first("artist"), first("title"), first("album"), first("isrc"), genres, duration)
