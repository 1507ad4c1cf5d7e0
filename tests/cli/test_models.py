"""``cs-keras models``: complete, and readable on terminals of any width."""

import ast
import csv
import re
from pathlib import Path

import pytest

import cs_keras.models
from cs_keras.models import REGISTRY
from cs_keras.models.registry import SECONDS_FILE
from cs_keras.models.thesis import THESIS
from tests.command_line import run

SYSTEMS = Path(__file__).parents[2] / "docs" / "systems.md"


def test_every_model_has_its_time() -> None:
    with SECONDS_FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == list(REGISTRY)
    assert all(float(row["seconds"]) > 0 and row["per"] in ("epoch", "fit") for row in rows)


def test_every_source_is_cited_by_its_model_or_on_the_page_of_systems() -> None:
    page = SYSTEMS.read_text(encoding="utf-8")
    for key, entry in REGISTRY.items():
        if entry.source == "ours":
            continue
        path = Path(cs_keras.models.__path__[0]) / f"{entry.module}.py"
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        authors, year = entry.source.rsplit(" ", 1)
        names = authors.lower().removesuffix(" et al.").split(" & ")
        passages = [*page.lower().splitlines(), docstring.lower()]
        assert any(all(word in passage for word in (year, *names)) for passage in passages), key


def test_the_thesis_is_the_source_of_the_models_that_it_reports() -> None:
    assert {key for key, entry in REGISTRY.items() if entry.source == "Pohl 2019"} == set(THESIS)


@pytest.mark.parametrize("columns", [80, 100, 120, 160])
def test_the_table_fits_the_terminal_and_breaks_no_word(
    columns: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the output for a terminal
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run("models") == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capfd.readouterr().out).splitlines()
    assert max(map(len, lines)) <= columns
    found = {word.strip(",;") for line in lines for word in line.split()}
    for key, entry in REGISTRY.items():
        row = next(line for line in lines if line.startswith(f"{key} "))
        assert f"{entry.parameters:,}" in row
        assert {word.strip(",;") for word in f"{entry.summary} {entry.needs} {entry.source}".split()} <= found


def test_a_pipe_gets_description_and_source_in_the_line_of_each_model(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run("models") == 0
    lines = capfd.readouterr().out.splitlines()
    for key, entry in REGISTRY.items():
        (row,) = [line for line in lines if line.startswith(f"{key} ")]
        assert all(text in row for text in (entry.summary, entry.source))


def test_best_is_explained(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("models") == 0 and "cs-keras models best" in capfd.readouterr().out
    assert run("models", "best") == 0
    shown = capfd.readouterr().out
    assert "cnn-best" in shown and "validation tracks" in shown
