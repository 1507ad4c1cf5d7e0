"""Bar charts of a page, made of HTML: they fit any width, and their text and colours are the page's."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cs_keras.run_files.evaluation import RANDOM, REFIT_CEILING
from reports.commands.best_model import LISTS, best_models
from reports.runs.collect import Group
from reports.runs.labels import name_predictor
from reports.tables.cells.table import PAIRED_P, SIGNIFICANT, SIGNIFICANT_P, TIED, Cell, Row, Table
from reports.tables.overlap import TITLES

STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)  # between marks of an axis
MAX_TICKS = 6
REFERENCES = "Blue: models; grey: reference predictors; orange: the refit ceiling."
MARKS = {
    SIGNIFICANT: f"{SIGNIFICANT} significantly above chance (p at most {SIGNIFICANT_P}).",
    TIED: f"{TIED} depends on the order of ties.",
}


@dataclass(frozen=True)
class Bars:
    """A bar for each row of a table that has a number in one column, the highest first.

    Attributes
    ----------
    name, caption
        Id on the page, and the sentence below the chart.
    title, axis
        Heading, and label of the axis, whose values are multiplied by 100.
    rows
        Rows and their cells.
    chance
        Value at which a dashed line is drawn; None for no line.
    """

    name: str
    title: str
    axis: str
    caption: str
    rows: tuple[tuple[Row, Cell], ...]
    chance: float | None = None

    @property
    def ticks(self) -> list[float]:
        """Values of the marks on the axis: multiples of a round step, zero among them, which enclose all bars."""
        values = [end for _, cell in self.rows for end in (cell.value or 0.0, *(cell.span or ()))]
        low, high = min(0.0, *values), max(0.0, *values)
        step = next((one for one in STEPS if (high - low) / one <= MAX_TICKS - 1), STEPS[-1])
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return [number * step for number in range(first, max(last, first + 1) + 1)]

    def position(self, value: float) -> float:
        """Return where a value is on the axis, in percent of its length."""
        low, high = self.ticks[0], self.ticks[-1]
        return round(100 * (value - low) / (high - low), 3)

    def kind(self, row: Row) -> str:
        """Return what a row is: a model, the ceiling or another reference predictor."""
        if row.family:
            return "model"
        return "ceiling" if row.name == name_predictor(REFIT_CEILING) else "reference"


def overlap_bars(group: Group, tables: Sequence[Table], name: str) -> Iterator[Bars]:
    """Yield the ladder of all predictors by each kind of list that has a best model; `name` starts their ids."""
    for best in best_models(group):
        title, key = TITLES[best.kind], f"overlap@{best.best.k}"
        (table,) = (one for one in tables if one.title == title)
        rows = table.rows[1:]  # the first is chance
        cells, chance = _cells(table, key, rows), best.best.chance
        caption = (
            f"The farther a bar reaches beyond chance (dashed, {chance:.1%}), the more of "
            f"{LISTS[best.kind]} a predictor finds. {_explain(cells)}"
        )
        heading, axis = f"{title}, k = {best.best.k}", f"{key} (%)"
        yield Bars(f"{name}-{best.kind}-ladder", heading, axis, caption, cells, chance)


def ranking_bars(tables: Sequence[Table], name: str) -> Iterator[Bars]:
    """Yield nDCG of all predictors at the first list length that any has it at."""
    for table in tables:
        key = next((column.key for column in table.columns if column.key.startswith("ndcg@")), None)
        if key:
            cells, metric = _cells(table, key), key.replace("ndcg", "nDCG")
            chance = next((cell.value for row, cell in cells if row.name == name_predictor(RANDOM)), None)
            beyond = "" if chance is None else f" beyond random factors (dashed, {chance:.1%})"
            caption = (
                f"The farther a bar reaches{beyond}, the higher a playlist's own tracks rank in its list. "
                f"{_explain(cells)}"
            )
            yield Bars(f"{name}-ndcg", f"{table.title}, {metric}", f"{metric} (%)", caption, cells, chance)
            return


def difference_bars(tables: Sequence[Table], name: str) -> Iterator[Bars]:
    """Yield each model's difference to the best by the first measure of the paired comparisons."""
    for table in tables:
        rows = _cells(table, table.columns[0].key)
        best = next(
            (row.name for row in table.rows if (cell := row.cells[0]) and cell.remark == "best"), None
        )
        if best and rows:
            measure = table.columns[0].header.replace("-\n", "-").replace("\n", " ")
            caption = (
                f"A model without {SIGNIFICANT} may be as good as {best}, the best; each minus that, on the same "
                f"queries. Lines: 95% interval, for one pair. {SIGNIFICANT} p < {PAIRED_P}, corrected for the "
                "number of pairs, so that more models need larger differences."
            )
            axis = "difference (percentage points)"
            yield Bars(f"{name}-differences", f"{table.title}: {measure}", axis, caption, rows)
            return


def _explain(cells: Sequence[tuple[Row, Cell]]) -> str:
    """Return what colours, lines and marks of overlaps and rankings are."""
    several = any(cell.sd is not None for _, cell in cells)
    lines = "95% interval" + (" or, of several seeds, one standard deviation" if several else "")
    marks = {mark for _, cell in cells for mark in cell.marks}
    shown = [text for mark, text in MARKS.items() if mark in marks]
    return " ".join([f"{REFERENCES} Lines: {lines}.", *shown])


def _cells(table: Table, key: str, rows: Sequence[Row] | None = None) -> tuple[tuple[Row, Cell], ...]:
    """Return rows with a number in a column and their cells, the highest first."""
    column = [one.key for one in table.columns].index(key)
    pairs = ((row, row.cells[column]) for row in (table.rows if rows is None else rows))
    known = [(row, cell, cell.value) for row, cell in pairs if cell and cell.value is not None]
    return tuple((row, cell) for row, cell, value in sorted(known, key=lambda one: -one[2]))
