from pathlib import Path
from typing import Any

import pytest

from reports.tables.cells.table import Table
from tests.reports.conftest import MakeRun
from tests.reports.tables.test_tables import cell_of, only_section, row_of, table_of

HISTORY = [
    {"loss": 0.41, "val_loss": 0.39, "active_share": 0.9, "embedding_spread": 0.3, "seconds": 2.0},
    {"loss": 0.3, "val_loss": 0.35, "active_share": 0.7, "embedding_spread": 0.5, "seconds": 2.0},
    {"loss": 0.2, "val_loss": 0.25, "active_share": 0.5, "embedding_spread": 0.6, "seconds": 2.0},
]


def triplet(shift: float = 0.0, margin: float = 0.4) -> dict[str, Any]:
    """Return what the training of a triplet run leaves, its losses shifted."""
    history = [{**epoch, "loss": epoch["loss"] + shift} for epoch in HISTORY]
    return {"model": "triplet", "training": {"embedding": {"history": history, "margin": margin}}}


def shown(table: Table, name: str) -> list[str | None]:
    return [cell.text if cell else None for cell in row_of(table, name).cells]


def test_an_embedding_is_shown_from_first_to_last_epoch_below_a_collapsed_one(make_run: MakeRun) -> None:
    table = table_of(make_run(**triplet()), "Embedding")
    assert [row.name for row in table.rows] == [
        "collapsed, margin 0.4",
        "triplet, epoch 1",
        "triplet, epoch 3",
    ]
    assert shown(table, "collapsed, margin 0.4") == ["0.4000", "0.4000", None, "0.0000", None, None]
    assert shown(table, "triplet, epoch 1") == ["0.4100", "0.3900", "90.0%", "0.3000", None, None]
    last = shown(table, "triplet, epoch 3")
    assert last == ["0.2000", "0.2500", "50.0%", "0.6000", "0.6489", "0.6854"]
    assert "above the margin of 0.4, the loss of a collapsed embedding" in table.notes[-1]


def test_seeds_are_averaged_and_margins_have_a_line_each(runs: Path, make_run: MakeRun) -> None:
    for seed in range(2):
        make_run(f"2024-05-01-triplet-{seed:010}", seed=seed, **triplet(0.1 * seed), others={"margin": 0.4})
    make_run("2024-05-01-triplet-0000000009", **triplet(margin=0.2), others={"margin": 0.2})
    table = table_of(runs, "Embedding")
    assert [row.name for row in table.rows][:2] == ["collapsed, margin 0.2", "collapsed, margin 0.4"]
    cell = cell_of(table, "triplet (margin=0.4), epoch 3", "embedding_loss")
    assert cell is not None and cell.value == pytest.approx(0.25)


def test_only_triplets_have_the_table(make_run: MakeRun) -> None:
    for name, arguments in {
        "2024-05-01-cnn-0123456789": {},
        "2024-05-01-triplet-0123456789": {"model": "triplet"},  # as earlier releases left it
    }.items():
        section = only_section(make_run(name, **arguments))
        assert "Embedding" not in [table.title for table in section.tables]


def test_measures_that_an_embedding_lacks_are_not_available(make_run: MakeRun) -> None:
    embedding = {"history": [{"loss": 0.3}], "margin": 0.4}
    table = table_of(make_run(model="triplet", training={"embedding": embedding}), "Embedding")
    assert shown(table, "triplet, epoch 1")[:1] == ["0.3000"]
