"""The gap ladder: all predictors by overlap, as shares of the gaps from chance to the ceiling and the reference."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cs_keras.evaluation.ladder import Verdict, build_ladder, decide_verdict
from cs_keras.evaluation.statistics.comparison import holm
from cs_keras.run_files.evaluation import (
    BEST_FROM_SOUND,
    REFIT_CEILING,
    SINGLE_RANKING,
    GapShare,
    Kind,
    OverlapAtK,
    Rung,
)
from reports.runs.collect import Group
from reports.runs.labels import family_of, name_predictor
from reports.tables.cells.comparison import query_values, stored_values
from reports.tables.cells.notes import UNPAIRED, unpaired_labels
from reports.tables.cells.numbers import format_share, interval_cell
from reports.tables.cells.table import Cell, Column, Row, Table

MODEL, OTHER = "model ", "other "  # prefixes of labels and predictors, which may have equal names
TITLES: dict[Kind, str] = {
    "filtered": "Gap ladder by similarity, artist-filtered",
    "similarity": "Gap ladder by similarity",
    "dot": "Gap ladder by dot product",
}
COMPARED: dict[Kind, tuple[Kind, str]] = {  # shown in a column beside the leading lists
    "filtered": ("similarity", "unfiltered"),
    "dot": ("dot_per_artist", "one per\nartist"),
}
WORDS = {
    Verdict.TIED: "tied lists",
    Verdict.TOO_FEW_PERMUTATIONS: "too few permutations",
    Verdict.CHANCE: "chance",
    Verdict.ARTISTS_ONLY: "artists only",
    Verdict.ABOVE_CHANCE: "above chance",
    Verdict.BELOW_CEILING: "below ceiling",
    Verdict.AT_CEILING: "at ceiling",
    Verdict.ABOVE_CEILING: "above ceiling",
}

Rungs = dict[str, Rung]


def ladder_table(group: Group, kind: Kind) -> Table | None:
    """Return all predictors by increasing overlap at the first list length, with verdicts.

    None if no run has values per query, or no list length has more candidates than it needs.
    """
    first = next((row for row in group.first.overlap[kind] if row.chance and row.chance < 1), None)
    rungs = _rungs(group, kind, first.k, first.chance) if first and first.chance else {}
    if not first or not first.chance or not rungs:
        return None
    k, chance = first.k, first.chance
    verdicts = _verdicts(group, kind, k, rungs)
    other, header = COMPARED.get(kind, (kind, ""))
    compared = _mean_overlaps(group, other, k) if header else {}
    columns = (
        Column(f"overlap\nk = {k}", f"overlap@{k}"),
        Column(f"{header}\nk = {k}", f"{other}@{k}", optional=True),
        Column("gap to\nceiling", f"gap_to_ceiling@{k}", optional=True),
        Column("gap to\nbest from\nsound", f"gap_to_best_from_sound@{k}", optional=True),
        Column("gap to\nref.", f"gap_to_reference@{k}"),
        Column("verdict", "verdict"),
    )
    rows = [
        (rung.value, _row(group, name, _cells(rung, compared.get(name), verdicts.get(name))))
        for name, rung in rungs.items()
    ]
    has_ceiling = any(rung.to_ceiling for rung in rungs.values())
    by_other = next((row.chance for row in group.first.overlap.get(other, ()) if row.k == k and header), None)
    rows += [
        (chance, _end_row("chance", chance, by_other, 0, has_ceiling)),
        (1, _end_row("reference", 1, 1 if compared else None, 1, has_ceiling)),
    ]
    ordered = tuple(row for _, row in sorted(rows, key=lambda one: one[0]))
    return Table(TITLES[kind], columns, ordered, tuple(_notes(group, has_ceiling)))


def _rungs(group: Group, kind: Kind, k: int, chance: float) -> Rungs:
    """Return each predictor's rung at one list length; empty if no run has values per query."""
    measure = f"{kind}@{k}"
    models = {f"{MODEL}{label}": values for label, values in query_values(group, measure).items()}
    if not models or group.queries is None:
        return {}
    others = {
        name: values
        for name in group.first.references
        if name != SINGLE_RANKING and (values := stored_values(group.queries, measure, name)) is not None
    }
    rungs = build_ladder(
        {**{f"{OTHER}{name}": own for name, own in others.items()}, **models},
        chance,
        others.get(REFIT_CEILING),
        best_from_sound=others.get(BEST_FROM_SOUND),
    )
    return {rung.name: rung for rung in rungs}


def _verdicts(group: Group, kind: Kind, k: int, rungs: Rungs) -> dict[str, Verdict]:
    """Return the verdict on each predictor, with p-values of models corrected for their number."""
    rows = {name: own for name, own in _rows_at(group, kind, k).items() if name in rungs}
    models = [name for name in rungs if name.startswith(MODEL)]
    tested = _rows_at(group, "similarity", k) if kind == "filtered" else rows  # for any information
    p_values = {
        name: max(row.p_value for row in own if row.p_value is not None)
        for name, own in tested.items()
        if own and all(row.p_value is not None for row in own)
    }
    p_values = _correct(p_values, models)
    beyond = {
        name: max(row.p_beyond_artist for row in own if row.p_beyond_artist is not None)
        for name, own in rows.items()
        if all(row.p_beyond_artist is not None for row in own)
    }
    beyond = _correct(beyond, models)
    least = 1 / (1 + group.evaluation_config.n_permutations)
    verdicts = {}
    for name, rung in rungs.items():
        if name not in p_values:  # not tested
            continue
        n_compared = len(models) if name in models else 1
        least_beyond = max(least, *(1 / (row.n_arrangements or np.inf) for row in rows[name]))
        verdicts[name] = decide_verdict(
            p_values[name],
            rung.to_ceiling,
            p_beyond_artist=beyond.get(name),
            least_p_values=(n_compared * least, n_compared * least_beyond),
            flagged=any(row.flagged for row in rows[name]),
        )
    return verdicts


def _correct(p_values: Mapping[str, float], models: Sequence[str]) -> dict[str, float]:
    """Return p-values, those of models corrected for their number by Holm's method."""
    tested = [name for name in models if name in p_values]
    corrected = holm([p_values[name] for name in tested]).tolist() if tested else []
    return {**p_values, **dict(zip(tested, corrected, strict=True))}


def _rows_at(group: Group, kind: Kind, k: int) -> dict[str, list[OverlapAtK]]:
    """Return the overlaps of each predictor at one list length, one for each seed."""
    overlaps = {f"{OTHER}{name}": [own.get(kind, ())] for name, own in group.first.references.items()}
    overlaps |= {
        f"{MODEL}{run.label}": [own.overlap.get(kind, ()) for own in run.evaluations] for run in group.runs
    }
    return {name: [row for seed in own for row in seed if row.k == k] for name, own in overlaps.items()}


def _mean_overlaps(group: Group, kind: Kind, k: int) -> dict[str, float]:
    """Return the mean overlap over seeds of the predictors that have one at a list length."""
    found = {
        name: [row.overlap for row in rows if row.overlap is not None]
        for name, rows in _rows_at(group, kind, k).items()
    }
    return {name: statistics.fmean(values) for name, values in found.items() if values}


def _row(group: Group, name: str, cells: tuple[Cell | None, ...]) -> Row:
    if name.startswith(OTHER):
        return Row(name_predictor(name.removeprefix(OTHER)), (group.first.seed,), cells)
    run = next(run for run in group.runs if f"{MODEL}{run.label}" == name)
    return Row(run.label, run.seeds, cells, family_of(run.model))


def _cells(rung: Rung, compared: float | None, verdict: Verdict | None) -> tuple[Cell | None, ...]:
    return (
        interval_cell(rung.value, rung.low, rung.high),
        None if compared is None else Cell(format_share(compared), compared),
        _gap_cell(rung.to_ceiling, detailed=True),
        _gap_cell(rung.to_best_from_sound, detailed=False),
        _gap_cell(rung.to_reference, detailed=False),
        None if verdict is None else Cell(WORDS[verdict], None, remark=verdict.value),
    )


def _gap_cell(gap: GapShare | None, *, detailed: bool) -> Cell | None:
    if gap is None:
        return None
    if detailed and gap.low < gap.high:  # equal for the ceiling itself, whose share is not an estimate
        return interval_cell(gap.share, gap.low, gap.high)
    return Cell(format_share(gap.share), gap.share, low=gap.low, high=gap.high)


def _end_row(name: str, overlap: float, compared: float | None, share: float, has_ceiling: bool) -> Row:
    """Return the row of chance, or of the reference, which is beyond the ceiling."""
    other = None if compared is None else Cell(format_share(compared), compared)
    to_ceiling = Cell(format_share(0), 0.0) if has_ceiling and share == 0 else None
    own = Cell(format_share(overlap), overlap)
    return Row(name, (), (own, other, to_ceiling, None, Cell(format_share(share), share), None))


def _notes(group: Group, has_ceiling: bool) -> Iterator[str]:
    yield (
        "Share of the gap closed, in %: (overlap − chance) / (top − chance), where top is the refit ceiling "
        "(the same interactions factorised with another seed) or the reference itself (ref.). In brackets: 95% "
        "interval of the ratio. Best from sound: regression on the true style of the generated audio (demo data "
        "only)."
    )
    yield (
        "Verdict, at the first list length, with p-values of models corrected by Holm's method. Chance: not "
        "significantly above chance. Artists only: not significant beyond artist recognition. Too few "
        "permutations: p < 0.05 was impossible. Below, at or above ceiling: the interval of the gap to the ceiling "
        "ends below 100, includes 100, or begins above it (check for leakage). Tied lists: the overlap depends on "
        "the order of ties."
    )
    if not has_ceiling:
        yield (
            "No ceiling: these factors have no refit, or its overlap is not significantly above chance; `cs-keras "
            "factors` makes one."
        )
    unpaired = unpaired_labels(group)
    if unpaired:
        yield f"Not shown, {UNPAIRED}: {unpaired}."
