"""Tables independent of their format: columns, cells, rows and notes."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cs_keras.errors import ConfigError
from reports.runs.labels import name_seeds

NOT_AVAILABLE = "n/a"
SIGNIFICANT = "*"
TIED = "†"
BELOW_CHANCE = "‡"
SIGNIFICANT_P = 0.01
PAIRED_P = 0.05  # significance level of corrected paired comparisons


@dataclass(frozen=True)
class Column:
    """A column of numbers, or of text if `align` is left."""

    header: str  # for people; may contain line breaks
    key: str  # in CSV
    align: Literal["left", "right"] = "right"
    best: Callable[[Iterable[float]], float] | None = None  # min or max: the model's number to print strong
    group: str = ""  # header above neighbouring columns that belong together
    optional: bool = False  # whether no note explains its absence


@dataclass(frozen=True)
class Cell:
    """A number, rounded for people (`text`) and as measured (`value`); overlaps are shares from 0 to 1."""

    text: str
    value: float | None  # None if there is a `remark` instead
    marks: str = ""  # of footnotes
    detail: str = ""  # interval or spread for people
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    strong: bool = False  # printed in bold
    remark: str = ""  # in CSV, in place of a number
    tracks: tuple[
        tuple[str, float] | None, ...
    ] = ()  # id, and second to play from, of the track each line names

    @property
    def span(self) -> tuple[float, float] | None:
        """The interval or, of several seeds, one standard deviation on either side; None without either."""
        if self.value is not None and self.sd is not None:
            return self.value - self.sd, self.value + self.sd
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True)
class Row:
    """The results of one predictor: a cell for each column, None if not available."""

    name: str
    seeds: tuple[int, ...]  # that the numbers are the mean of; empty if there is no seed
    cells: tuple[Cell | None, ...]
    family: str = ""  # of a model; empty for other predictors
    heading: str = ""  # line above the row
    rule_above: bool = False
    track: tuple[str, float] | None = None  # as in `Cell.tracks`, if the row is a track


@dataclass(frozen=True)
class Table:
    """Rows of numbers with the notes below them.

    `stub` is the header of the first column, `topic` the section of a page that shows the table.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    stub: str = "model"
    topic: str = ""

    @property
    def shows_seeds(self) -> bool:
        """Whether there is a column of seeds: rows differ in their seeds, or have several."""
        seeds = {row.seeds for row in self.rows if row.seeds}
        return len(seeds) > 1 or any(len(own) > 1 for own in seeds)

    @property
    def stubs(self) -> tuple[Column, ...]:
        """Columns that identify a row: its name and, if shown, its seeds."""
        name, seeds = Column(self.stub, "row", align="left"), Column("seeds", "seed")
        return (name, seeds) if self.shows_seeds else (name,)

    @property
    def width(self) -> int:
        """Number of columns, those that identify a row included."""
        return len(self.stubs) + len(self.columns)

    @property
    def column_groups(self) -> list[tuple[str, int]]:
        """Name and number of columns of each group of neighbouring columns, from left to right."""
        columns = (*self.stubs, *self.columns)
        grouped = itertools.groupby(columns, key=lambda column: column.group)
        return [(group, len(list(members))) for group, members in grouped]

    def seed_cells(self, row: Row) -> list[str]:
        """Return the text of the column of seeds; no cell if it is not shown."""
        return [name_seeds(row.seeds)] if self.shows_seeds else []

    def is_numeric(self, column: int) -> bool:
        """Return whether any row has a number in a column."""
        return any((cell := row.cells[column]) and cell.value is not None for row in self.rows)

    def without_empty_columns(self) -> "Table":
        """Return the table without columns that no row has a value in, and a note that names them."""
        shown = [i for i in range(len(self.columns)) if any(row.cells[i] for row in self.rows)]
        if len(shown) == len(self.columns):
            return self
        empty = ", ".join(
            column.header.replace("\n", " ")
            for i, column in enumerate(self.columns)
            if i not in shown and not column.optional
        )
        rows = tuple(replace(row, cells=tuple(row.cells[i] for i in shown)) for row in self.rows)
        notes = (*self.notes, *([f"Not shown, because no row has a value: {empty}."] if empty else []))
        return replace(self, columns=tuple(self.columns[i] for i in shown), rows=rows, notes=notes)

    def part(self, group: str) -> "Table":
        """Return one group of columns as a table without notes; of a named group only rows with numbers."""
        members = [i for i, column in enumerate(self.columns) if column.group == group]
        columns = tuple(replace(self.columns[i], group="") for i in members)
        rows = tuple(replace(row, cells=tuple(row.cells[i] for i in members)) for row in self.rows)
        if group:
            rows = tuple(
                replace(row, seeds=(), heading="", rule_above=False) for row in rows if any(row.cells)
            )
        return Table(f"{self.title}, {group}" if group else self.title, columns, rows, (), self.stub)


@dataclass(frozen=True)
class Section:
    """Tables of runs that can be compared with each other; `conclusion` says what they show, a sentence each."""

    heading: str
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    conclusion: tuple[str, ...] = ()


def select_tables(sections: Sequence[Section], title: str) -> tuple[Section, ...]:
    """Return sections with the tables whose titles contain `title`, whatever its case.

    Raises
    ------
    ConfigError
        When there is none; the message lists all titles.
    """
    found = tuple(
        replace(section, notes=(), tables=tables)
        for section in sections
        if (tables := tuple(one for one in section.tables if title.lower() in one.title.lower()))
    )
    if not found:
        titles = dict.fromkeys(table.title for section in sections for table in section.tables)
        raise ConfigError(f"There is no table {title!r}. Tables: {'; '.join(titles)}.")
    return found
