"""The table of overlap in lists that hold new and known tracks."""

from collections.abc import Mapping, Sequence

from cs_keras.run_files.evaluation import MODEL, AmongAllAtK
from reports.runs.collect import Group
from reports.tables.cells.notes import SEEDS, has_several_seeds
from reports.tables.cells.numbers import format_share, interval_cell, mean_cell
from reports.tables.cells.rows import predictor_rows
from reports.tables.cells.table import Cell, Column, Row, Table

KINDS = {"filtered": "by similarity, artist-filtered", "similarity": "by similarity", "dot": "by dot product"}
PARTS = {
    "overlap": "overlap",
    "new_in_predicted": "new tracks\nin list",
    "overlap_new": "of the\nnew",
    "overlap_known": "of the\nknown",
}

Rows = Mapping[str, tuple[AmongAllAtK, ...]]  # by kind of list


def among_all_table(group: Group) -> Table | None:
    """Return overlaps at the first list length; None where they were not requested."""
    record = group.first.among_all
    if record is None or not record.predictors.get(MODEL):
        return None
    first = {kind: rows[0] for kind, rows in record.predictors[MODEL].items() if rows}
    kinds = [kind for kind in KINDS if kind in first]
    columns = tuple(
        Column(PARTS[part], f"{kind}_{part}", group=KINDS[kind]) for kind in kinds for part in PARTS
    )
    chance = tuple(
        Cell(format_share(first[kind].chance), first[kind].chance) if part == "overlap" else None
        for kind in kinds
        for part in PARTS
    )
    rows = predictor_rows(
        group,
        columns,
        record.predictors,
        lambda one: one.among_all.predictors.get(MODEL) if one.among_all else None,
        lambda seeds: tuple(_cell(seeds, kind, part) for kind in kinds for part in PARTS),
    )
    lists = " and ".join(f"{first[kind].new_in_reference:.1%} {KINDS[kind]}" for kind in kinds)
    notes = (
        f"Overlap in %, k = {min(one.k for one in first.values())}, where the {record.n_known:,} train and "
        f"validation tracks compete with the {group.first.n_tracks.test:,} test tracks. New (test) tracks have "
        "predicted factors; known ones have their cross-fitted reference factors in both lists, so that even "
        "random factors of new tracks give some overlap: compare models with that row, not with chance.",
        "New tracks in list: their share of the predicted lists. The reference's lists hold "
        f"{lists}. Of the new, of the known: share of the reference lists' new (known) tracks that the predicted "
        "lists hold as well.",
        "In brackets: 95% interval over artists (by dot product, artists and playlists; jackknife, Student's t). "
        "There are no p-values; see those of the lists of test tracks.",
        *((f"{SEEDS}, in place of the interval.",) if has_several_seeds(group) else ()),
    )
    return Table("Overlap among new and known tracks", columns, (Row("chance", (), chance), *rows), notes)


def _cell(seeds: Sequence[Rows], kind: str, part: str) -> Cell | None:
    found = [own[kind][0] for own in seeds if own.get(kind)]
    if len(found) < len(seeds):
        return None
    if part == "overlap" and len(found) == 1:
        return interval_cell(found[0].overlap, found[0].low, found[0].high)
    return mean_cell([getattr(one, part) for one in found], format_share)
