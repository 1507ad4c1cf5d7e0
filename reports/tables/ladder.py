"""The gap ladder: where every predictor stands between chance, the ceiling and the reference."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.ladder import Verdict, build_ladder, decide_verdict
from cs_keras.evaluation.statistics.comparison import holm
from cs_keras.evaluation.statistics.resampling import Resampling
from cs_keras.run_files.evaluation import REFIT_CEILING, GapShare, OverlapAtK, Rung
from reports.runs.collect import Group
from reports.runs.labels import family_of, name_predictor
from reports.tables.comparison import query_values
from reports.tables.notes import UNKEPT, Kind, unsaved_labels
from reports.tables.numbers import format_share
from reports.tables.table import Cell, Column, Row, Table

MODEL, OTHER = (
    "model ",
    "other ",
)  # before a run's label and a predictor's name, so that none is taken for another
TITLES: dict[Kind, str] = {"similarity": "Gap ladder by similarity", "dot": "Gap ladder by dot product"}
WORDS = {
    Verdict.TIED: "row order",
    Verdict.CHANCE: "chance",
    Verdict.ABOVE_CHANCE: "above chance",
    Verdict.BELOW_CEILING: "below ceiling",
    Verdict.AT_CEILING: "at ceiling",
    Verdict.ABOVE_CEILING: "above ceiling",
}

Values = npt.NDArray[np.float64]
Rungs = dict[str, Rung]


def ladder_table(group: Group, kind: Kind) -> Table | None:
    """Return all predictors from the lowest overlap at the first list length to the highest.

    None where no run was kept query by query, or no list length has more candidates than it takes.
    """
    chances = {row.k: row.chance for row in group.first.overlap[kind] if row.chance and row.chance < 1}
    ladders = {k: _rungs(group, kind, k, chance) for k, chance in chances.items()}
    k = next(iter(chances), 0)
    if not ladders.get(k):
        return None
    shown = list(ladders) if any(rung.to_ceiling for rung in ladders[k].values()) else []
    verdicts = _verdicts(group, kind, k, ladders[k])
    places = [
        (
            rung.value,
            _row(group, name, _cells([ladders[one].get(name) for one in shown], rung, verdicts[name])),
        )
        for name, rung in ladders[k].items()
    ]
    places += [(chances[k], _end("chance", chances[k], 0, shown)), (1, _end("reference", 1, 1, shown))]
    rows = tuple(row for _, row in sorted(places, key=lambda place: place[0]))
    return Table(TITLES[kind], _columns(k, shown), rows, ladder_notes(group, bool(shown)))


def _rungs(group: Group, kind: Kind, k: int, chance: float) -> Rungs:
    """Return each predictor's rung at one list length; none where no run has values query by query."""
    measure = f"{kind}@{k}"
    models = {f"{MODEL}{label}": values for label, values in query_values(group, measure).items()}
    if not models or group.queries is None:
        return {}
    kept = group.queries.values[measure]
    others: Mapping[str, Values] = {name: kept[name] for name in group.first.references if name in kept}
    values = {**{f"{OTHER}{name}": own for name, own in others.items()}, **models}
    rungs = build_ladder(
        values, chance, others.get(REFIT_CEILING), Resampling(group.evaluation_config.n_bootstrap)
    )
    return {rung.name: rung for rung in rungs}


def _verdicts(group: Group, kind: Kind, k: int, rungs: Rungs) -> dict[str, Verdict]:
    """Return what may be said of each predictor, the p-values of the models corrected for their number."""
    measured = {
        **{f"{OTHER}{name}": [overlaps.get(kind, ())] for name, overlaps in group.first.references.items()},
        **{
            f"{MODEL}{run.label}": [own.overlap.get(kind, ()) for own in run.evaluations]
            for run in group.runs
        },
    }
    rows = {name: [_at(k, overlaps) for overlaps in measured[name]] for name in rungs}
    p_values = {name: max(row.p_value or 0.0 for row in own) for name, own in rows.items()}
    models = [name for name in rungs if name.startswith(MODEL)]
    corrected = holm([p_values[name] for name in models])
    p_values |= dict(zip(models, corrected.tolist(), strict=True))
    return {
        name: decide_verdict(p_values[name], rung.to_ceiling, flagged=any(row.flagged for row in rows[name]))
        for name, rung in rungs.items()
    }


def _at(k: int, overlaps: Sequence[OverlapAtK]) -> OverlapAtK:
    return next(row for row in overlaps if row.k == k)


def _columns(k: int, shown: Sequence[int]) -> tuple[Column, ...]:
    """Return the columns; the share of the gap to the ceiling at each length `shown`."""
    return (
        Column(f"overlap\nk = {k}", f"overlap@{k}"),
        *(Column(f"gap to\nceiling\nk = {one}", f"gap_to_ceiling@{one}") for one in shown),
        Column(f"gap to\nref.\nk = {k}", f"gap_to_reference@{k}"),
        Column("verdict", "verdict"),
    )


def _row(group: Group, name: str, cells: tuple[Cell | None, ...]) -> Row:
    if name.startswith(OTHER):
        return Row(name_predictor(name.removeprefix(OTHER)), (group.first.seed,), cells)
    run = next(run for run in group.runs if f"{MODEL}{run.label}" == name)
    return Row(run.label, run.seeds, cells, family_of(run.model))


def _cells(shown: Sequence[Rung | None], rung: Rung, verdict: Verdict) -> tuple[Cell | None, ...]:
    interval = f"[{format_share(rung.low)}, {format_share(rung.high)}]"
    return (
        Cell(format_share(rung.value), rung.value, detail=interval, low=rung.low, high=rung.high),
        *(_gap_cell(one.to_ceiling if one else None, detailed=i == 0) for i, one in enumerate(shown)),
        _gap_cell(rung.to_reference, detailed=False),
        Cell(WORDS[verdict], None, remark=verdict.value),
    )


def _gap_cell(gap: GapShare | None, *, detailed: bool) -> Cell | None:
    if gap is None:
        return None
    detailed = detailed and gap.low < gap.high  # the ceiling's own share is no estimate
    interval = f"[{format_share(gap.low)}, {format_share(gap.high)}]" if detailed else ""
    return Cell(format_share(gap.share), gap.share, detail=interval, low=gap.low, high=gap.high)


def _end(name: str, overlap: float, share: float, shown: Sequence[int]) -> Row:
    """Return the row of chance, or of the reference, which lies beyond the ceiling."""
    to_ceiling = Cell(format_share(0), 0.0) if share == 0 else None
    gaps = (*(to_ceiling for _ in shown), Cell(format_share(share), share))
    return Row(name, (), (Cell(format_share(overlap), overlap), *gaps, None))


def ladder_notes(group: Group, has_ceiling: bool) -> tuple[str, ...]:
    """Return what the shares are of."""
    notes = [
        "Share of the gap closed, in %: (overlap − chance) / (top − chance); the top is the ceiling, what a second "
        "fit of the same listening reaches, or the reference itself (ref.). In brackets: 95% bootstrap interval "
        f"over queries and seeds ({group.evaluation_config.n_bootstrap:,} resamples), of the whole ratio.",
        "Verdict, at the first list length: chance: not told from it (permutation test, p > 0.05, models corrected "
        "by Holm's method); below, at or above ceiling: all of the interval below 100, around it, or above it: "
        "look for a leak then; row order: the lists are tied, and nothing else counts.",
    ]
    if not has_ceiling:
        notes.append(
            "No ceiling: these factors have no second fit, or it is not clearly above chance; `cs-keras factors` "
            "makes one."
        )
    unkept = unsaved_labels(group)
    if unkept:
        notes.append(f"Not here, for {UNKEPT}: {unkept}.")
    return tuple(notes)
