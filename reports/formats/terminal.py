"""Tables for a terminal: intervals below their numbers, to save width, and each note once."""

import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Column as RichColumn
from rich.table import Table as RichTable
from rich.text import Text

from reports.formats.text import printable
from reports.tables.cells.table import NOT_AVAILABLE, Cell, Column, Section, Table

UNLIMITED = 10_000  # characters, to measure how wide a table would be


def to_rich(sections: Sequence[Section]) -> RenderableType:
    """Return what ``rich.console.Console.print`` shows."""
    parts: list[RenderableType] = []
    for section in sections:
        parts += [Text(printable(section.heading), style="bold"), *_rich_notes(section.notes)]
        shown: set[str] = set()
        for table in section.tables:
            notes = [note for note in table.notes if note not in shown]
            parts += [Text(), _Fitting(table), Text(), *_rich_notes(notes)]
            shown.update(notes)
        if section.conclusion:
            parts += [Text(), *map(Text, map(printable, section.conclusion))]
        parts.append(Text())
    return Group(*parts)


class _Fitting:
    """A table whose groups of columns move below it where the terminal is too narrow."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, whole or by group of columns."""
        groups = dict.fromkeys(column.group for column in self._table.columns)
        if len(groups) == 1 or _is_narrow(_rich_table(self._table), console, options):
            yield _fit_names(self._table, console, options)
            return
        for group in groups:
            if group:
                yield Text()
            yield _fit_names(self._table.part(group), console, options)


def _is_narrow(shown: RichTable, console: Console, options: ConsoleOptions) -> bool:
    return console.measure(shown, options=options.update_width(UNLIMITED)).maximum <= options.max_width


def _fit_names(table: Table, console: Console, options: ConsoleOptions) -> RichTable:
    """Return a table; if it is too wide, names of rows are wrapped after spaces and hyphens.

    rich, which does not know hyphens, would break words. It does where numbers could not stay whole otherwise.
    """
    shown = _rich_table(table)
    if _is_narrow(shown, console, options):
        return shown
    others = [_least_width(column, console, options) for column in shown.columns[1:]]
    width = options.max_width - sum(others) - len(others)  # with a space between columns
    parts = [part for row in table.rows for part in re.split(r"\s|(?<=-)", printable(row.name))]
    if width < max(map(len, parts), default=0):
        return shown
    rows = [replace(row, name=textwrap.fill(printable(row.name), width)) for row in table.rows]
    shown = _rich_table(replace(table, rows=tuple(rows)))
    shown.columns[0].no_wrap = True
    return shown


def _least_width(column: RichColumn, console: Console, options: ConsoleOptions) -> int:
    """Return the width of the longest line of numbers, or of the longest word of texts."""
    measured = (Measurement.get(console, options, cell) for cell in (column.header, *column.cells))
    return max(one.maximum if column.justify == "right" else one.minimum for one in measured)


def _rich_table(table: Table) -> RichTable:
    shown = RichTable(
        title=Text(table.title), title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False
    )
    for column in table.stubs:
        shown.add_column(Text(column.header), justify=column.align, overflow="fold", vertical="top")
    cells: list[list[Text]] = [[] for _ in table.rows]
    numbered = ((column.group or str(i), i) for i, column in enumerate(table.columns))
    for _, members in itertools.groupby(numbered, key=lambda one: one[0]):
        indices = [i for _, i in members]
        columns = [table.columns[i] for i in indices]
        block = [[row.cells[i] for i in indices] for row in table.rows]
        if columns[0].group:
            header, texts = _join_columns(columns, block)
        else:
            header, texts = Text(columns[0].header), [_rich_cell(cell) for (cell,) in block]
        shown.add_column(header, justify=columns[0].align, overflow="fold", vertical="top")
        for own, text in zip(cells, texts, strict=True):
            own.append(text)
    for row, own in zip(table.rows, cells, strict=True):
        if row.rule_above:
            shown.add_section()
        if row.heading:
            shown.add_row(Text(printable(row.heading), style="italic"))
        name = Text("\n".join(map(printable, row.name.split("\n"))))
        shown.add_row(name, *table.seed_cells(row), *own)
    return shown


def _join_columns(
    columns: Sequence[Column], block: Sequence[Sequence[Cell | None]]
) -> tuple[Text, list[Text]]:
    """Return a group of columns as one, because rich has no headers that span columns; without details."""
    headers = [column.header.split("\n") for column in columns]
    height = max(map(len, headers))
    texts = [[cell.text + cell.marks if cell else NOT_AVAILABLE for cell in cells] for cells in block]
    widths = [
        max(cell_len(text) for text in (*header, *own))
        for header, own in zip(headers, zip(*texts, strict=True), strict=True)
    ]

    def join(texts: Iterable[str]) -> str:
        padded = (" " * (width - cell_len(text)) + text for text, width in zip(texts, widths, strict=True))
        return f" {' '.join(padded)}"  # a wider gap before the group

    above = [[""] * (height - len(header)) + header for header in headers]
    lines = [columns[0].group, *map(join, zip(*above, strict=True))]
    return Text("\n".join(lines), style="dim"), [Text(join(own), style="dim") for own in texts]


def _rich_notes(notes: Iterable[str]) -> Iterator[Text]:
    return (Text(printable(note), style="dim") for note in notes)


def _rich_cell(cell: Cell | None) -> Text:
    if cell is None:
        return Text(NOT_AVAILABLE, style="dim")
    text = Text.assemble((printable(cell.text), "bold" if cell.strong else ""), cell.marks)
    return text.append(f"\n{cell.detail}", style="dim") if cell.detail else text
