"""Tables in no format yet, and those that every report holds: training, and both overlaps."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cs_keras.evaluation.losses import RegressionLosses
from cs_keras.evaluation.overlap import OverlapAtK
from reports import notes
from reports.collect import Collected, Group, Run
from reports.notes import SIGNIFICANT_P, Kind

NOT_AVAILABLE = "n/a"
SIGNIFICANT = "*"
TIED = "†"
REFERENCE_NAMES = {"random": "random factors", "one-ranking": "one ranking for all"}
TITLES: dict[Kind, str] = {"similarity": "Overlap by similarity", "dot": "Overlap by dot product"}


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
    """

    header: str
    key: str
    align: Literal["left", "right"] = "right"
    best: Callable[[Iterable[float]], float] | None = None


@dataclass(frozen=True)
class Cell:
    """A number as people read it and as it was measured.

    Attributes
    ----------
    text, marks, detail : str
        The number rounded, the marks behind it that the notes explain, and its interval or spread.
    value : float
        Unrounded; overlaps are shares from 0 to 1.
    sd, low, high, p : float, optional
        Standard deviation, interval and p-value.
    strong : bool
        Whether to print it strong.
    """

    text: str
    value: float
    marks: str = ""
    detail: str = ""
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Row:
    """What one predictor reached: a cell for each column of numbers, None where there is no number."""

    name: str
    seed: int | None
    cells: tuple[Cell | None, ...]
    rule_above: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of numbers, with sentences that say what they are."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def shows_seeds(self) -> bool:
        """Whether rows differ in their seed, so that it must be told."""
        return len({row.seed for row in self.rows if row.seed is not None}) > 1

    @property
    def stubs(self) -> tuple[Column, ...]:
        """Columns that name a row: predictor and, where it must be told, seed."""
        model, seed = Column("model", "row", align="left"), Column("seed", "seed")
        return (model, seed) if self.shows_seeds else (model,)


@dataclass(frozen=True)
class Section:
    """Tables of runs that can be compared with each other."""

    heading: str
    notes: tuple[str, ...]
    tables: tuple[Table, ...]


def make_sections(collected: Collected) -> tuple[Section, ...]:
    """Return the tables of collected runs, a section for each group, numbered if there are several."""
    several = len(collected.groups) > 1
    return tuple(
        Section(
            heading=f"{number}. {notes.heading(group)}" if several else notes.heading(group),
            notes=notes.section_notes(group),
            tables=make_tables(group),
        )
        for number, group in enumerate(collected.groups, 1)
    )


def make_tables(group: Group) -> tuple[Table, ...]:
    """Return a group's tables: training, and each overlap that was measured."""
    kinds = [kind for kind in TITLES if group.runs[0].evaluation.overlap.get(kind)]
    return (training_table(group), *(overlap_table(group, kind) for kind in kinds))


def training_table(group: Group) -> Table:
    """Return size, epochs, losses and time of each model, below the losses of the mean predictor."""
    subset = any(
        run.evaluation.training.n_train_tracks != run.evaluation.n_tracks.train for run in group.runs
    )
    columns = (
        Column("trainable\nparameters", "parameters"),
        *([Column("train\ntracks", "n_train_tracks")] if subset else []),
        Column("epochs", "epochs"),
        Column("best\nepoch", "best_epoch"),
        Column("MSE\nval", "mse_validation", best=min),
        Column("MSE\ntest", "mse_test", best=min),
        Column("R²\ntest", "r2_test", best=max),
        Column("cosine\ndistance\ntest", "cosine_distance_test", best=min),
        Column("time\n(min:s)", "seconds"),
    )
    mean = group.runs[0].evaluation.mean_predictor
    untrained = (None,) * (4 if subset else 3)
    baseline = Row("mean predictor", None, (*untrained, *_loss_cells(mean.validation, mean.test), None))
    models = [_training_row(run, subset) for run in group.runs]
    return Table("Training", columns, (baseline, *_emphasise(columns, models)), notes.training_notes(group))


def overlap_table(group: Group, kind: Kind) -> Table:
    """Return the overlap at each list length of chance, of predictors that hear nothing, and of each model."""
    first = group.runs[0].evaluation
    ks = tuple(dict.fromkeys(group.judging.ks))
    by_chance = {measured.k: measured for measured in first.overlap[kind]}
    decimals = {k: _decimals(by_chance.get(k)) for k in ks}

    def row(name: str, seed: int | None, measured: Sequence[OverlapAtK]) -> Row:
        at = {one.k: one for one in measured}
        p_value = at[ks[0]].p_value if ks[0] in at else None
        p_cell = None if p_value is None else Cell(_format_p(p_value), p_value)
        return Row(name, seed, (*(_overlap_cell(at.get(k), decimals[k]) for k in ks), p_cell))

    columns = (
        *(Column(f"k = {k}", f"overlap@{k}", best=max) for k in ks),
        Column(f"p (k = {ks[0]})", f"p@{ks[0]}"),
    )
    chance = Row("chance", None, (*(_chance_cell(by_chance.get(k), decimals[k]) for k in ks), None))
    deaf = [
        row(REFERENCE_NAMES.get(name, name), first.seed, overlaps[kind])
        for name, overlaps in first.references.items()
        if kind in overlaps
    ]
    models = [row(run.label, run.evaluation.seed, run.evaluation.overlap.get(kind, ())) for run in group.runs]
    rows = (chance, *deaf, *_emphasise(columns, models))
    marks = "".join(cell.marks for one in rows for cell in one.cells if cell)
    return Table(TITLES[kind], columns, rows, notes.overlap_notes(group, kind, tied=TIED in marks))


def _training_row(run: Run, subset: bool) -> Row:
    training, losses = run.evaluation.training, run.evaluation.losses
    counts = (
        training.parameters,
        *([training.n_train_tracks] if subset else []),
        training.epochs,
        training.best_epoch,
    )
    minutes, seconds = divmod(round(training.seconds), 60)
    cells = (
        *(Cell(f"{count:,}", count) for count in counts),
        *_loss_cells(losses.validation, losses.test),
        Cell(f"{minutes}:{seconds:02d}", training.seconds),
    )
    return Row(run.label, run.evaluation.seed, cells)


def _loss_cells(validation: RegressionLosses, test: RegressionLosses) -> tuple[Cell | None, ...]:
    errors = (Cell(_format_loss(value, least=1e-3), value) for value in (validation.mse, test.mse))
    r2 = None if test.r2 is None else Cell(_format_loss(test.r2), test.r2)
    return (*errors, r2, Cell(_format_loss(test.cosine_distance), test.cosine_distance))


def _overlap_cell(measured: OverlapAtK | None, decimals: int) -> Cell | None:
    if measured is None or measured.overlap is None or measured.low is None or measured.high is None:
        return None
    significant = measured.p_value is not None and measured.p_value < SIGNIFICANT_P
    return Cell(
        text=f"{100 * measured.overlap:.{decimals}f}",
        value=measured.overlap,
        marks=(SIGNIFICANT if significant else "") + (TIED if measured.flagged else ""),
        detail=f"[{100 * measured.low:.{decimals}f}, {100 * measured.high:.{decimals}f}]",
        low=measured.low,
        high=measured.high,
        p=measured.p_value,
    )


def _chance_cell(measured: OverlapAtK | None, decimals: int) -> Cell | None:
    if measured is None or measured.chance is None or measured.chance_sd is None:
        return None
    text, spread = f"{100 * measured.chance:.{decimals}f}", f"± {100 * measured.chance_sd:.{decimals}f}"
    return Cell(text, measured.chance, detail=spread, sd=measured.chance_sd)


def _decimals(measured: OverlapAtK | None) -> int:
    """Return the decimals of a percentage that show chance with two digits: overlaps may be as small."""
    if measured is None or not measured.chance:
        return 1
    return max(1, 1 - math.floor(math.log10(100 * measured.chance)))


def _format_loss(value: float, least: float = 0.0) -> str:
    """Return four decimals, or an exponent for large values and for those between 0 and `least`."""
    return f"{value:.3e}" if abs(value) >= 1e4 or 0 < abs(value) < least else f"{value:z.4f}"


def _format_p(value: float) -> str:
    return f"{value:.3f}" if value >= 1e-3 else f"{value:.0e}"


def _emphasise(columns: Sequence[Column], rows: Sequence[Row]) -> list[Row]:
    """Return the models' rows below a rule, strong where best: not by tied lists, nor where chance does as well."""
    cells = [list(row.cells) for row in rows]
    for i, column in enumerate(columns):
        fair = [row[i] for row in cells if _contends(row[i])]
        if column.best and len(rows) > 1 and fair:
            best = column.best(cell.value for cell in fair if cell)
            for row in cells:
                cell = row[i]
                if cell and _contends(cell) and cell.value == best:
                    row[i] = replace(cell, strong=True)
    return [
        replace(row, cells=tuple(own), rule_above=place == 0)
        for place, (row, own) in enumerate(zip(rows, cells, strict=True))
    ]


def _contends(cell: Cell | None) -> bool:
    return cell is not None and TIED not in cell.marks and (cell.p is None or cell.p < SIGNIFICANT_P)
