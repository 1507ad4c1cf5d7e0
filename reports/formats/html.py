"""Tables as HTML: readable without scripts, with the unrounded numbers beside for the script that sorts them."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from reports.formats.html_markup import Markup, element, join, shorten
from reports.formats.markdown_csv import seed_cells
from reports.tables.table import NOT_AVAILABLE, Cell, Column, Row, Table


def table_html(table: Table, name: str) -> Markup:
    """Return a table with its notes below.

    Parameters
    ----------
    table
        As `reports.tables.all_tables.make_sections` gives it.
    name
        Its id on the page, a word of its own.
    """
    notes = f"{name}-notes"
    grid = element(
        "table",
        element("caption", table.title),
        element("thead", *_head(table)),
        element("tbody", *(_rows(table))),
        aria_describedby=notes,
    )
    return element(
        "section",
        element("div", grid, class_="scroll", role="region", aria_label=table.title, tabindex="0"),
        notes_html(table.notes, notes),
        id=name,
        class_="table",
    )


def notes_html(notes: Iterable[str], name: str | None = None) -> Markup:
    """Return sentences as a list."""
    return element("ul", *(element("li", note) for note in notes), class_="notes", id=name)


def _head(table: Table) -> Iterator[Markup]:
    """Yield the row of headers, below one that names the groups of columns if there are any."""
    columns = (*table.stubs, *table.columns)
    if any(column.group for column in columns):
        yield element("tr", *_groups(columns))
    stubs = (_header(column, "text") for column in table.stubs)
    own = (_header(column, _kind(table.rows, place)) for place, column in enumerate(table.columns))
    yield element("tr", *stubs, *own)


def _groups(columns: Sequence[Column]) -> Iterator[Markup]:
    for group, members in itertools.groupby(columns, key=lambda column: column.group):
        span = len(list(members))
        if group:
            yield element("th", group, scope="colgroup", colspan=span)
        else:
            yield element("td", colspan=span)


def _kind(rows: Sequence[Row], place: int) -> str:
    """Return what a column is sorted by."""
    cells = (row.cells[place] for row in rows)
    return "number" if any(cell and cell.value is not None for cell in cells) else "text"


def _header(column: Column, kind: str) -> Markup:
    lines = (element("span", line) for line in column.header.split("\n"))
    return element("th", _spaced(lines), scope="col", class_=column.align, data_sort=kind)


def _spaced(pieces: Iterable[Markup]) -> Markup:
    return Markup(" ".join(pieces))


def _rows(table: Table) -> Iterator[Markup]:
    width = len(table.stubs) + len(table.columns)
    for row in table.rows:
        rule = "rule" if row.rule_above else None
        if row.heading:
            heading = element("th", row.heading, scope="rowgroup", colspan=width)
            yield element("tr", heading, class_="family rule" if rule else "family")
            rule = None
        yield element("tr", *_cells(table, row), class_=rule)


def _cells(table: Table, row: Row) -> Iterator[Markup]:
    yield element("th", element("bdi", shorten(row.name)), scope="row", class_="left")
    yield from (element("td", seeds, class_="right") for seeds in seed_cells(table, row))
    for column, cell in zip(table.columns, row.cells, strict=True):
        yield _cell(column, cell)


def _cell(column: Column, cell: Cell | None) -> Markup:
    if cell is None:
        return element("td", NOT_AVAILABLE, class_=f"{column.align} missing")
    shown = shorten(cell.text)
    number = element("strong", shown) if cell.strong else element("span", shown)
    lines = cell.detail.split("\n") if cell.detail else ()
    details = (element("span", shorten(line), class_="detail") for line in lines)
    return element("td", join(number, cell.marks, *details), class_=column.align, data_value=cell.value)
