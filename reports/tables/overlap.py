"""The tables of how far lists agree with the reference's, as the thesis's tables 6.6 and 6.7, and with chance."""

import math
import statistics
from collections.abc import Sequence

from cs_keras.run_files.evaluation import OverlapAtK
from reports.runs.collect import Group, Run
from reports.runs.labels import family_of, name_predictor
from reports.tables import notes
from reports.tables import published as reported
from reports.tables.comparison import PairedComparisons, emphasise
from reports.tables.notes import Kind
from reports.tables.numbers import format_p
from reports.tables.table import SIGNIFICANT, SIGNIFICANT_P, TIED, Cell, Column, Row, Table, arrange

TITLES: dict[Kind, str] = {"similarity": "Overlap by similarity", "dot": "Overlap by dot product"}

Measured = dict[int, OverlapAtK]  # by list length


def overlap_table(group: Group, kind: Kind, contests: PairedComparisons) -> Table:
    """Return the overlap at each list length of chance, of predictors that hear nothing, and of each model.

    Models that are the best by `contests`, or not told from it, are strong.
    """
    first = group.first
    ks = tuple(dict.fromkeys(group.evaluation_config.ks))
    chance = _by_k(first.overlap[kind])
    decimals = {k: _decimals(chance.get(k)) for k in ks}
    columns = (
        *(Column(f"k = {k}", f"overlap@{k}") for k in ks),
        Column(f"p\n(k = {ks[0]})", f"p@{ks[0]}"),
    )
    others = [Row("chance", (), (*(_chance_cell(chance.get(k), decimals[k]) for k in ks), None))]
    for name, overlaps in first.references.items():
        if kind in overlaps:
            cells = _cells([_by_k(overlaps[kind])], decimals)
            others.append(Row(name_predictor(name), (first.seed,), cells))
    models = []
    for run in group.runs:
        row = Row(run.label, run.seeds, _cells(_measured(run, kind), decimals), family_of(run.model))
        models.append(emphasise(row, [f"{kind}@{k}" for k in ks], contests))
    rows = (*others, *arrange(columns, models))
    tied = any(TIED in cell.marks for row in rows for cell in row.cells if cell)
    table = Table(TITLES[kind], columns, rows, notes.overlap_notes(group, kind, tied))
    theirs = [
        reported.chance_cells(kind, ks),
        *((),) * (len(others) - 1),
        *(reported.overlap_cells(run.model, kind, ks) for run in group.runs),
    ]
    return reported.beside(table, reported.overlap_columns(ks), theirs, reported.overlap_note(kind))


def _by_k(overlaps: Sequence[OverlapAtK]) -> Measured:
    return {measured.k: measured for measured in overlaps}


def _measured(run: Run, kind: Kind) -> list[Measured]:
    return [_by_k(evaluation.overlap.get(kind, ())) for evaluation in run.evaluations]


def _cells(seeds: Sequence[Measured], decimals: dict[int, int]) -> tuple[Cell | None, ...]:
    """Return the overlap at each list length and the p-value of the shortest list, of one or several seeds."""
    overlaps = [_overlap_cell([measured.get(k) for measured in seeds], decimals[k]) for k in decimals]
    p = _largest_p([measured.get(next(iter(decimals))) for measured in seeds])
    return (*overlaps, None if p is None else Cell(format_p(p), p))


def _overlap_cell(seeds: Sequence[OverlapAtK | None], decimals: int) -> Cell | None:
    """Return an overlap with its interval or, of several seeds, the mean with the spread over seeds."""
    shares = [one.overlap for one in seeds if one and one.overlap is not None]
    if not shares or len(shares) < len(seeds):
        return None
    p, (first, *more) = _largest_p(seeds), seeds
    marks = SIGNIFICANT if p is not None and p < SIGNIFICANT_P else ""
    marks += TIED if any(one.flagged for one in seeds if one) else ""
    mean = statistics.fmean(shares) if more else shares[0]
    text = f"{100 * mean:.{decimals}f}"
    if more:
        sd = statistics.stdev(shares)
        return Cell(text, mean, marks, f"± {100 * sd:.{decimals}f}", sd=sd, p=p)
    if first is None or first.low is None or first.high is None:
        return None
    interval = f"[{100 * first.low:.{decimals}f}, {100 * first.high:.{decimals}f}]"
    return Cell(text, mean, marks, interval, low=first.low, high=first.high, p=p)


def _largest_p(seeds: Sequence[OverlapAtK | None]) -> float | None:
    """Return the p-value that holds for every seed; None if one has none."""
    values = [one.p_value for one in seeds if one and one.p_value is not None]
    return max(values) if values and len(values) == len(seeds) else None


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
