"""Output of commands: progress on standard error, tables on standard output."""

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from cs_keras.progress import Advance, Description

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

    from cs_keras.storage.location import Location
    from reports.tables.cells.table import Section

LOG_INTERVAL_S = 30.0
PAGE_WIDTH = 110  # characters of a line of tables where output is not a terminal
CONCLUSION_WIDTH = 80
SECOND_WIDTH = 13  # characters of the column after names with headings


class Console:
    """Reports progress on standard error: bars on a terminal, plain lines in a log."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def log(self, line: str) -> None:
        """Print a line with the seconds since the start."""
        line = "".join(
            c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line
        )  # ids hold anything
        print(f"[{time.monotonic() - self._began:6.1f} s] {line}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def task(self, description: Description, total: int) -> Iterator[Advance]:
        """Show the progress of `total` units: a bar on a terminal, else a line every half a minute."""
        describe = description if callable(description) else lambda: description
        if not sys.stderr.isatty():
            yield self._log_lines(describe, total)
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as bars:
            task = bars.add_task(describe(), total=total)
            yield lambda n: bars.update(task, advance=n, description=describe())

    def _log_lines(self, describe: Callable[[], str], total: int) -> Advance:
        done, last = 0, time.monotonic()

        def advance(n: int) -> None:
            nonlocal done, last
            done += n
            if time.monotonic() - last > LOG_INTERVAL_S:
                last = time.monotonic()
                self.log(f"{describe()}: {done} of {total}")

        return advance


def open_page(width: int = PAGE_WIDTH) -> "RichConsole":
    """Return a rich console on standard output, which is at least `width` wide for files and pipes."""
    from rich.console import Console as RichConsole

    page = RichConsole()
    if not page.is_terminal:
        page.width = max(page.width, width)
    return page


def print_sections(sections: "Sequence[Section]", width: int = PAGE_WIDTH) -> None:
    """Print tables of reports with their headings and notes; `width` as for `open_page`."""
    from reports.formats.terminal import to_rich

    open_page(width).print(to_rich(sections))


def print_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """Print rows below a header and a title; cells are text, never control codes or markup.

    Columns named in `right` are aligned to the right.
    """
    from rich.text import Text

    from cs_keras.playlists.entries import printable

    # A title of the table would wrap at the table's width.
    open_page().print(Text(printable(title), style="italic"))
    print_rows(header, [(row, "") for row in rows], right)


def print_rows(
    header: Sequence[str],
    rows: Sequence[tuple[Sequence[str], str]],
    right: Sequence[str] = (),
    width: int = PAGE_WIDTH,
) -> None:
    """Print rows, each with the heading that it stands below, or ""; see `print_table` and `open_page`."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from cs_keras.playlists.entries import printable

    is_sectioned = any(heading for _, heading in rows)  # by short names, which stay whole
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=not is_sectioned)
    for name in header:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(Text(name), overflow="fold", justify=justify)
    if is_sectioned:
        table.columns[0].no_wrap = True
        table.columns[1].max_width = SECOND_WIDTH
    last = ""
    for row, heading in rows:
        if heading != last:
            table.add_row(Text(heading, style="italic"))
            last = heading
        table.add_row(*(Text(printable(cell)) for cell in row))
    open_page(width).print(table)


def print_settings(settings: Iterable[tuple[str, Any, str]]) -> None:
    """Print path, value and meaning of settings, as `cs_keras.config.list_settings` yields them."""
    from cs_keras.config import format_value

    width = min(open_page().width, PAGE_WIDTH)
    for path, value, meaning in settings:
        click.echo(f"{path} = {format_value(value)}")
        click.echo(click.wrap_text(meaning, width, "    ", "    "))


def print_written(paths: "Sequence[Location]") -> None:
    """Print the names of written files on standard error, by folder."""
    folders: dict[Location, list[str]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path.name)
    for folder, names in folders.items():
        files = str(folder / names[0]) if len(names) == 1 else f"{folder}: {', '.join(names)}"
        click.echo(f"Written: {files}", err=True)


def conclude(sentence: str, *command: object) -> None:
    """Print what came out, and on standard error the words of the next command to run."""
    click.echo(sentence)
    print_next(shlex.join(map(str, command)))


def print_next(command: str) -> None:
    """Print the next command to run, on standard error."""
    click.echo(f"Next: cs-keras {command}", err=True)


def show_sections(sections: "Sequence[Section]", out: Path | None, *command: object) -> None:
    """Print tables, write them to the folder `out` as Markdown, CSV and LaTeX if there is one, and print `command`.

    `command` are the words of the next command to run.
    """
    print_sections(sections)
    if out is not None:
        from reports.formats.files import write_report

        print_written(write_report(sections, out))
    print_next(shlex.join(map(str, command)))
