"""The table of lists by scores that reduce hubness, beside those by cosine."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cs_keras.run_files.evaluation import MODEL, REFERENCE, Evaluation, HubnessRecord, MeanRecord
from reports.runs.collect import Group
from reports.tables.cells.notes import sample_note
from reports.tables.cells.numbers import bare_cell, format_share, share_cell
from reports.tables.cells.rows import predictor_rows
from reports.tables.cells.table import SIGNIFICANT, Cell, Column, Table

COSINE = "cosine"
SCORES = {COSINE: "cosine", "csls": "CSLS", "mutual-proximity": "mutual proximity"}
PARTS = {
    "overlap": "overlap",
    "gain": "gain",
    "hubness": "hubness",
    "never_reached": "never\nreached",
}

Values = Mapping[str, MeanRecord | float | None]  # by score and part


def hubness_table(group: Group) -> Table | None:
    """Return overlap, hubness and never reached tracks of lists of the first length, by score; None without any."""
    record = next((one for run in group.runs for one in (run.evaluations[0].hubness,) if one), None)
    if record is None:
        return None
    keys = [
        (score, part)
        for score in (COSINE, *record.scores)
        for part in PARTS
        if part != ("gain" if score == COSINE else "overlap")
    ]
    columns = tuple(Column(PARTS[part], f"{score}_{part}", group=SCORES[score]) for score, part in keys)
    rows = predictor_rows(
        group,
        columns,
        {REFERENCE: _exposure(group.first, REFERENCE)},
        lambda one: _values(one, one.hubness) if one.hubness else None,
        lambda seeds: tuple(
            _cell([own.get(f"{score}_{part}") for own in seeds], part) for score, part in keys
        ),
    )
    is_filtered = " without the query's own artist," if record.kind == "filtered" else ""
    notes = (
        f"Lists of each test track's {record.k} nearest,{is_filtered} by predicted factors: by cosine; by CSLS "
        "(Conneau et al. 2018), the cosine less half the mean cosine of a track with its 10 nearest; and by mutual "
        "proximity (Schnitzer et al. 2012, independent normal distributions). The reference's lists are by cosine.",
        f"Overlap in %. Gain: percentage points above the overlap by cosine; {SIGNIFICANT}: its 95% interval for "
        "other artists, in tables.csv, is without 0. Hubness and never reached: as under beyond accuracy.",
        "Without a row: models whose similarity is not the cosine of predicted factors.",
        *sample_note(group, "similarity"),
    )
    return Table(f"Lists with less hubness, k = {record.k}", columns, rows, notes)


def _values(evaluation: Evaluation, record: HubnessRecord) -> Values:
    (overlap,) = (one for one in evaluation.overlap[record.kind] if one.k == record.k)
    assert overlap.overlap is not None  # as its lists by other scores have one
    values: dict[str, MeanRecord | float | None] = {
        **_exposure(evaluation, MODEL),
        f"{COSINE}_overlap": MeanRecord(overlap.overlap, overlap.low, overlap.high),
    }
    for score, own in record.scores.items():
        values |= {f"{score}_{part}": getattr(own, part) for part in PARTS}
    return values


def _exposure(evaluation: Evaluation, predictor: str) -> Values:
    beyond = evaluation.beyond_accuracy
    own = beyond.predictors.get(predictor, {}) if beyond else {}
    return {f"{COSINE}_{part}": own.get(part) for part in ("hubness", "never_reached")}


def _cell(seeds: Sequence[MeanRecord | float | None], part: str) -> Cell | None:
    if part in ("hubness", "never_reached"):
        numbers = [one if isinstance(one, float) else None for one in seeds]
        return bare_cell(numbers, "{:z.2f}".format if part == "hubness" else format_share)
    cell = share_cell([one if isinstance(one, MeanRecord) else None for one in seeds])
    if part == "gain" and cell and cell.low is not None and cell.high is not None:
        return replace(cell, marks=SIGNIFICANT if cell.low > 0 or cell.high < 0 else "")
    return cell
