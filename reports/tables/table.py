"""What a table is, in no format yet: columns, cells and rows, and the sentences around them."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reports.runs.labels import name_seeds

NOT_AVAILABLE = "n/a"
SIGNIFICANT = "*"
TIED = "†"
BELOW_CHANCE = "‡"
SIGNIFICANT_P = 0.01
PAIRED_P = 0.05  # of corrected p-values, below which a model is told from the best
MAX_UNDIVIDED = 4  # rows; more are divided into families


@dataclass(frozen=True)
class Column:
    """A column of numbers, or of text if `align` is left.

    Attributes
    ----------
    header : str
        For people; may break into lines.
    key : str
        For programs.
    best : callable, optional
        ``min`` or ``max``: which of the models' numbers to print strong.
    group : str
        What stands above the headers of neighbouring columns that belong together.
    """

    header: str
    key: str
    align: Literal["left", "right"] = "right"
    best: Callable[[Iterable[float]], float] | None = None
    group: str = ""


@dataclass(frozen=True)
class Cell:
    """A number as people read it and as it was measured.

    Attributes
    ----------
    text, marks, detail : str
        The number rounded, the marks behind it that the notes explain, and its interval or spread.
    value : float, optional
        Unrounded; overlaps are shares from 0 to 1. None where there is a `remark` in its place.
    sd, low, high, p : float, optional
        Standard deviation, interval and p-value.
    strong : bool
        Whether to print it strong.
    remark : str
        For programs, what people read in the notes.
    """

    text: str
    value: float | None
    marks: str = ""
    detail: str = ""
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    strong: bool = False
    remark: str = ""


@dataclass(frozen=True)
class Row:
    """What one predictor reached: a cell for each column of numbers, None where there is no number.

    Attributes
    ----------
    name : str
        Of the predictor.
    seeds : tuple of int
        Whose mean the numbers are; empty where there is no seed.
    cells : tuple
        As many as the table has columns.
    family : str
        Of models; empty for other predictors.
    heading : str
        What to print above the row.
    rule_above : bool
        Whether a line parts the row, and its heading, from those above.
    """

    name: str
    seeds: tuple[int, ...]
    cells: tuple[Cell | None, ...]
    family: str = ""
    heading: str = ""
    rule_above: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of numbers with the notes below them; `stub` is the header of the first column."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    stub: str = "model"

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

    def part(self, group: str) -> "Table":
        """Return the columns of one group as a table of its own, without notes.

        Of a named group only the rows that hold numbers.
        """
        places = [i for i, column in enumerate(self.columns) if column.group == group]
        columns = tuple(replace(self.columns[i], group="") for i in places)
        rows = tuple(replace(row, cells=tuple(row.cells[i] for i in places)) for row in self.rows)
        if group:
            rows = tuple(
                replace(row, seeds=(), heading="", rule_above=False) for row in rows if any(row.cells)
            )
        return Table(f"{self.title}, {group}" if group else self.title, columns, rows, (), self.stub)


@dataclass(frozen=True)
class Section:
    """Tables of runs that can be compared with each other."""

    heading: str
    notes: tuple[str, ...]
    tables: tuple[Table, ...]


def arrange(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the models' rows below a rule, more than a few by family, the best numbers of each column strong."""
    divided = len(rows) > MAX_UNDIVIDED and len({row.family for row in rows}) > 1
    arranged, above = [], None
    for row in _emphasise(columns, rows):
        first = above is None or (divided and row.family != above)
        arranged.append(replace(row, rule_above=first, heading=row.family if divided and first else ""))
        above = row.family
    return tuple(arranged)


def _emphasise(columns: Sequence[Column], rows: Sequence[Row]) -> list[Row]:
    """Return rows with the best of several strong: not by tied lists, nor where chance does as well."""
    cells = [list(row.cells) for row in rows]
    for i, column in enumerate(columns):
        fair = [cell.value for row in cells if (cell := row[i]) and cell.value is not None and contends(cell)]
        if column.best and len(rows) > 1 and fair:
            best = column.best(fair)
            for row in cells:
                cell = row[i]
                if cell and contends(cell) and cell.value == best:
                    row[i] = replace(cell, strong=True)
    return [replace(row, cells=tuple(own)) for row, own in zip(rows, cells, strict=True)]


def contends(cell: Cell | None) -> bool:
    """Tell whether a number may be strong: not by tied lists, nor where chance does as well."""
    return cell is not None and TIED not in cell.marks and (cell.p is None or cell.p < SIGNIFICANT_P)
