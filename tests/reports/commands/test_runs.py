"""Runs are listed, shown, compared and removed."""

import json
from pathlib import Path

import pytest

from cs_keras.errors import StorageError
from reports.commands.runs import compare_runs, list_runs, show_run
from tests.command_line import run
from tests.reports.conftest import MakeRun


@pytest.fixture
def folders(runs: Path, make_run: MakeRun, make_failed: MakeRun) -> list[Path]:
    settings = ({"training": {"epochs": 5, "loss": "mse"}}, {"training": {"epochs": 10, "loss": "mse"}})
    made = [
        make_run(f"2024-05-01-cnn-000000000{i}", others=own, noise=noise)
        for i, (own, noise) in enumerate(zip(settings, (0.5, 3.0), strict=True))
    ]
    make_failed("lstm", "out of memory")
    return made


def test_a_list_has_what_was_trained_on_what_and_how_well(folders: list[Path], runs: Path) -> None:
    (runs / "2024-05-01-cnn-0000000001" / "evaluation.json").write_text("{")
    section, errors = list_runs(runs)
    (table,) = section.tables
    assert [row.name for row in table.rows] == [folders[0].name, f"2024-05-01-lstm-{'f' * 10}.partial"]
    evaluation = json.loads((folders[0] / "evaluation.json").read_text())
    values = {column.key: cell for column, cell in zip(table.columns, table.rows[0].cells, strict=True)}
    assert values["overlap"].value == evaluation["overlap"]["filtered"][0]["overlap"]
    assert values["mse_test"].value == evaluation["losses"]["test"]["mse"]
    assert table.rows[1].cells[1].text == "failed" and len(errors) == 1


def test_a_comparison_has_the_settings_that_differ_and_the_better_run(folders: list[Path]) -> None:
    settings, comparison = compare_runs(folders)
    (table,) = settings.tables
    assert [(row.name, [cell.text for cell in row.cells if cell]) for row in table.rows] == [
        ("training.epochs", ["5", "10"])
    ]
    assert comparison.conclusion[0].startswith("cnn (training.epochs=5), the best of 2 models, ")
    assert "significantly better than cnn (training.epochs=10)" in comparison.conclusion[1]


def test_a_failed_run_is_shown_with_its_reason_and_what_is_no_run_is_refused(
    folders: list[Path], runs: Path
) -> None:
    (failed,) = runs.glob("*-lstm-*")
    assert show_run(failed)[0].conclusion == ("training failed: out of memory.",)
    with pytest.raises(StorageError, match="is not finished: training failed: out of memory."):
        compare_runs([*folders, failed])
    with pytest.raises(StorageError, match="is not the folder of a run"):
        show_run(runs)


def test_runs_are_removed_on_request_and_nothing_else_is(
    folders: list[Path], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cached = {"only": [folders[0].name], "both": [one.name for one in folders], "nested": [".shared/only"]}
    for name, users in {**cached, "earlier": None}.items():
        cache = runs / ".shared" / name
        cache.mkdir(parents=True)
        (cache / "settings.json").write_text("{}")
        if users:
            (cache / "users.json").write_text(json.dumps(users))

    def left() -> set[str]:
        return {path.name for path in (runs / ".shared").iterdir()}

    assert run("runs", "rm", folders[0]) == 2 and "--yes is needed" in capsys.readouterr().err
    assert run("runs", "rm", "--yes", folders[0], runs) == 1  # the folder of runs is no run
    assert folders[0].is_dir() and left() == {"only", "both", "nested", "earlier"}
    assert run("runs", "rm", "--yes", folders[0]) == 0
    assert not folders[0].exists() and folders[1].is_dir() and left() == {"both", "earlier"}
    assert "Removed: 1 run and 2 cached results." in capsys.readouterr().out
    assert run("runs", "prune", "--yes", runs) == 0 and left() == {"both"}
    assert run("runs", "prune", "--yes", "--all", runs) == 0 and left() == set()
