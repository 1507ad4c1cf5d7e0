"""Tracks of a list, and the identity of recordings."""

import dataclasses
import re
import unicodedata
from pathlib import Path

_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A track of a list; unknown fields are empty.

    Attributes
    ----------
    track_id
        Id, or a recording's path without the suffix.
    artist, title, album, isrc
        Tags.
    duration_s
        Seconds; 0 if unknown.
    path
        Audio file; None if unknown.
    """

    track_id: str
    artist: str = ""
    title: str = ""
    album: str = ""
    isrc: str = ""
    duration_s: float = 0.0
    path: Path | None = None

    @property
    def label(self) -> str:
        """Artist and title on one line; the id if there is no printable title."""
        artist, title = printable(self.artist), printable(self.title) or printable(self.track_id)
        return f"{artist} - {title}" if artist else title

    @property
    def isrc_code(self) -> str:
        """The ISRC in capitals and without hyphens; empty where there is none or it is not one (ISO 3901)."""
        code = re.sub(r"[\s-]", "", self.isrc).upper()
        return code if _ISRC.fullmatch(code) else ""

    @property
    def identities(self) -> frozenset[tuple[str, ...]]:
        """Keys that entries of the same recording share: the ISRC, or artist and title."""
        artist, title = name_key(self.artist), name_key(self.title)
        keys: list[tuple[str, ...]] = [("isrc", self.isrc_code)] if self.isrc_code else []
        return frozenset([*keys, ("name", artist, title)] if artist and title else keys)


def name_key(name: str) -> str:
    """Return a normalised, casefolded name for comparison; empty if unknown."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def printable(text: str) -> str:
    """Return text on one line: composed letters, and spaces for line breaks, terminal controls and the like."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return unicodedata.normalize("NFC", shown).strip()
