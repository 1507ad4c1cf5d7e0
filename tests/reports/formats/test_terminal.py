import io
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from reports.formats.terminal import to_rich
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from reports.tables.cells.table import Cell, Column, Row, Section, Table
from tests.reports.conftest import MakeRun


@pytest.mark.parametrize("width", [80, 100, 110])
def test_the_terminal_breaks_no_number(sections: tuple[Section, ...], width: int) -> None:
    text = printed(sections, width)
    assert max(map(len, text.splitlines())) <= width
    for table in sections[0].tables:
        for row in table.rows:
            for cell in (cell for cell in row.cells if cell and cell.value is not None):
                assert cell.text + cell.marks in text and cell.detail in text


def test_a_long_name_folds_before_a_number_does(make_run: MakeRun) -> None:
    run = make_run(model="a-name-as-long-as-" * 5, n_tracks=1200, ks=(10, 20, 50))
    sections = make_sections(collect_runs(run))
    text = printed(sections, 80)
    table = next(table for table in sections[0].tables if table.title == "Overlap by similarity")
    details = [cell.detail for row in table.rows for cell in row.cells if cell]
    assert all(detail in text for detail in details)


def test_names_are_broken_after_spaces_and_hyphens() -> None:
    cell, used = Cell("12.3", 0.123, detail="[10.1, 14.5]"), Cell("interactions of all", None)
    columns = (*(Column(f"k = {k}", str(k)) for k in range(4)), Column("used", "used", align="left"))
    names = ("cnn-heteroscedastic", "popularity ranking (oracle)")
    rows = tuple(Row(name, (), (*[cell] * 4, used)) for name in names)
    lines = printed((Section("", (), (Table("", columns, rows, ()),)),), 80).splitlines()
    starts = [line.split()[0] for line in lines if line.strip()]
    assert starts[2:] == ["cnn-", "heteroscedastic", "popularity", "ranking", "(oracle)"]
    assert sum(line.count("[10.1, 14.5]") for line in lines) == 8 and max(map(len, lines)) <= 80


@pytest.mark.parametrize("width", [50, 60])
def test_a_narrow_terminal_folds_numbers_and_loses_no_digit(make_run: MakeRun, width: int) -> None:
    (section,) = make_sections(collect_runs(make_run()))
    for table in section.tables:
        cells = [cell.text + cell.detail for row in table.rows for cell in row.cells if cell]
        expected = "".join([*cells, *(column.header for column in table.columns)])
        bare = Section("", (), (replace(table, title="", notes=()),))
        assert sorted(filter(str.isdigit, printed((bare,), width))) == sorted(filter(str.isdigit, expected))


def test_the_terminal_takes_no_orders_from_names(hostile: tuple[Section, ...]) -> None:
    text = printed(hostile, 110)
    assert "[bold]markup[/bold]" in text
    assert all(character.isprintable() or character == "\n" for character in text)


def test_published_columns_are_next_to_ours_under_their_name(make_run: MakeRun) -> None:
    lines = printed(make_sections(collect_runs(make_run(model="bot"))), 110).splitlines()
    head = next(i for i, line in enumerate(lines) if "thesis (other data)" in line)
    assert lines[head + 2].split()[-3:] == ["parameters", "val", "test"]
    row = next(line for line in lines[head:] if line.startswith("bot"))
    assert row.split()[-3:] == ["6,401,224", "0.9603", "0.9598"]
    assert max(map(len, lines)) <= 110


def test_in_a_narrow_terminal_published_columns_are_below(runs: Path, make_run: MakeRun) -> None:
    for model in ("bot", "choi-features"):
        make_run(f"2024-05-01-{model}-0123456789", model=model)
    lines = printed(make_sections(collect_runs(runs)), 80).splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("Training, thesis (other data)"))
    table = [line.split() for line in itertools.takewhile(str.strip, lines[begin:])]
    assert table[-1] == ["bot", "6,401,224", "0.9603", "0.9598"]
    assert not {"choi-features", "mean"} & {words[0] for words in table}


def test_each_note_is_printed_once(sections: tuple[Section, ...]) -> None:
    text = printed(sections, 1000)
    for note in {note for table in sections[0].tables for note in table.notes}:
        assert text.count(note) == 1


def test_a_failed_model_is_named_with_its_reason(runs: Path, make_run: MakeRun, make_failed: MakeRun) -> None:
    make_run()
    make_failed("cnn-60s", "out of memory")
    text = printed(make_sections(collect_runs(runs)), 110)
    assert "cnn-60s failed: out of memory." in text
    (row,) = (line.split() for line in text.splitlines() if line.startswith("cnn-60s ") and "n/a" in line)
    assert row[1] == "failed"


def printed(sections: tuple[Section, ...], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(to_rich(sections))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
