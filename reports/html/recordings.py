"""Recordings that a page plays: files of the folder that was ingested, or short copies beside the page."""

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from cs_keras.errors import AudioError, DataError
from cs_keras.runs import atomic_write
from cs_keras.storage.open_files import refuse_links

COPIES = "audio"  # folder beside the page
_COPY = re.compile(r"[0-9a-f]{16}\.mp3")
Track = tuple[str, float]  # id, and second to play from
Copy = Callable[[Path], bytes]  # short copy of a recording, as MP3


@dataclass(frozen=True)
class Recordings:
    """Audio files by track id, as a page in `folder` refers to them.

    Attributes
    ----------
    files
        Paths by track id.
    folder
        Of the page.
    copy
        Makes what the page plays in place of the files: `write_copies` writes copies of the tracks that `url` was
        called for.
    """

    files: Mapping[str, Path]
    folder: Path
    copy: Copy | None = None
    shown: dict[str, Path] = field(default_factory=dict)

    def url(self, track: Track) -> str | None:
        """Return the relative URL at which a track plays; None without a recording."""
        track_id, at_s = track
        path = self.files.get(track_id)
        if path is None:
            return None
        self.shown[track_id] = path
        if self.copy:
            return f"{COPIES}/{_copy_name(track_id)}"
        start = f"#t={at_s:.1f}" if at_s else ""
        return quote(os.fsencode(Path(os.path.relpath(path, self.folder.absolute())).as_posix())) + start

    def write_copies(self) -> None:
        """Write MP3 copies of the tracks that the page shows, unless they exist, and remove others.

        Raises
        ------
        DataError
            When recordings cannot be decoded, after the copies of all others are written.
        StorageError
            When a copy cannot be written, or their folder is a link.
        """
        expected = {_copy_name(track_id): path for track_id, path in self.shown.items()} if self.copy else {}
        remove_copies(self.folder, keep=expected)
        failed = []
        if expected:
            refuse_links(self.folder / COPIES)
        for name, path in expected.items():
            target = self.folder / COPIES / name
            if self.copy and (not target.exists() or target.stat().st_mtime < path.stat().st_mtime):
                try:
                    content = self.copy(path)
                except AudioError as error:
                    failed.append(str(error))
                    continue
                with atomic_write(target) as file:
                    file.write(content)
        if failed:
            raise DataError(
                f"{len(failed)} of {len(expected)} recordings do not play on the page: {failed[0]}"
            )


def remove_copies(folder: Path, keep: Collection[str] = ()) -> None:
    """Remove copies beside a page, or an earlier one, except those named; StorageError if a link leads to them."""
    copies = [path for path in (folder / COPIES).glob("*.mp3") if _COPY.fullmatch(path.name)]
    stale = [path for path in copies if path.name not in keep]
    if stale:
        refuse_links(folder / COPIES)
    for path in stale:
        path.unlink()


def find_recordings(
    files: Mapping[str, Path], track_ids: Collection[str], folder: Path, copy: Copy | None = None
) -> Recordings:
    """Return those of `files` that are of tracks and exist. DataError if none is."""
    found = {one: path for one in track_ids if (path := files.get(one)) and path.is_file()}
    if not found:
        raise DataError(
            "Expected the folder or the table that was ingested, with existing files and the ids of tracks. "
            f"Received: a file of {next(iter(files))!r}, and tracks such as {min(track_ids)!r}."
        )
    return Recordings(found, folder, copy)


def _copy_name(track_id: str) -> str:
    return f"{sha256(track_id.encode()).hexdigest()[:16]}.mp3"
