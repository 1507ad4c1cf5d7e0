"""Lists of tracks as files, or as playlists on Spotify."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.console import print_written
from cs_keras.errors import ConfigError

if TYPE_CHECKING:
    from cs_keras.playlists.entries import Entry

FORMATS = ("m3u8", "xspf", "jspf", "csv", "json", "spotify")
WITH_PATHS = FORMATS[:3]


@dataclasses.dataclass(frozen=True)
class ListWriter:
    """Writes lists of tracks in one format.

    Attributes
    ----------
    format
        One of `FORMATS`.
    out
        File to write; None for standard output.
    audio_root, tracks
        For the paths of audio files: the folder or the table that was ingested.
    """

    format: str
    out: Path | None = None
    audio_root: Path | None = None
    tracks: Path | None = None

    def write(
        self, entries: "Sequence[Entry]", measures: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
    ) -> None:
        """Write entries with their measures, or add a playlist called ``about["title"]``."""
        if self.format == "spotify":
            _to_spotify(entries, str(about["title"]))
            return
        content = self._content(entries, measures, about)
        if self.out is None:
            click.echo(content, nl=False)
            return
        from cs_keras.runs import atomic_write

        with atomic_write(self.out) as file:
            file.write(content)
        print_written([self.out])

    def _content(
        self, entries: "Sequence[Entry]", measures: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
    ) -> bytes:
        from cs_keras.playlists import formats

        if self.format == "csv":
            return formats.to_csv(entries, measures).encode()
        if self.format == "json":
            return formats.to_json(entries, measures, about).encode()
        folder, title = self.out.parent if self.out else Path(), str(about["title"])
        if self.audio_root or self.tracks:
            from pipelines.recommend.audio_files import add_audio_paths

            entries = add_audio_paths(entries, self.audio_root, self.tracks)
        if self.format == "xspf":
            return formats.to_xspf(entries, title, folder)
        if self.format == "jspf":
            return formats.to_jspf(entries, title, folder).encode()
        return formats.to_m3u8(entries, folder).encode()


def choose_writer(
    format: str | None, out: Path | None, audio_root: Path | None, tracks: Path | None
) -> ListWriter | None:
    """Return the writer that the options of ``recommend`` describe; None for a table on the terminal alone.

    Raises
    ------
    ConfigError
        When the options contradict each other.
    """
    if format is None and out is not None:
        format = out.suffix.lower().removeprefix(".")
        if format not in FORMATS[:-1]:
            suffixes = ", ".join(f".{name}" for name in FORMATS[:-1])
            raise ConfigError(f"--out must end in {suffixes}, or give --format. Received: {out}.")
    if format == "spotify" and out is not None:
        raise ConfigError("--out names a file, and --format spotify writes none.")
    if format not in WITH_PATHS and (audio_root or tracks):
        raise ConfigError(
            "--audio-root and --tracks are for playlists of files: add --format m3u8, xspf or jspf."
        )
    if format == "m3u8" and not (audio_root or tracks):
        raise ConfigError(
            "An m3u8 playlist names audio files, which a dataset does not store: name the folder "
            "(--audio-root DIR) or the table (--tracks tracks.csv) that it was ingested from."
        )
    if audio_root and tracks:
        raise ConfigError("Name the ingested folder (--audio-root) or table (--tracks), not both.")
    return ListWriter(format, out, audio_root, tracks) if format else None


def _to_spotify(entries: "Sequence[Entry]", title: str) -> None:
    from cs_keras.playlists.entries import printable
    from cs_keras.playlists.spotify import CREDENTIALS, add_playlist, connect, has_credentials

    if not has_credentials():
        click.echo(f"Nothing was added: there are no credentials in {', '.join(CREDENTIALS)}. To be added:")
        for entry in entries:
            click.echo(f"{entry.isrc_code or 'no valid ISRC':<14}{printable(entry.label)}")
        return
    added = add_playlist(connect(), title, entries)
    click.echo(f"{added.url}: {len(added.found)} of {len(entries)} tracks.")
    for entry in added.missing:
        click.echo(
            f"Not on Spotify by ISRC {entry.isrc_code or '(none)'}: {printable(entry.label)}", err=True
        )
