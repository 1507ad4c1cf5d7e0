from html.parser import HTMLParser

import pytest
from markupsafe import Markup

from reports.formats.text import shorten
from reports.html.templates import ENVIRONMENT
from reports.tables.cells.table import Cell, Column, Row, Section, Table
from tests.reports.conftest import HOSTILE

TABLE = Table(
    "A & B",
    (Column("k = 1\n(%)", "overlap@1"), Column("reported", "reported", group="elsewhere")),
    (
        Row("chance", (), (Cell("10", 0.1), None)),
        Row(
            "cnn",
            (0,),
            (Cell("25.0", 0.25, marks="*", detail="[20, 30]", strong=True), Cell("3", 3.0)),
            "C",
            "C",
        ),
    ),
    ("A note.",),
)


def table_html(table: Table, name: str) -> Markup:
    macros = ENVIRONMENT.get_template("macros.html.j2").make_module({"recordings": None})
    return macros.table(table, name)  # type: ignore[attr-defined]


class Parsed(HTMLParser):
    """Tags in order, and the text of each row of a table."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1][-1] += data


def test_a_table_holds_its_numbers_as_people_and_as_programs_read_them() -> None:
    parsed = Parsed(table_html(TABLE, "t"))
    assert parsed.rows[0] == ["", "elsewhere"]
    assert parsed.rows[1] == ["model", "k = 1 (%)", "reported"]
    assert parsed.rows[2] == ["chance", "10", "n/a"]
    assert parsed.rows[3] == ["C"]
    assert parsed.rows[4][:2] == ["cnn", "25.0*[20, 30]"]
    values = [attributes.get("data-value") for tag, attributes in parsed.tags if tag == "td"]
    assert values == [None, "0.1", None, "0.25", "3.0"]  # the first fills the row of groups
    assert [tag for tag, _ in parsed.tags].count("strong") == 1
    kinds = [attributes["data-sort"] for _, attributes in parsed.tags if "data-sort" in attributes]
    assert kinds == ["text", "number", "number"]


def test_each_row_is_as_wide_as_the_table(sections: tuple[Section, ...]) -> None:
    for table in sections[0].tables:
        widths: list[int] = []
        for tag, attributes in Parsed(table_html(table, "t")).tags:
            if tag == "tr":
                widths.append(0)
            if tag in ("th", "td"):
                widths[-1] += int(attributes.get("colspan") or 1)
        assert set(widths) == {len(table.stubs) + len(table.columns)}


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text(name: str) -> None:
    row = Row(name, (), (Cell(name, None), None), heading=name)
    parsed = Parsed(table_html(Table(name, TABLE.columns, (row,), (name,), stub=name), "t"))
    known = {
        "section",
        "div",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "span",
        "bdi",
        "details",
        "summary",
        "ul",
        "li",
    }
    assert {tag for tag, _ in parsed.tags} <= known
    assert parsed.rows[-1][0] == shorten(name)
    (region,) = (attributes for tag, attributes in parsed.tags if tag == "div")
    assert region["aria-label"] == shorten(name)


def test_markup_is_escaped_once() -> None:
    html = table_html(TABLE, "t")
    assert "<caption>A &amp; B</caption>" in html and 'aria-label="A &amp; B"' in html
    template = ENVIRONMENT.from_string('<b title="{{ a }}">{{ a }}{{ b }}</b>')
    rendered = template.render(a='<"\n', b=Markup("<i>&amp;</i>"))
    assert rendered == '<b title="&lt;&#34; ">&lt;&#34; <i>&amp;</i></b>'


def test_long_names_are_cut() -> None:
    assert len(shorten("x" * 10_000)) == 200 and shorten("x" * 10_000).endswith("…")
