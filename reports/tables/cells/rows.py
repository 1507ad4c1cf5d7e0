"""Rows of a table: reference predictors first, then models by family, the best numbers of a column strong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from cs_keras.run_files.evaluation import MODEL, Evaluation
from reports.runs.collect import Group
from reports.runs.labels import family_of, name_predictor
from reports.tables.cells.table import SIGNIFICANT_P, TIED, Cell, Column, Row

Record = TypeVar("Record")
Cells = tuple[Cell | None, ...]

MAX_UNDIVIDED = 4  # rows; more are divided into families


def predictor_rows(
    group: Group,
    columns: Sequence[Column],
    references: Mapping[str, Record],
    record_of: Callable[[Evaluation], Record | None],
    cells: Callable[[Sequence[Record]], Cells],
) -> tuple[Row, ...]:
    """Return the rows of reference predictors, then those of the models whose seeds all have a record.

    `cells` gets one record for each seed of a row.
    """
    seeds = (group.first.seed,)
    others = [
        Row(name_predictor(name), seeds, cells([own])) for name, own in references.items() if name != MODEL
    ]
    models = []
    for run in group.runs:
        records = [record for own in run.evaluations if (record := record_of(own)) is not None]
        if len(records) == len(run.evaluations):
            models.append(Row(run.label, run.seeds, cells(records), family_of(run.model)))
    return (*others, *arrange(columns, models))


def arrange(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the models' rows below a rule, many of them divided by family, the best numbers strong."""
    divided = len(rows) > MAX_UNDIVIDED and len({row.family for row in rows}) > 1
    arranged, above = [], None
    for row in _emphasise(columns, rows):
        starts = above is None or (divided and row.family != above)
        arranged.append(replace(row, rule_above=starts, heading=row.family if divided and starts else ""))
        above = row.family
    return tuple(arranged)


def _emphasise(columns: Sequence[Column], rows: Sequence[Row]) -> list[Row]:
    cells = [list(row.cells) for row in rows]
    for i, column in enumerate(columns):
        fair = [
            cell.value for row in cells if (cell := row[i]) and cell.value is not None and may_be_best(cell)
        ]
        if column.best and len(rows) > 1 and fair:
            best = column.best(fair)
            for row in cells:
                cell = row[i]
                if cell and may_be_best(cell) and cell.value == best:
                    row[i] = replace(cell, strong=True)
    return [replace(row, cells=tuple(own)) for row, own in zip(rows, cells, strict=True)]


def may_be_best(cell: Cell) -> bool:
    """Return whether a number may be strong: not of tied lists, nor not significantly above chance."""
    return TIED not in cell.marks and (cell.p is None or cell.p <= SIGNIFICANT_P)
