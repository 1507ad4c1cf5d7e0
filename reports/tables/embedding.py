"""The table of triplet embeddings: the other half of the thesis's table 6.5, with the line of collapse."""

from collections.abc import Mapping, Sequence
from typing import Any

from cs_keras.run_files.training import EmbeddingTraining
from reports.runs.collect import Group, Run
from reports.runs.labels import family_of
from reports.tables import notes
from reports.tables import published as reported
from reports.tables.numbers import format_loss, mean_cell
from reports.tables.table import Cell, Column, Row, Table, arrange

COLUMNS = (
    Column("loss\ntrain", "embedding_loss"),
    Column("loss\nval", "embedding_loss_validation"),
    Column("active\ntriplets", "active_share"),
    Column("spread", "embedding_spread"),
)


def has_embeddings(group: Group) -> bool:
    """Tell whether any run of a group trained an embedding."""
    return any(_records(run) for run in group.runs)


def embedding_table(group: Group) -> Table:
    """Return how each embedding began and how it ended, below what a collapsed one scores."""
    runs = [(run, records) for run in group.runs if (records := _records(run))]
    margins = sorted({record.margin for _, records in runs for record in records})
    collapsed = [_collapsed(margin) for margin in margins]
    models: list[Row] = []
    theirs: list[Sequence[Cell | None]] = []
    for run, records in runs:
        last = min(len(record.history) for record in records)
        for number in sorted({1, last}):
            cells = _cells([record.history[number - 1] for record in records])
            models.append(Row(f"{run.label}, epoch {number}", run.seeds, cells, family_of(run.model)))
            theirs.append(reported.embedding_cells(run.model) if number == last else ())
    table = Table("Embedding", COLUMNS, (*collapsed, *arrange(COLUMNS, models)), notes.embedding_notes())
    above: list[Sequence[Cell | None]] = [() for _ in collapsed]
    return reported.beside(table, reported.EMBEDDING_COLUMNS, [*above, *theirs], reported.EMBEDDING_NOTE)


def _records(run: Run) -> list[EmbeddingTraining]:
    """Return how the embedding of each seed was trained, if all have one."""
    records = [evaluation.training.embedding for evaluation in run.evaluations]
    known = [record for record in records if record and record.history]
    return known if len(known) == len(records) else []


def _collapsed(margin: float) -> Row:
    loss, spread = (Cell(format_loss(value), value) for value in (margin, 0.0))
    return Row(f"collapsed, margin {margin:g}", (), (loss, loss, None, spread))


def _cells(epochs: Sequence[Mapping[str, Any]]) -> tuple[Cell | None, ...]:
    """Return the cells of one epoch, of one or several seeds."""
    return (
        mean_cell([epoch["loss"] for epoch in epochs], format_loss),
        mean_cell([epoch.get("val_loss") for epoch in epochs], format_loss),
        mean_cell([epoch.get("active_share") for epoch in epochs], lambda share: f"{share:.1%}"),
        mean_cell([epoch.get("embedding_spread") for epoch in epochs], format_loss),
    )
