"""The gap ladder: every predictor on the way from chance to the refit ceiling and the reference."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.ladder import Verdict, build_ladder, decide_verdict
from cs_keras.evaluation.statistics.comparison import holm
from cs_keras.run_files.evaluation import REFIT_CEILING, GapShare, Rung
from reports.runs.collect import Group
from reports.runs.labels import family_of, name_predictor
from reports.tables.comparison import query_values
from reports.tables.notes import UNPAIRED, Kind, unpaired_labels
from reports.tables.numbers import format_share, interval_cell
from reports.tables.table import Cell, Column, Row, Table

MODEL, OTHER = "model ", "other "  # prefixes of labels and predictors, which may have equal names
TITLES: dict[Kind, str] = {"similarity": "Gap ladder by similarity", "dot": "Gap ladder by dot product"}
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

Values = npt.NDArray[np.float64]
Rungs = dict[str, Rung]


def ladder_table(group: Group, kind: Kind) -> Table | None:
    """Return all predictors by increasing overlap at the first list length.

    None if no run has values per query, or no list length has more candidates than it needs.
    """
    chances = {row.k: row.chance for row in group.first.overlap[kind] if row.chance and row.chance < 1}
    ladders = {k: _rungs(group, kind, k, chance) for k, chance in chances.items()}
    k = next(iter(chances), 0)
    if not ladders.get(k):
        return None
    shown = list(ladders) if any(rung.to_ceiling for rung in ladders[k].values()) else []
    verdicts = _verdicts(group, kind, k, ladders[k])
    columns = (
        Column(f"overlap\nk = {k}", f"overlap@{k}"),
        *(Column(f"gap to\nceiling\nk = {one}", f"gap_to_ceiling@{one}") for one in shown),
        Column(f"gap to\nref.\nk = {k}", f"gap_to_reference@{k}"),
        Column("verdict", "verdict"),
    )
    rows = [
        (
            rung.value,
            _row(group, name, _cells([ladders[one].get(name) for one in shown], rung, verdicts[name])),
        )
        for name, rung in ladders[k].items()
    ]
    rows += [(chances[k], _end_row("chance", chances[k], 0, shown)), (1, _end_row("reference", 1, 1, shown))]
    ordered = tuple(row for _, row in sorted(rows, key=lambda one: one[0]))
    return Table(TITLES[kind], columns, ordered, tuple(_notes(group, bool(shown))))


def _rungs(group: Group, kind: Kind, k: int, chance: float) -> Rungs:
    """Return each predictor's rung at one list length; empty if no run has values per query."""
    measure = f"{kind}@{k}"
    models = {f"{MODEL}{label}": values for label, values in query_values(group, measure).items()}
    if not models or group.queries is None:
        return {}
    saved = group.queries.values[measure]
    others: Mapping[str, Values] = {name: saved[name] for name in group.first.references if name in saved}
    values = {**{f"{OTHER}{name}": own for name, own in others.items()}, **models}
    rungs = build_ladder(values, chance, others.get(REFIT_CEILING))
    return {rung.name: rung for rung in rungs}


def _verdicts(group: Group, kind: Kind, k: int, rungs: Rungs) -> dict[str, Verdict]:
    """Return the verdict on each predictor, with p-values of models corrected for their number."""
    overlaps = {f"{OTHER}{name}": [own.get(kind, ())] for name, own in group.first.references.items()}
    overlaps |= {
        f"{MODEL}{run.label}": [own.overlap.get(kind, ()) for own in run.evaluations] for run in group.runs
    }
    rows = {name: [row for seed in overlaps[name] for row in seed if row.k == k] for name in rungs}
    p_values = {
        name: max(1.0 if row.p_value is None else row.p_value for row in own) for name, own in rows.items()
    }
    models = [name for name in rungs if name.startswith(MODEL)]
    corrected = holm([p_values[name] for name in models])
    p_values |= dict(zip(models, corrected.tolist(), strict=True))
    return {
        name: decide_verdict(p_values[name], rung.to_ceiling, flagged=any(row.flagged for row in rows[name]))
        for name, rung in rungs.items()
    }


def _row(group: Group, name: str, cells: tuple[Cell | None, ...]) -> Row:
    if name.startswith(OTHER):
        return Row(name_predictor(name.removeprefix(OTHER)), (group.first.seed,), cells)
    run = next(run for run in group.runs if f"{MODEL}{run.label}" == name)
    return Row(run.label, run.seeds, cells, family_of(run.model))


def _cells(shown: Sequence[Rung | None], rung: Rung, verdict: Verdict) -> tuple[Cell | None, ...]:
    return (
        interval_cell(rung.value, rung.low, rung.high),
        *(_gap_cell(one.to_ceiling if one else None, detailed=i == 0) for i, one in enumerate(shown)),
        _gap_cell(rung.to_reference, detailed=False),
        Cell(WORDS[verdict], None, remark=verdict.value),
    )


def _gap_cell(gap: GapShare | None, *, detailed: bool) -> Cell | None:
    if gap is None:
        return None
    if detailed and gap.low < gap.high:  # equal for the ceiling itself, whose share is not an estimate
        return interval_cell(gap.share, gap.low, gap.high)
    return Cell(format_share(gap.share), gap.share, low=gap.low, high=gap.high)


def _end_row(name: str, overlap: float, share: float, shown: Sequence[int]) -> Row:
    """Return the row of chance, or of the reference, which is beyond the ceiling."""
    to_ceiling = Cell(format_share(0), 0.0) if share == 0 else None
    gaps = (*(to_ceiling for _ in shown), Cell(format_share(share), share))
    return Row(name, (), (Cell(format_share(overlap), overlap), *gaps, None))


def _notes(group: Group, has_ceiling: bool) -> Iterator[str]:
    yield (
        "Share of the gap closed, in %: (overlap − chance) / (top − chance), where top is the refit ceiling "
        "(the same interactions factorised with another seed) or the reference itself (ref.). In brackets: 95% "
        "interval of the ratio over queries and seeds."
    )
    yield (
        "Verdict, at the first list length: chance: not significantly above chance (permutation test, p > 0.05, "
        "models corrected by Holm's method); below, at or above ceiling: the whole interval is below 100, includes "
        "100, or is above it (check for leakage); tied lists: results depend on the order of ties."
    )
    if not has_ceiling:
        yield (
            "No ceiling: these factors have no refit, or it is not clearly above chance; `cs-keras factors` "
            "makes one."
        )
    unpaired = unpaired_labels(group)
    if unpaired:
        yield f"Not shown, {UNPAIRED}: {unpaired}."
