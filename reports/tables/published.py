"""Columns of what the reference thesis reported for the same models on other data, and what to know about them."""

from collections.abc import Sequence
from dataclasses import replace

from cs_keras.models.thesis import EMBEDDING_LOSSES, KS, MARGIN, N_TEST_TRACKS, N_TRACKS, THESIS, Reported
from reports.runs.labels import family_of
from reports.tables.notes import Kind
from reports.tables.numbers import count_cell, format_loss, mean_cell
from reports.tables.table import BELOW_CHANCE, Cell, Column, Table

GROUP = "thesis (other data)"
OVERLAP_TABLES: dict[Kind, str] = {"similarity": "6.6", "dot": "6.7"}
N_CANDIDATES: dict[Kind, int] = {"similarity": N_TEST_TRACKS - 1, "dot": N_TEST_TRACKS}

TRAINING_COLUMNS = (
    Column("trainable\nparameters", "thesis_parameters", group=GROUP),
    Column("MSE\nval", "thesis_mse_validation", group=GROUP),
    Column("MSE\ntest", "thesis_mse_test", group=GROUP),
)
EMBEDDING_COLUMNS = (
    Column("loss\nval", "thesis_loss_validation", group=GROUP),
    Column("loss\ntest", "thesis_loss_test", group=GROUP),
)
TRAINING_NOTE = (
    f"Thesis: as Pohl (2019) reports in tables 6.1 to 6.5, on {N_TRACKS:,} other tracks: its losses are no "
    "yardstick for these. Its targets have variance 1, so its mean predictor scores about 1."
)
EMBEDDING_NOTE = (
    f"Thesis: as Pohl (2019) reports in table 6.5, on other data. Both of its losses lie above its margin of "
    f"{MARGIN}, which a collapsed embedding scores."
)


def beside(
    table: Table, columns: Sequence[Column], cells: Sequence[Sequence[Cell | None]], note: str
) -> Table:
    """Return `table` with the reported `columns` and their note, unless nothing was reported of any of its models.

    `cells` holds a sequence for each row of the table, empty where there is nothing to report.
    """
    if not any(any(own) for row, own in zip(table.rows, cells, strict=True) if row.family):
        return table
    nothing = (None,) * len(columns)
    rows = tuple(
        replace(row, cells=(*row.cells, *(own or nothing)))
        for row, own in zip(table.rows, cells, strict=True)
    )
    return replace(table, columns=(*table.columns, *columns), rows=rows, notes=(*table.notes, note))


def training_cells(model: str) -> tuple[Cell | None, ...]:
    """Return what was reported of a model's size and losses, under `TRAINING_COLUMNS`."""
    reported = THESIS.get(model)
    if reported is None:
        return (None,) * len(TRAINING_COLUMNS)
    return (
        count_cell([reported.parameters]),
        mean_cell([reported.validation_loss], format_loss),
        mean_cell([reported.test_loss], format_loss),
    )


def embedding_cells(model: str) -> tuple[Cell | None, ...]:
    """Return what was reported of the triplet loss, under `EMBEDDING_COLUMNS`."""
    if family_of(model) != family_of("triplet"):
        return (None,) * len(EMBEDDING_COLUMNS)
    return tuple(mean_cell([loss], format_loss) for loss in EMBEDDING_LOSSES)


def overlap_columns(ks: Sequence[int]) -> tuple[Column, ...]:
    """Return a column for each list length that was reported and is one of `ks`."""
    return tuple(Column(f"k = {k}", f"thesis_overlap@{k}", group=GROUP) for k in KS if k in ks)


def overlap_cells(model: str, kind: Kind, ks: Sequence[int]) -> tuple[Cell | None, ...]:
    """Return the overlaps that were reported of a model, under `overlap_columns`."""
    reported = THESIS.get(model)
    percentages = _percentages(reported, kind) if reported else None
    if percentages is None:
        return (None,) * len(overlap_columns(ks))
    return tuple(
        _percentage_cell(percentage, chance=100 * k / N_CANDIDATES[kind])
        for k, percentage in zip(KS, percentages, strict=True)
        if k in ks
    )


def chance_cells(kind: Kind, ks: Sequence[int]) -> tuple[Cell | None, ...]:
    """Return the overlap of random lists with as many test tracks as there were, which was not reported."""
    chances = (100 * k / N_CANDIDATES[kind] for k in KS if k in ks)
    return tuple(_percentage_cell(chance, chance) for chance in chances)


def overlap_note(kind: Kind) -> str:
    """Return what to know about the reported overlaps."""
    chances = "/".join(_significant(100 * k / N_CANDIDATES[kind]) for k in KS)
    return (
        f"Thesis: as Pohl (2019) reports in table {OVERLAP_TABLES[kind]}, on other data, in %: not comparable. "
        f"Chance there was {chances} % at n = {N_TEST_TRACKS:,} (computed here; the thesis took it for less than "
        f"0.01 %), and several of its rows lie below it ({BELOW_CHANCE})."
    )


def _percentages(reported: Reported, kind: Kind) -> tuple[float, ...] | None:
    return reported.similarity if kind == "similarity" else reported.dot_product


def _significant(percentage: float) -> str:
    return f"{percentage:.2g}" if percentage < 1 else f"{percentage:.2f}"


def _percentage_cell(percentage: float, chance: float) -> Cell:
    marks = BELOW_CHANCE if percentage < chance else ""
    return Cell(f"{percentage:.4f}", percentage / 100, marks=marks)
