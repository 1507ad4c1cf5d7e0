"""Recordings that a page plays: files of the folder that was ingested, or short copies beside the page."""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import soundfile

from cs_keras.audio.decode import load_mono
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.catalogue import find_audio
from cs_keras.errors import DataError
from cs_keras.runs import atomic_write

COPIES = "audio"  # folder beside the page
COPY_S = 20  # length of a copy, from the middle of a recording
COPY_RATE = 22_050  # Hz; of the rates that MP3 allows, the lowest at which music is easily recognised
Track = tuple[str, float]  # id, and second to play from


@dataclass(frozen=True)
class Recordings:
    """Audio files by track id, as a page in `folder` refers to them.

    Attributes
    ----------
    files
        Paths by track id.
    folder
        Of the page.
    embed
        Whether the page plays copies, which `write_copies` makes of the tracks that `url` was called for.
    """

    files: Mapping[str, Path]
    folder: Path
    embed: bool = False
    shown: dict[str, Path] = field(default_factory=dict)

    def url(self, track: Track) -> str | None:
        """Return the relative URL at which a track plays; None without a recording."""
        track_id, at_s = track
        path = self.files.get(track_id)
        if path is None:
            return None
        self.shown[track_id] = path
        if self.embed:
            return f"{COPIES}/{_copy_name(track_id)}"
        start = f"#t={at_s:.1f}" if at_s else ""
        return quote(Path(os.path.relpath(path, self.folder.absolute())).as_posix()) + start

    def write_copies(self) -> None:
        """Write MP3 copies of the tracks that the page shows, unless they exist, and remove others."""
        copies = self.folder / COPIES
        expected = {_copy_name(track_id): path for track_id, path in self.shown.items()} if self.embed else {}
        for stale in copies.glob("*.mp3"):
            if stale.name not in expected:
                stale.unlink()
        for name, path in expected.items():
            target = copies / name
            if not target.exists() or target.stat().st_mtime < path.stat().st_mtime:
                with atomic_write(target) as file:
                    file.write(_copy(path))


def find_recordings(root: Path, track_ids: frozenset[str], folder: Path, embed: bool) -> Recordings:
    """Return the recordings of tracks below the folder that was ingested.

    Raises
    ------
    StorageError
        When `root` cannot be read, or has no audio.
    DataError
        When no track has a recording there.
    """
    found = find_audio([root])
    files = {track_id: path for path, track_id in found if track_id in track_ids}
    if not files:
        raise DataError(
            f"--audio-root is the folder that was ingested, whose files are named as tracks are. Received: {root} "
            f"with {found[0][1]!r}; the first track is {min(track_ids)!r}."
        )
    return Recordings(files, folder, embed)


def _copy_name(track_id: str) -> str:
    return f"{sha256(track_id.encode()).hexdigest()[:16]}.mp3"


def _copy(path: Path) -> bytes:
    """Return the middle of a recording as MP3, mono."""
    samples = load_mono(path, AudioConfig(sample_rate=COPY_RATE))
    length = round(COPY_S * COPY_RATE)
    start = max(0, (len(samples) - length) // 2)
    file = io.BytesIO()
    soundfile.write(file, samples[start : start + length], COPY_RATE, format="MP3")
    return file.getvalue()
