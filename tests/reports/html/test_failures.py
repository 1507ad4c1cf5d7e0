from pathlib import Path

import pytest

from cs_keras.errors import DataError
from cs_keras.run_files.settings import Failure
from cs_keras.runs import write_json
from reports.commands.conclusion import conclude
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from tests.reports.conftest import MakeRun
from tests.reports.formats.test_markdown_csv import records
from tests.reports.tables.test_tables import only_section, row_of


def test_a_failed_run_is_listed_in_order_with_the_reason(
    runs: Path, make_run: MakeRun, make_failed: MakeRun
) -> None:
    for model in ("bot", "lstm"):
        make_run(f"2024-05-01-{model}-0123456789", model=model)
    make_failed("cnn", "out of memory", seed=3)
    collected = collect_runs(runs, ("bot", "cnn", "lstm"))
    (group,) = collected.groups
    assert [entry.label for entry in group.entries] == ["bot", "cnn", "lstm"]
    assert [(run.failure.reason, run.seeds) for run in group.failed] == [("out of memory", (3,))]
    assert [run.label for run in group.runs] == ["bot", "lstm"] and not collected.left_out


def test_a_failed_run_on_other_data_is_left_out_and_reported(
    runs: Path, make_run: MakeRun, make_failed: MakeRun
) -> None:
    make_run()
    make_failed("lstm", "it diverged.", data="e" * 64)
    collected = collect_runs(runs)
    assert not collected.groups[0].failed
    assert collected.left_out == ("2024-05-01-lstm-ffffffffff.partial, failed: it diverged",)


def test_an_unreadable_failure_is_left_out_and_reported(
    runs: Path, make_run: MakeRun, make_failed: MakeRun
) -> None:
    make_run()
    write_json(make_failed("lstm", "it diverged") / "failure.json", {"model": "lstm"})
    (reason,) = collect_runs(runs).left_out
    assert "failure.json lacks reason" in reason


def test_where_all_failed_the_error_says_why(runs: Path, make_failed: MakeRun) -> None:
    make_failed("cnn", "out of memory")
    with pytest.raises(
        DataError, match=r"1 unfinished, of which failed: .*\.partial, failed: out of memory\."
    ):
        collect_runs(runs)


def test_a_failed_model_has_a_row_and_a_note(runs: Path, make_run: MakeRun, make_failed: MakeRun) -> None:
    make_run("2024-05-01-bot-0123456789", model="bot")
    make_failed("cnn-60s", "the GPU ran out of memory.")
    tables = only_section(runs).tables
    table = next(table for table in tables if table.title == "Training")
    others = [one for one in tables if one is not table]
    cell, *rest = row_of(table, "cnn-60s").cells
    assert cell is not None and (cell.text, cell.value) == ("failed", None)
    assert [cell.value if cell else None for cell in rest] == [None] * 7 + [16_609_992, 0.8984, 0.9545]
    assert "cnn-60s failed: the GPU ran out of memory." in table.notes
    assert all(row.name != "cnn-60s" for other in others for row in other.rows)


def test_a_model_that_was_left_out_is_not_available(
    runs: Path, make_run: MakeRun, make_failed: MakeRun
) -> None:
    make_run("2024-05-01-bot-0123456789", model="bot")
    folder = make_failed("artist-mean", "no test artist is known.")
    Failure("artist-mean", "no test artist is known.", is_left_out=True).write(folder)
    (section,) = conclude(collect_runs(runs), make_sections(collect_runs(runs)))
    assert "artist-mean left out: no test artist is known." in section.notes
    table = next(table for table in only_section(runs).tables if table.title == "Training")
    cell = row_of(table, "artist-mean").cells[0]
    assert cell is not None and (cell.text, cell.value) == ("n/a", None)


def test_csv_has_the_reason_of_a_failure(runs: Path, make_run: MakeRun, make_failed: MakeRun) -> None:
    make_run()
    make_failed("lstm", "out of memory")
    lines = [
        r for r in records(make_sections(collect_runs(runs))) if r["remark"] and r["table"] == "Training"
    ]
    assert [(r["row"], r["value"], r["remark"]) for r in lines] == [("lstm", "", "failed: out of memory")]
