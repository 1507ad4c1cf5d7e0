import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from reports.formats.latex import escape_latex, to_latex
from reports.formats.markdown_csv import escape_markdown, neutralise, to_csv, to_json, to_markdown
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from reports.tables.cells.table import Section
from tests.reports.conftest import MakeRun

NUMBERS_OF_CSV = ("value", "sd", "low", "high", "p")


def records(sections: tuple[Section, ...]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(sections), newline="")))


def test_json_holds_the_values_of_csv(hostile: tuple[Section, ...]) -> None:
    values = [
        (section["heading"], table["title"], row["row"], key, cell)
        for section in json.loads(to_json(hostile))
        for table in section["tables"]
        for row in table["rows"]
        for key, cell in row.items()
        if key not in ("row", "family", "seeds")
    ]
    lines = records(hostile)
    assert len(values) == len(lines)
    for (heading, title, name, key, cell), line in zip(values, lines, strict=True):
        assert (heading, title, key) == (line["section"], line["table"], line["column"])
        assert neutralise(name) == line["row"]
        texts = {field: text for field, text in line.items() if field in NUMBERS_OF_CSV and text}
        assert {field: str(value) for field, value in (cell or {}).items() if field != "remark"} == texts


def test_csv_holds_the_numbers_of_the_files(runs: Path, sections: tuple[Section, ...]) -> None:
    found = {
        (r["table"], r["row"], r["seed"], r["column"]): {
            name: r[name] for name in ("value", "low", "high", "p")
        }
        for r in records(sections)
    }
    assert len(found) == len(records(sections))  # no two lines say the same
    for path in runs.glob("*/evaluation.json"):
        evaluation = json.loads(path.read_text())
        if evaluation["model"] == "cnn-wide-dense":  # of which it holds the mean of two seeds
            continue
        key = evaluation["model"], str(evaluation["seed"])
        for title, kind in (("Overlap by similarity", "similarity"), ("Overlap by dot product", "dot")):
            for row in (row for row in evaluation["overlap"][kind] if row["available"]):
                line = found[title, *key, f"overlap@{row['k']}"]
                numbers = {name: float(text) if text else None for name, text in line.items()}
                assert numbers == {name: row[json_name] for name, json_name in NUMBERS.items()}
        for column, value in expected_training(evaluation).items():
            assert float(found["Training", *key, column]["value"]) == value


NUMBERS = {"value": "overlap", "low": "low", "high": "high", "p": "p_value"}


def expected_training(evaluation: dict[str, Any]) -> dict[str, float]:
    training, losses = evaluation["training"], evaluation["losses"]
    return {
        **{name: training[name] for name in ("parameters", "epochs", "best_epoch", "seconds")},
        "mse_validation": losses["validation"]["mse"],
        "mse_test": losses["test"]["mse"],
        "r2_test": losses["test"]["r2"],
        "cosine_distance_test": losses["test"]["cosine_distance"],
    }


def test_csv_holds_chance_with_its_spread(runs: Path, sections: tuple[Section, ...]) -> None:
    evaluation = json.loads(next(runs.glob("*/evaluation.json")).read_text())
    expected = evaluation["overlap"]["similarity"][0]
    lines = (r for r in records(sections) if r["table"] == "Overlap by similarity")
    line = next(r for r in lines if r["row"] == "chance" and r["column"] == "overlap@5")
    assert (float(line["value"]), float(line["sd"])) == (expected["chance"], expected["chance_sd"])


def test_csv_text_is_never_a_formula(hostile: tuple[Section, ...]) -> None:
    for record in records(hostile):
        for name in ("section", "table", "row"):
            assert record[name][0] not in "=+-@\t\r"
    assert "'=cmd|' /C calc'!A0" in {record["row"] for record in records(hostile)}


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", " =1", "\r\n=1", "＝1", "－1"])
def test_formulas_are_neutralised(text: str) -> None:
    assert neutralise(text).startswith("'")


@pytest.mark.parametrize("text", ["cnn-bn", "", "a=b", "'", "é"])
def test_other_text_is_unchanged(text: str) -> None:
    assert neutralise(text) == text


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Return the cells of each table; an escaped bar is no border."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("| ")]
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block] for block in blocks]


@pytest.mark.parametrize("fixture", ["sections", "hostile"])
def test_markdown_columns_line_up(fixture: str, request: pytest.FixtureRequest) -> None:
    sections = request.getfixturevalue(fixture)
    tables = markdown_tables(to_markdown(sections))
    assert len(tables) == sum(len(section.tables) for section in sections)
    for lines in tables:
        assert len({tuple(map(cell_len, line)) for line in lines}) == 1
        assert all(re.fullmatch(r" (:-+|-+:) ", cell) for cell in lines[1])


def test_markdown_shows_what_the_table_holds(sections: tuple[Section, ...]) -> None:
    titles = [table.title for table in sections[0].tables]
    tables = markdown_tables(to_markdown(sections))
    training, similarity = (tables[titles.index(title)] for title in ("Training", "Overlap by similarity"))
    header = [cell.strip() for cell in similarity[0]]
    assert header[:6] == ["model", "seeds", "k = 5", "k = 10", "p (k = 5)", "p beyond artist"]
    assert header[-2:] == ["thesis (other data): k = 10", "thesis (other data): k = 100"]
    names = [line[0].strip() for line in training[2:]]
    assert names == ["mean predictor", "cnn", "cnn-wide-dense", "lstm"]
    other, best, _ = similarity[-3:]
    assert re.fullmatch(r"\d+\.\d\\\* \[\d+\.\d, \d+\.\d\]", other[2].strip())
    assert re.fullmatch(r"\*\*\d+\.\d\*\*\\\* ± \d+\.\d", best[2].strip())
    assert [cell.strip() for cell in best[:2]] == ["cnn-wide-dense", "0, 1"]
    assert [cell.strip() for cell in (best[4], *best[-2:])] == ["0.005", "0.0201‡", "0.3305‡"]


def test_markdown_and_latex_head_families(runs: Path, make_run: MakeRun) -> None:
    for model in ("bot", "cnn", "cnn-bn", "cnn-18s", "lstm"):
        make_run(f"2024-05-01-{model}-0123456789", model=model, n_tracks=20, n_playlists=4)
    sections = make_sections(collect_runs(runs))
    index = [table.title for table in sections[0].tables].index("Training")
    training = markdown_tables(to_markdown(sections))[index]
    assert [line[0].strip() for line in training if not line[1].strip()] == [
        "**Bag of Tones**",
        "**Convolutional networks**",
        "**Recurrent networks**",
    ]
    divided = sum(any(row.heading for row in table.rows) for table in sections[0].tables)
    assert to_latex(sections).count(r"{l}{\emph{Convolutional networks}} \\") == divided >= 3


def test_markdown_holds_no_html_and_no_control_characters(hostile: tuple[Section, ...]) -> None:
    text = to_markdown(hostile)
    assert "<" not in text
    assert all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("*x*_y_`z`", r"\*x\*\_y\_\`z\`"),
        ("\\|", r"\\\|"),
        ("cnn-bn", "cnn-bn"),
        ("a\nb", "a b"),
    ],
)
def test_markdown_escapes(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b%$#&{}\\", r"a\_b\%\$\#\&\{\}\textbackslash{}"),
        ("[0pt]*", "{[}0pt{]}{*}"),
        ("a---b ''", "a-{}-{}-b '{}'"),
        ("<~^|>", r"\textless{}\textasciitilde{}\textasciicircum{}\textbar{}\textgreater{}"),
        ("± 1 †", r"$\pm$ 1 $\dagger$"),
        ("é🎧", "{[}U+00E9{]}{[}U+1F3A7{]}"),
        ("cnn-bn", "cnn-bn"),
    ],
)
def test_latex_escapes(text: str, escaped: str) -> None:
    assert escape_latex(text) == escaped


@pytest.mark.parametrize("fixture", ["sections", "hostile"])
def test_latex_rows_have_as_many_cells_as_columns(fixture: str, request: pytest.FixtureRequest) -> None:
    sections = request.getfixturevalue(fixture)
    text = to_latex(sections)
    assert text.isascii()
    bodies = re.findall(r"\\begin\{tabular\}\{([lr]+)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert len(bodies) == sum(len(section.tables) for section in sections)
    for columns, body in bodies:
        rules = r"\\(top|mid|bottom)rule|(\\cmidrule\(l\)\{\d+-\d+\})+"
        rows = [line for line in body.splitlines() if not re.fullmatch(rules, line)]
        for row in rows:
            assert row.endswith(r" \\")
            spanned = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row))
            assert len(re.findall(r"(?<!\\)&", row)) + spanned == len(columns) - 1


@pytest.mark.parametrize("fixture", ["sections", "hostile"])
def test_latex_groups_and_environments_close(fixture: str, request: pytest.FixtureRequest) -> None:
    text = to_latex(request.getfixturevalue(fixture))
    bare = re.sub(r"\\[\\{}%$#&_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    begun, ended = (re.findall(rf"\\{word}\{{(\w+)\}}", text) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended)
    assert bare.count("%") == 1  # the line that names the package
