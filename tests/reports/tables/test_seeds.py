import json
from pathlib import Path

import numpy as np
import pytest

from cs_keras.runs import read_json
from reports.runs.collect import collect_runs
from reports.tables.cells.table import Section
from tests.reports.conftest import MakeRun
from tests.reports.formats.test_markdown_csv import records
from tests.reports.tables.test_tables import cell_of, only_section, row_of, table_of


def test_seeds_of_the_same_settings_are_one_entry(runs: Path, make_run: MakeRun) -> None:
    for number, (seed, dropout) in enumerate([(2, 0.0), (0, 0.0), (1, 0.0), (0, 0.5)]):
        make_run(f"2024-05-01-cnn-{number:010}", seed=seed, others={"dropout": dropout})
    (group,) = collect_runs(runs).groups
    assert [(run.label, run.seeds) for run in group.runs] == [
        ("cnn (dropout=0.0)", (0, 1, 2)),
        ("cnn (dropout=0.5)", (0,)),
    ]


def test_seeds_are_shown_where_they_differ(runs: Path, make_run: MakeRun) -> None:
    make_run("2024-05-01-cnn-0123456789", seed=3)
    assert not any(table.shows_seeds for table in only_section(runs).tables)
    make_run("2024-05-01-lstm-0123456780", model="lstm", seed=4)
    for table in only_section(runs).tables:
        assert table.shows_seeds
        assert {row.name: row.seeds for row in table.rows if row.family} == {"cnn": (3,), "lstm": (4,)}


def test_several_seeds_give_mean_and_deviation_and_the_largest_p(runs: Path, make_run: MakeRun) -> None:
    evaluations = [
        read_json(make_run(f"2024-05-01-cnn-{seed:010}", seed=seed, noise=3) / "evaluation.json")
        for seed in range(3)
    ]
    mse = [one["losses"]["test"]["mse"] for one in evaluations]
    cell = cell_of(table_of(runs, "Training"), "cnn", "mse_test")
    assert cell is not None and cell.value == pytest.approx(np.mean(mse))
    assert cell.sd == pytest.approx(np.std(mse, ddof=1)) and cell.detail == f"± {cell.sd:.4f}"
    at_5 = [one["overlap"]["similarity"][0] for one in evaluations]
    table = table_of(runs, "Overlap by similarity")
    cell = cell_of(table, "cnn", "overlap@5")
    assert cell is not None and cell.value == pytest.approx(np.mean([one["overlap"] for one in at_5]))
    assert cell.sd == pytest.approx(np.std([one["overlap"] for one in at_5], ddof=1))
    assert cell.p == max(one["p_value"] for one in at_5) and (cell.low, cell.high) == (None, None)
    assert table.shows_seeds and row_of(table, "cnn").seeds == (0, 1, 2)
    assert any(note.startswith("Several seeds: mean ±") for note in table.notes)


def test_counts_of_several_seeds_have_a_decimal_only_if_they_differ(runs: Path, make_run: MakeRun) -> None:
    for seed in range(2):
        make_run(f"2024-05-01-cnn-{seed:010}", seed=seed, training={"epochs": 4 + seed})
    table = table_of(runs, "Training")
    cells = [cell_of(table, "cnn", key) for key in ("parameters", "epochs", "seconds")]
    assert [cell.text for cell in cells if cell] == ["8,566,216", "4.5", "2:06"]


def test_csv_holds_means_of_seeds_with_their_spread(runs: Path, sections: tuple[Section, ...]) -> None:
    paths = runs.glob("*-wide-*/evaluation.json")
    mse = [json.loads(path.read_text())["losses"]["test"]["mse"] for path in paths]
    line = next(r for r in records(sections) if r["seed"] == "0 1" and r["column"] == "mse_test")
    assert (float(line["value"]), float(line["sd"])) == pytest.approx((np.mean(mse), np.std(mse, ddof=1)))
    assert (line["row"], line["family"]) == ("cnn-wide-dense", "Convolutional networks")
