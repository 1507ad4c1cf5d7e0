"""Lists of tracks as commands give them: a table on the terminal, a file, or a playlist of Spotify."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.errors import ConfigError

if TYPE_CHECKING:
    from cs_keras.playlists.entries import Entry

SUFFIXES = {".m3u8": "m3u8", ".csv": "csv", ".json": "json"}
PAGE_WIDTH = 110  # characters, where no terminal says how many fit


@dataclasses.dataclass(frozen=True)
class Export:
    """How a list leaves the command.

    Attributes
    ----------
    form
        ``m3u8``, ``csv``, ``json`` or ``spotify``.
    out
        File to write; None for standard output.
    audio_root, tracks
        What leads to the files of an m3u8: the folder or the table that was ingested.
    """

    form: str
    out: Path | None = None
    audio_root: Path | None = None
    tracks: Path | None = None

    def write(
        self, entries: "Sequence[Entry]", measures: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
    ) -> None:
        """Write entries with their measures, or put them into a playlist called ``about["title"]``."""
        if self.form == "spotify":
            _to_spotify(entries, str(about["title"]))
            return
        text = self._text(entries, measures, about)
        if self.out is None:
            click.echo(text.encode(), nl=False)
            return
        from cs_keras.runs import atomic_write

        with atomic_write(self.out) as file:
            file.write(text.encode())
        click.echo(f"Written: {self.out}", err=True)

    def _text(
        self, entries: "Sequence[Entry]", measures: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
    ) -> str:
        from cs_keras.playlists.formats import to_csv, to_json, to_m3u8

        if self.form == "csv":
            return to_csv(entries, measures)
        if self.form == "json":
            return to_json(entries, measures, about)
        from pipelines.recommend.audio_files import add_audio_paths

        folder = self.out.parent if self.out else Path()
        return to_m3u8(add_audio_paths(entries, self.audio_root, self.tracks), folder)


def make_export(
    form: str | None, out: Path | None, audio_root: Path | None, tracks: Path | None
) -> Export | None:
    """Return how a list leaves the command; None where it is only shown.

    Raises
    ------
    ConfigError
        When the options do not fit together.
    """
    if form is None and out is not None:
        form = SUFFIXES.get(out.suffix.lower())
        if form is None:
            raise ConfigError(
                f"--out must end in {', '.join(SUFFIXES)}, or --export say what to write. Received: {out}."
            )
    if form == "spotify" and out is not None:
        raise ConfigError("--out names a file, and --export spotify writes none.")
    if form != "m3u8" and (audio_root or tracks):
        raise ConfigError(
            "--audio-root and --tracks lead to the files of an m3u8 playlist: add --export m3u8."
        )
    if audio_root and tracks:
        raise ConfigError(
            "Name the folder (--audio-root) or the table (--tracks) that was ingested, not both."
        )
    return Export(form, out, audio_root, tracks) if form else None


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows, numbered, below a header; what the terminal would take for a command is not printed."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cs_keras.playlists.entries import printable

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name in ("", *header):
        table.add_column(Text(name), overflow="fold", justify="right" if name in ("", *NUMBERS) else "left")
    for number, row in enumerate(rows, 1):
        table.add_row(str(number), *(Text(printable(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:  # a file or pipe has no width of its own
        console.width = max(console.width, PAGE_WIDTH)
    console.print(Text(printable(title), style="italic"))  # as the table's own, it would break at its width
    console.print(table)


NUMBERS = ("score", "distance")  # columns


def _to_spotify(entries: "Sequence[Entry]", title: str) -> None:
    from cs_keras.playlists.spotify import CREDENTIALS, add_playlist, connect, has_credentials

    if not has_credentials():
        click.echo(f"Nothing was added: there are no credentials in {', '.join(CREDENTIALS)}. To be added:")
        for entry in entries:
            click.echo(f"{entry.isrc_code or 'no valid ISRC':<14}{_shown(entry)}")
        return
    added = add_playlist(connect(), title, entries)
    click.echo(f"{added.url}: {len(added.found)} of {len(entries)} tracks.")
    for entry in added.missing:
        click.echo(f"Not on Spotify by ISRC {entry.isrc_code or '(none)'}: {_shown(entry)}", err=True)


def _shown(entry: "Entry") -> str:
    from cs_keras.playlists.entries import printable

    return printable(entry.label)
