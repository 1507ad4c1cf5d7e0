"""The tables of sound beside a little listening: a row for each predictor, a column for each number of listens."""

from collections.abc import Iterator

from cs_keras.evaluation.hybrid import DOT, KINDS, LISTENING, PREDICTORS, SIMILARITY, SOUND, HybridResults
from cs_keras.run_files.evaluation import OverlapAtK
from reports.tables.numbers import format_share
from reports.tables.table import SIGNIFICANT, SIGNIFICANT_P, TIED, Cell, Column, Row, Section, Table

TITLES = {SIMILARITY: "Overlap by similarity", DOT: "Overlap by dot product"}


def make_hybrids_section(hybrids: HybridResults) -> Section:
    """Return both overlaps by number of listens."""
    return Section(
        "Sound and a little listening",
        tuple(_notes(hybrids)),
        tuple(_table(hybrids, kind) for kind in KINDS),
    )


def _table(hybrids: HybridResults, kind: str) -> Table:
    found = hybrids.overlap[kind]
    listens = list(found[SOUND])
    columns = tuple(
        Column(f"{n} listens" if n != 1 else "1 listen", f"overlap@{hybrids.k}/{n}") for n in listens
    )
    chance = next(iter(found[SOUND].values()))
    yardstick = Row("chance", (), tuple(_chance_cell(chance) for _ in listens))
    models = [
        Row(name, (), tuple(_cell(found[name].get(n)) for n in listens), rule_above=name == SOUND)
        for name in PREDICTORS
    ]
    title = f"{TITLES[kind]}, k = {hybrids.k}"
    return Table(title, columns, (yardstick, *models), tuple(_table_notes(kind, chance)), stub="by")


def _chance_cell(row: OverlapAtK) -> Cell | None:
    if row.chance is None:
        return None
    return Cell(format_share(row.chance), row.chance, sd=row.chance_sd)


def _cell(row: OverlapAtK | None) -> Cell | None:
    """Return an overlap with its interval; None where there is no listening to rank by, or are too few tracks."""
    if row is None or row.overlap is None or row.low is None or row.high is None or row.chance is None:
        return None
    marks = ""
    if row.flagged:
        marks = TIED
    elif row.p_value is not None and row.p_value < SIGNIFICANT_P and row.overlap > row.chance:
        marks = SIGNIFICANT
    detail = f"[{format_share(row.low)}, {format_share(row.high)}]"
    return Cell(
        format_share(row.overlap), row.overlap, marks, detail, low=row.low, high=row.high, p=row.p_value
    )


def _notes(hybrids: HybridResults) -> Iterator[str]:
    yield (
        f"{hybrids.n_test:,} of {hybrids.n_test_in_all:,} test tracks, those with enough listening: the playlists "
        "of each that are never given fold it in, and that is the reference; given ones are others."
    )
    yield (
        f"Sound: the run's predictions. {LISTENING.capitalize()}: fold-in of the given playlists alone. Switching: "
        + (
            "listening never was the better on validation tracks, so it stays with sound."
            if hybrids.threshold is None
            else f"listening from {hybrids.threshold} on, else sound."
        )
    )
    yield (
        "Weighting: both directions, listening weighing n / (n + h) after n listens; "
        f"h = {hybrids.half_trust:g}. Both were chosen on {hybrids.n_validation:,} validation tracks."
    )


def _table_notes(kind: str, row: OverlapAtK) -> Iterator[str]:
    asking = "tracks" if kind == SIMILARITY else "playlists"
    yield (
        f"Percent of lists of {row.k} shared with the reference's, mean of {row.n_queries:,} {asking} among "
        f"{row.n_candidates:,} tracks; 95 % bootstrap intervals."
    )
    yield (
        f"{SIGNIFICANT}: above chance, p < {SIGNIFICANT_P} by permutation. {TIED}: more than 1 % of lists hang on "
        "ties."
    )
