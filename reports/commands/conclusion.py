"""What came out of runs: one table with a row for each predictor, and two sentences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cs_keras.messages import count
from cs_keras.run_files.evaluation import Kind
from reports.commands.best_model import LISTS, BestModel, best_models
from reports.runs.collect import Collected, Group
from reports.tables import ladder, overlap
from reports.tables.cells.notes import WARNING, has_several_seeds
from reports.tables.cells.numbers import format_p
from reports.tables.cells.table import PAIRED_P, SIGNIFICANT, Cell, Column, Row, Section, Table

MAX_NAMED = 4  # models in a sentence
FEW_TEST_TRACKS, FEW_TEST_ARTISTS = 200, 40  # with fewer, intervals are wider than most differences of models

Cells = Mapping[tuple[str, bool], Cell | None]  # by name of the row, and whether it is a model's


def conclude(collected: Collected, sections: Sequence[Section]) -> tuple[Section, ...]:
    """Return the conclusion of each section of a report: one table, made of cells of its tables, and sentences.

    Parameters
    ----------
    collected
        The runs.
    sections
        Their tables, as `reports.tables.all_tables.make_sections` returns them.

    Returns
    -------
    tuple of Section
        Notes are warnings, of too few data first, and failures.
    """
    return tuple(map(_conclude, collected.groups, sections))


def _conclude(group: Group, section: Section) -> Section:
    notes, n_test = tuple(_notes(group, section)), group.first.n_tracks.test
    best = next(iter(best_models(group)), None)
    if best is None:
        (training,) = (replace(table, notes=()) for table in section.tables if table.title == "Training")
        sentence = f"No overlap could be measured, or all lists are tied: {count(n_test, 'test track')}."
        return Section(section.heading, notes, (training,), (sentence,))
    table = _predictors_table(group, section.tables, best.kind, best.best.k)
    return Section(section.heading, notes, (table,), tuple(_sentences(best, table)))


def _notes(group: Group, section: Section) -> Iterator[str]:
    n_tracks, n_artists = group.first.n_tracks.test, group.first.n_test_artists
    if n_tracks < FEW_TEST_TRACKS or (n_artists is not None and n_artists < FEW_TEST_ARTISTS):
        artists = "" if n_artists is None else f" by {count(n_artists, 'artist')}"
        yield (
            f"Few data: {count(n_tracks, 'test track')}{artists}, so that intervals are wide and few differences "
            f"can be significant. Better: {FEW_TEST_TRACKS} by {FEW_TEST_ARTISTS} artists."
        )
    yield from (note for note in section.notes if note.startswith(WARNING))
    yield from (f"{failed.label} {failed.failure.outcome}." for failed in group.failed)


def _predictors_table(group: Group, tables: Sequence[Table], kind: Kind, k: int) -> Table:
    """Return overlap, gap closed, nDCG and significance of each predictor, the best models first."""
    (overlaps,) = (table for table in tables if table.title == overlap.TITLES[kind])
    measured = _column(tables, overlaps.title, f"overlap@{k}")
    gaps = _column(tables, ladder.TITLES.get(kind), f"gap_to_ceiling@{k}")
    ndcg = _column(tables, None, f"ndcg@{k}")
    differences = _column(tables, None, f"less_best_{kind}@{k}")
    columns = (
        Column(f"overlap\n@{k}", f"{kind}@{k}"),
        Column("± SD or\n95 % interval" if has_several_seeds(group) else "95 %\ninterval", "interval"),
        Column("p", "p", optional=True),
        Column("gap\nclosed", f"gap_to_ceiling@{k}", optional=True),
        Column("less\nbest", f"less_best_{kind}@{k}", optional=True),
        Column(f"nDCG\n@{k}", f"ndcg@{k}", optional=True),
    )
    rows = []
    for row in overlaps.rows:
        key = (row.name, bool(row.family))
        cell = measured[key]
        interval = cell and Cell(cell.detail, None, remark=cell.detail)
        p = None if cell is None or cell.p is None else Cell(format_p(cell.p), cell.p)
        bare = (one and replace(one, detail="") for one in (cell, gaps.get(key), differences.get(key)))
        overlap_cell, gap, difference = bare
        cells = (overlap_cell, interval, p, gap, difference, ndcg.get(key))
        rows.append(Row(row.name, row.seeds, cells, row.family))
    models = sorted((row for row in rows if row.family), key=_value, reverse=True)
    first, *others = (row for row in rows if not row.family)
    arranged = (*models, replace(first, rule_above=True), *others)
    paired = f" Less best: {SIGNIFICANT} p < {PAIRED_P}, corrected." if differences else ""
    notes = (f"In %. p: permutation test. Gap: from chance (0) to the refit ceiling (100).{paired}",)
    return Table(f"{overlap.TITLES[kind]}, k = {k}", columns, arranged, notes).without_empty_columns()


def _value(row: Row) -> float:
    return (row.cells[0] and row.cells[0].value) or 0.0


def _column(tables: Sequence[Table], title: str | None, key: str) -> Cells:
    """Return the cells of the first column with this key, in the table of that title if there is one."""
    for table in tables:
        for i, column in enumerate(table.columns):
            if column.key == key and title in (None, table.title):
                return {(row.name, bool(row.family)): row.cells[i] for row in table.rows}
    return {}


def _sentences(best: BestModel, table: Table) -> Iterator[str]:
    """Yield what the best model reaches, and how it compares with other models and predictors."""
    point, n = best.best, best.n_models
    name = f"{point.name}, the best of {n:,} models," if n > 1 else point.name
    tested = "not tested against chance"
    if best.p is not None:
        above = "beyond artist recognition" if best.kind == "filtered" else "above chance"
        corrected = f", corrected for {n:,} models" if n > 1 else ""
        negation = "" if best.is_significant else "not "
        tested = f"{negation}significantly {above} (p = {format_p(best.p)}{corrected})"
    yield (
        f"{name} finds {point.value:.1%} of {LISTS[best.kind]} (top {point.k}), "
        f"{point.value / point.chance:.1f} times chance: {tested}."
    )
    compared = [*_compare_models(point.name, table)]
    if best.gap_closed is not None:
        compared.insert(0, _describe_gap(best, best.gap_closed))
    if compared:
        yield f"It {' and '.join(compared).rstrip(',')}."
    if best.rival:
        how = "more" if best.rival.value > point.value else "about as many"
        yield f"Without audio, {best.rival.name} finds {how}: {best.rival.value:.1%}."


def _describe_gap(best: BestModel, closed: float) -> str:
    gap, sound = f"closes {closed:.0%} of the gap from chance to the refit ceiling", best.best_from_sound
    if sound is None or sound.low <= best.best.chance:  # a share of next to nothing means nothing
        return gap
    share = (best.best.value - best.best.chance) / (sound.value - best.best.chance)
    return f"{gap}, {share:.0%} of that to the best from sound,"


def _compare_models(best: str, table: Table) -> Iterator[str]:
    """Yield which models the best one is significantly better than, and which not."""
    differences = {
        row.name: cell
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
        if row.family and column.key.startswith("less_best_") and cell
    }
    if best not in differences or differences.pop(best).value is not None:
        return  # not compared, or with another model, as none is significantly above chance
    better = [name for name, cell in differences.items() if cell.p is not None and cell.p < PAIRED_P]
    alike = [name for name in differences if name not in better]
    if better:
        yield f"is significantly better than {_join(better)}{f', not than {_join(alike)}' if alike else ''}"
    elif alike:
        yield f"is not significantly better than {_join(alike)}"


def _join(names: Sequence[str]) -> str:
    """Return names as an enumeration; of many, the number."""
    if len(names) > MAX_NAMED:
        return f"{len(names)} models"
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
