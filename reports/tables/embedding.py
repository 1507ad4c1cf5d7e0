"""The table of triplet embeddings (from the thesis's table 6.5), with the loss of a collapsed embedding."""

from collections.abc import Mapping, Sequence
from typing import Any

from cs_keras.run_files.training import EmbeddingTraining
from reports.runs.collect import Group, Run
from reports.runs.labels import family_of
from reports.tables import published
from reports.tables.cells.numbers import format_loss, mean_cell
from reports.tables.cells.rows import arrange
from reports.tables.cells.table import Cell, Column, Row, Table

COLUMNS = (
    Column("loss\ntrain", "embedding_loss"),
    Column("loss\nval", "embedding_loss_validation"),
    Column("active\ntriplets", "active_share"),
    Column("spread", "embedding_spread"),
)
NOTES = (
    "Loss: of triplets, mean of max(squared distance to the positive − that to the negative + margin, 0).",
    "Collapsed: the same embedding for every track; its loss is the margin.",
    "Active: share of triplets with a loss above 0. Spread: mean squared distance to the mean embedding, 0 when "
    "collapsed, 1 when uniform.",
)


def embedding_table(group: Group) -> Table | None:
    """Return the first and last epoch of each embedding, and collapsed ones; None if no run trained one."""
    runs = [(run, records) for run in group.runs if (records := _records(run))]
    if not runs:
        return None
    margins = sorted({record.margin for _, records in runs for record in records})
    collapsed = [_collapsed_row(margin) for margin in margins]
    models: list[Row] = []
    theirs: list[Sequence[Cell | None]] = [() for _ in collapsed]
    for run, records in runs:
        last = min(len(record.history) for record in records)
        for number in sorted({1, last}):
            cells = _cells([record.history[number - 1] for record in records])
            models.append(Row(f"{run.label}, epoch {number}", run.seeds, cells, family_of(run.model)))
            theirs.append(published.embedding_cells(run.model) if number == last else ())
    table = Table("Embedding", COLUMNS, (*collapsed, *arrange(COLUMNS, models)), NOTES)
    return published.add_columns(table, published.EMBEDDING_COLUMNS, theirs, published.EMBEDDING_NOTE)


def _records(run: Run) -> list[EmbeddingTraining]:
    """Return the embedding's training of each seed; empty if any seed has none."""
    records = [evaluation.training.embedding for evaluation in run.evaluations]
    known = [record for record in records if record and record.history]
    return known if len(known) == len(records) else []


def _collapsed_row(margin: float) -> Row:
    loss, spread = (Cell(format_loss(value), value) for value in (margin, 0.0))
    return Row(f"collapsed, margin {margin:g}", (), (loss, loss, None, spread))


def _cells(epochs: Sequence[Mapping[str, Any]]) -> tuple[Cell | None, ...]:
    """Return the cells of one epoch of one or several seeds."""
    return (
        mean_cell([epoch["loss"] for epoch in epochs], format_loss),
        mean_cell([epoch.get("val_loss") for epoch in epochs], format_loss),
        mean_cell([epoch.get("active_share") for epoch in epochs], lambda share: f"{share:.1%}"),
        mean_cell([epoch.get("embedding_spread") for epoch in epochs], format_loss),
    )
