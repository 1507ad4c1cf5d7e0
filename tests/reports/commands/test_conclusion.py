"""The conclusion has the values of ``evaluation.json``, and fits a terminal."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from cs_keras.errors import ConfigError
from reports.commands.best_model import BestModel, Point
from reports.commands.conclusion import _describe_gap, conclude
from reports.formats.terminal import to_rich
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from reports.tables.cells.table import Section, Table, select_tables
from tests.reports.conftest import MakeRun

NOISES = {"bot": 3.0, "cnn": 0.5, "lstm": 0.51}


@pytest.fixture
def conclusion(runs: Path, make_run: MakeRun, make_failed: MakeRun) -> Section:
    for model, noise in NOISES.items():
        make_run(f"2024-05-01-{model}-0123456789", model=model, noise=noise)
    make_failed("cnn-60s", "out of memory")
    collected = collect_runs(runs)
    (section,) = conclude(collected, make_sections(collected))
    return section


def test_it_has_the_values_of_each_evaluation(conclusion: Section, runs: Path) -> None:
    (table,) = conclusion.tables
    keys = [column.key for column in table.columns]
    rows = {row.name: dict(zip(keys, row.cells, strict=True)) for row in table.rows}
    assert list(rows)[:3] == ["cnn", "lstm", "bot"]  # by decreasing overlap
    for model in NOISES:
        (path,) = runs.glob(f"*-{model}-*/evaluation.json")
        evaluation = json.loads(path.read_text())
        measured = evaluation["overlap"]["filtered"][0]
        ceiling = evaluation["references"]["refit-ceiling"]["filtered"][0]["overlap"]
        row = rows[model]
        assert row["filtered@5"].value == measured["overlap"]
        assert (row["filtered@5"].low, row["filtered@5"].high) == (measured["low"], measured["high"])
        assert row["p"].value == measured["p_beyond_artist"]
        closed = (measured["overlap"] - measured["chance"]) / (ceiling - measured["chance"])
        assert row["gap_to_ceiling@5"].value == pytest.approx(closed)
        assert row["ndcg@5"].value == evaluation["ranking"]["predictors"]["model"]["ndcg@5"]["mean"]
    best = rows["cnn"]["filtered@5"].value
    assert rows["bot"]["less_best_filtered@5"].value == pytest.approx(rows["bot"]["filtered@5"].value - best)


def test_it_is_short_and_says_first_that_data_are_few(conclusion: Section) -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(to_rich([conclusion]))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= 28 and max(map(len, lines)) <= 80
    assert lines[1].startswith("Few data: 60 test tracks") and "cnn-60s failed: out of memory." in lines
    first, second = conclusion.conclusion
    assert first.startswith("cnn, the best of 3 models, finds ") and "corrected for 3 models" in first
    assert "is significantly better than bot, not than lstm" in second


def test_shares_of_a_best_from_sound_that_may_be_chance_are_not_given() -> None:
    model, sound, clear = (
        Point("", 10, value, low, 1.0, chance=0.4, p=None, tied=False, is_model=True, is_ceiling=False)
        for value, low in ((0.44, 0.3), (0.403, 0.2), (0.48, 0.41))
    )
    assert _describe_gap(BestModel("filtered", model, 1, None, sound, None), 0.1).endswith("refit ceiling")
    assert "50% of that" in _describe_gap(BestModel("filtered", model, 1, None, clear, None), 0.1)


def test_tables_are_found_by_a_part_of_their_title() -> None:
    tables = tuple(Table(title, (), (), ()) for title in ("Training", "Overlap, artist-filtered"))
    (found,) = select_tables([Section("", ("a note",), tables), Section("", (), tables[:1])], "ARTIST")
    assert found.tables == tables[1:] and not found.notes
    with pytest.raises(ConfigError, match="no table 'speed'. Tables: Training; Overlap, artist-filtered."):
        select_tables([Section("", (), tables)], "speed")
