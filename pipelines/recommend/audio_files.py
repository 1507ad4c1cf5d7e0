"""Audio files of tracks, found where a dataset was ingested from, and entries for recordings."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from cs_keras.data.catalogue import audio_files, describe_recordings
from cs_keras.errors import DataError
from cs_keras.playlists.entries import Entry


def add_audio_paths(entries: Sequence[Entry], root: Path | None, table: Path | None) -> list[Entry]:
    """Return entries with the paths of their audio files, which a dataset does not store.

    Parameters
    ----------
    entries
        Tracks.
    root, table
        Folder of recordings, or ``tracks.csv``, whichever they were ingested from; one of the two.

    Raises
    ------
    DataError
        Files are missing.
    StorageError
        It cannot be read.
    """
    files = audio_files(root, table)
    found = [(files[entry.track_id], entry) for entry in entries if entry.track_id in files]
    missing = [entry.track_id for entry in entries if entry.track_id not in files]
    missing += [entry.track_id for path, entry in found if not path.is_file()]
    if missing:
        raise DataError(
            f"{table or root} has no audio file for {len(missing)} of {len(entries)} tracks, the first of them "
            f"{missing[0]!r}: expected the folder (--audio-root) or the table (--tracks) that the dataset was "
            "ingested from."
        )
    return [dataclasses.replace(entry, path=path) for path, entry in found]


def describe_files(files: Sequence[tuple[Path, str]]) -> list[Entry]:
    """Return an entry with the tags of each recording, from pairs of path and track id."""
    return [
        Entry(tags.track_id, tags.artist, tags.title, tags.album, tags.isrc, tags.duration_s, path)
        for tags, (path, _) in zip(describe_recordings(files), files, strict=True)
    ]
