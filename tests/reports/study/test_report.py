"""The report of a study from its folder to its files, and what the command prints."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cs_keras.errors import StorageError
from cs_keras.storage.location import locate, write_bytes
from reports.formats.terminal import to_rich
from reports.study.differences import compare_trials
from reports.study.plots import pareto_front
from reports.study.reading import read_study
from reports.study.report import write_study_report
from reports.study.scales import parameter_scale, score_scale
from reports.study.tables import Analysis, analyse_study, make_study_sections
from reports.tables.cells.table import Section, Table
from tests.command_line import run
from tests.reports.study.study_folders import (
    SPACE,
    draw,
    write_failed,
    write_settings,
    write_study,
    write_trial,
)

PNG = b"\x89PNG"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.study.importance.N_RESAMPLES", 5)


def tables_of(folder: Path, n_shown: int | None = 20) -> dict[str, Table]:
    (section,) = make_study_sections(analyse_study(read_study(folder)), n_shown)
    return {table.title: table for table in section.tables}


def printed(sections: tuple[Section, ...], width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(to_rich(sections))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_trials_are_listed_best_first_with_their_metrics(tmp_path: Path) -> None:
    write_settings(tmp_path, executions=2)
    write_trial(tmp_path, 0, [[0.2, 0.3], [0.4, 0.5]])
    write_trial(tmp_path, 1, [[0.8, 0.6], [0.8, 0.6]], n_weights=None)
    table = tables_of(tmp_path)["Trials"]
    keys = [column.key for column in table.columns]
    assert keys == ["rank", "val_overlap@10", "difference", "val_loss", "parameters", "epochs", "seconds"]
    best, other = table.rows
    assert (best.name, other.name) == ("0001", "0000")
    rank, score, difference, loss, weights, epochs, seconds = other.cells
    assert [cell and cell.text for cell in (rank, weights, epochs, seconds)] == [
        "2",
        "8,566,600",
        "5",
        "0:41",
    ]
    assert score and score.value == pytest.approx(0.35) and score.sd == pytest.approx(np.sqrt(0.02))
    assert score.detail == "± 0.1414" and loss and loss.value == pytest.approx(0.65)
    assert difference and difference.value == pytest.approx(-0.35) and difference.text == "-0.3500"
    assert best.cells[2] and best.cells[2].text == "best" and best.cells[4] is None


def test_only_trials_not_significantly_different_from_the_best_are_marked(tmp_path: Path) -> None:
    write_settings(tmp_path)
    tracks = np.linspace(0.1, 0.5, 50)
    for number, worse in enumerate((0.0, 0.001, 0.05)):
        write_trial(tmp_path, number, [tracks - worse + 0.01 * (-1) ** (np.arange(50) // (number + 1))])
    table = tables_of(tmp_path)["Trials"]
    assert [row.cells[2].marks for row in table.rows if row.cells[2]] == ["", "†", ""]
    assert any(note.startswith("†") for note in table.notes)
    assert any("not corrected for the number of trials" in note for note in table.notes)


def test_markdown_has_the_best_twenty_trials_and_csv_all(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", 30)
    analysis = Analysis(read_study(study), *compare_trials(read_study(study)), None)
    md, table = write_study_report(analysis, tmp_path / "out", ["md", "csv"])[:2]
    assert "The best 20 of 26 completed trials" in md.read_text()
    with open(table, encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    ranks = [float(one["value"]) for one in records if one["column"] == "rank"]
    assert ranks == list(range(1, 27))
    pooling = {one["remark"] for one in records if one["column"] == "model.time_pooling"}
    assert pooling == {"flatten", "mean", "mean-max"}


def test_parameters_that_do_not_vary_are_not_listed_and_inactive_ones_are_named(tmp_path: Path) -> None:
    write_settings(tmp_path)
    write_trial(tmp_path, 0, [[0.5, 0.6]], parameters={"model.layers": 2, "model.dropout": 0.25})
    write_trial(tmp_path, 1, [[0.1, 0.2]], parameters={"model.layers": 2})
    table = tables_of(tmp_path)["Parameters"]
    assert [column.key for column in table.columns] == ["val_overlap@10", "model.dropout"]
    assert [row.cells[1].text for row in table.rows if row.cells[1]] == ["0.25", "inactive"]


def test_many_parameters_continue_in_another_table(tmp_path: Path) -> None:
    space = [
        {**entry, "config": {**entry["config"], "name": f"{entry['config']['name']}_{i}"}}
        for i in range(5)
        for entry in SPACE
    ]
    study = read_study(write_study(tmp_path, 8, lambda _: 0.3, space=space))
    sections = make_study_sections(Analysis(study, *compare_trials(study), None))
    parts = [table for table in sections[0].tables if table.title.startswith("Parameters (")]
    listed = [column.key for table in parts for column in table.columns[1:]]
    assert len(parts) > 1 and listed == [parameter.name for parameter in study.varied]
    assert max(map(len, printed(sections).splitlines())) <= 110


def test_failures_are_counted_by_cause_and_reasons_listed_once(tmp_path: Path) -> None:
    write_settings(tmp_path)
    for number in range(7):
        write_failed(tmp_path, number, "diverged", "the loss is no number", {})
    write_failed(tmp_path, 7, "memory", "8 GB are needed", {})
    tables = tables_of(tmp_path)  # none completed
    assert list(tables) == ["Failed trials"]
    rows = [(row.name, row.cells[0].value) for row in tables["Failed trials"].rows if row.cells[0]]
    assert rows == [("diverged", 7), ("memory", 1)]
    assert tables["Failed trials"].notes == (
        "diverged: the loss is no number (0000, 0001, 0002, 0003, 0004 and 2 more).",
        "memory: 8 GB are needed (0007).",
    )


def test_the_same_study_gives_the_same_bytes(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", 14)
    first, second = (
        write_study_report(analyse_study(read_study(study)), tmp_path / name) for name in ("a", "b")
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    plots = ("history", "time", "parallel", "slices", "importance")
    expected = {f"{plot}.{kind}" for plot in plots for kind in ("png", "svg")}
    assert {path.name for path in first} == expected | {"tables.md", "tables.csv", "tables.tex"}
    assert all(path.read_bytes().startswith(PNG) for path in first if path.suffix == ".png")


@pytest.mark.parametrize("n_trials", [1, 2, 3])
def test_the_smallest_studies_have_plots(tmp_path: Path, n_trials: int) -> None:
    study = read_study(write_study(tmp_path, n_trials, lambda _: 0.3, space=SPACE[:2]))
    written = write_study_report(analyse_study(study), tmp_path / "out", [])
    assert {path.stem for path in written} >= {"history", "time"}
    assert ("slices" in {path.stem for path in written}) == bool(study.varied)


def test_one_completed_and_one_failed_trial_have_plots(tmp_path: Path) -> None:
    write_settings(tmp_path)
    write_trial(tmp_path, 0, [[0.5, 0.6]], parameters={"model.layers": 2})
    write_failed(tmp_path, 1, "memory", "8 GB are needed", {"model.dropout": 0.5})
    written = write_study_report(analyse_study(read_study(tmp_path)), tmp_path / "out", [])
    assert {path.stem for path in written} == {"history", "time", "parallel", "slices"}


def test_names_with_dollars_are_not_mathematics(tmp_path: Path) -> None:
    space = [
        {"class_name": "Choice", "config": {"name": "a$b_{c$", "values": ["$x^", "|"], "ordered": False}}
    ]
    write_settings(tmp_path, space, dataset="$HOME_{$")
    for number, value in enumerate(("$x^", "|")):
        write_trial(tmp_path, number, [[0.5, 0.4]], parameters={"a$b_{c$": value})
    md, *plots = write_study_report(analyse_study(read_study(tmp_path)), tmp_path / "out", ["md"])
    assert r" \| |" in md.read_text() and r" \$x^ |" in md.read_text()
    assert {path.stem for path in plots} == {"history", "time", "parallel", "slices"}


def test_no_trial_dominates_one_of_the_pareto_front(tmp_path: Path) -> None:
    for direction in ("max", "min"):
        study = read_study(write_study(tmp_path / direction, 30, direction=direction))
        points = {trial.trial: (-trial.seconds, study.sign * (trial.score or 0.0)) for trial in study.ranked}
        expected = {
            name
            for name, (time, score) in points.items()
            if not any(t >= time and s >= score and (t, s) != (time, score) for t, s in points.values())
        }
        assert {trial.trial for trial in pareto_front(study)} == expected


def test_outliers_are_at_the_edge_and_failures_beyond(tmp_path: Path) -> None:
    write_settings(tmp_path, objective="val_loss", direction="min")
    for number, loss in enumerate((0.5, 0.6, 0.7, 0.8, 900.0)):
        write_trial(tmp_path, number, [[loss, loss]])
    scale = score_scale(read_study(tmp_path))
    assert "1 outlier at the edge" in scale.label and scale.low == 0.5 and scale.high < 2
    assert scale.clip(900.0) == scale.high < scale.beyond


def test_ticks_are_round_numbers_of_the_scale(tmp_path: Path) -> None:
    write_settings(tmp_path)
    random = np.random.default_rng(0)
    for number in range(30):
        parameters = draw(random, SPACE)
        if number == 0:
            del parameters["model.dropout"]
        write_trial(tmp_path, number, [[0.5, 0.4]], parameters=parameters)
    study = read_study(tmp_path)
    scales = {parameter.name: parameter_scale(parameter, study) for parameter in study.parameters}
    assert [label for _, label in scales["training.learning_rate"].ticks] == ["0.0001", "0.001"]
    assert [label for _, label in scales["model.batch_norm"].ticks] == ["false", "true"]
    assert scales["model.batch_norm"].ticks[0][0] == 0 and scales["model.batch_norm"].ticks[1][0] == 1
    assert scales["model.dropout"].ticks[0] == (-0.15, "inactive")


def test_the_command_concludes_and_prints_how_to_train_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_study(tmp_path / "a study", 14, dataset="gs://bucket/demo", factors="halves")
    (study / "trials" / "0001" / "trial.json").write_text("{")
    assert run("report", study, "--format", "md") == 0
    out, err = capsys.readouterr()
    assert out.startswith("Study of cnn-bn on gs://bucket/demo") and "is the best of 11 completed" in out
    assert "Hyperparameter importance" not in out
    command = "cs-keras run-baselines gs://bucket/demo --models cnn-bn --factors halves --config"
    assert err.rstrip().endswith(f"Next: {command} '{study}/best.toml'")
    assert "Left out of the report:" in err and "0001" in err
    assert (study / "report" / "tables.md").exists() and not (study / "report" / "tables.csv").exists()


def test_a_study_behind_a_url_is_reported_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study, remote = write_study(tmp_path / "study", 14), locate("memory://studies/one")
    (study / "best.toml").write_text("seed = 0\n")
    for path in filter(Path.is_file, study.rglob("*")):
        write_bytes(remote / path.relative_to(study).as_posix(), path.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert run("report", study, "--format", "md") == 0
    local = capsys.readouterr().out
    assert run("report", "memory://studies/one", "--format", "md") == 0
    out, err = capsys.readouterr()
    assert out == local and err.rstrip().endswith("--config report/best.toml")
    assert (tmp_path / "report" / "tables.md").read_bytes() == (study / "report" / "tables.md").read_bytes()
    assert (tmp_path / "report" / "best.toml").read_text() == "seed = 0\n"
    assert run("report", "memory://studies/none") == 1
    assert "Expected a study, or runs on this machine" in capsys.readouterr().err


def test_a_study_without_a_winner_names_no_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_settings(tmp_path)
    write_failed(tmp_path, 0, "memory", "8 GB are needed", {})
    assert run("report", tmp_path) == 0
    out, err = capsys.readouterr()
    assert "memory: 8 GB are needed (0000)." in out and "Next: " not in err


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path / "study", 2))
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="Cannot write .*out"):
        write_study_report(analyse_study(study), tmp_path / "out", [])


def test_studies_need_neither_tensorflow_nor_pyplot() -> None:
    heavy = {"tensorflow", "keras", "keras_tuner", "tuning", "pipelines", "matplotlib.pyplot"}
    program = f"import reports.study.report, sys; sys.exit(bool({heavy!r} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_latex_is_made_of_every_table(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path / "study", 14))
    (path,) = (
        one for one in write_study_report(analyse_study(study), tmp_path, ["latex"]) if one.suffix == ".tex"
    )
    text = path.read_text()
    assert text.count(r"\begin{table}") == 4 and "mean-max" in text and "{[}U+" not in text
