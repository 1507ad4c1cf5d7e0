"""Tables as Markdown, CSV and JSON, with names escaped for each format."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len

from cs_keras.playlists.formats import neutralise
from reports.formats.text import printable
from reports.tables.cells.table import NOT_AVAILABLE, Cell, Column, Section, Table

CSV_FIELDS = (
    *("section", "table", "family", "row", "seed", "column"),
    *("value", "sd", "low", "high", "p", "remark"),
)


def to_markdown(sections: Sequence[Section]) -> str:
    """Return GitHub-flavoured Markdown, with columns aligned in the source too."""
    parts = []
    for section in sections:
        parts += [f"# {escape_markdown(section.heading)}", _markdown_notes(section.notes)]
        for table in section.tables:
            parts += [
                f"## {escape_markdown(table.title)}",
                to_markdown_table(table),
                _markdown_notes(table.notes),
            ]
    return "\n\n".join(parts) + "\n"


def to_markdown_table(table: Table) -> str:
    """Return the rows of a table alone, with columns aligned in the source too."""
    return "\n".join(_markdown_lines(table))


def to_csv(sections: Sequence[Section]) -> str:
    """Return one line per number, unrounded (overlaps as shares from 0 to 1).

    Seeds are separated by spaces. Text that a spreadsheet would read as a formula is preceded by an apostrophe.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_FIELDS)
    for section in sections:
        for table in section.tables:
            for row in table.rows:
                names = map(neutralise, (section.heading, table.title, row.family, row.name))
                stub = [*names, " ".join(map(str, row.seeds))]
                for column, cell in zip(table.columns, row.cells, strict=True):
                    writer.writerow([*stub, column.key, *_csv_values(cell)])
    return file.getvalue()


def to_json(sections: Sequence[Section]) -> str:
    """Return the values of `to_csv`, nested by section, table and row, with notes and conclusions.

    A row has its values by key of the column, each with what it has of `value`, `sd`, `low`, `high`, `p` and
    `remark`; null where there is no value.
    """
    content = [
        {
            "heading": section.heading,
            "conclusion": section.conclusion,
            "notes": section.notes,
            "tables": [
                {
                    "title": table.title,
                    "rows": [
                        {
                            "row": row.name,
                            "family": row.family,
                            "seeds": row.seeds,
                            **{
                                column.key: cell and _json_values(cell)
                                for column, cell in zip(table.columns, row.cells, strict=True)
                            },
                        }
                        for row in table.rows
                    ],
                    "notes": table.notes,
                }
                for table in section.tables
            ],
        }
        for section in sections
    ]
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def escape_markdown(text: str) -> str:
    """Escape text for Markdown, including HTML."""
    escaped = re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", printable(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _csv_values(cell: Cell | None) -> tuple[float | str | None, ...]:
    if cell is None:
        return (None,) * 6
    return cell.value, cell.sd, cell.low, cell.high, cell.p, neutralise(cell.remark)


def _json_values(cell: Cell) -> dict[str, float | str]:
    values = {name: getattr(cell, name) for name in ("value", "sd", "low", "high", "p")}
    return {
        name: value for name, value in {**values, "remark": cell.remark or None}.items() if value is not None
    }


def _markdown_notes(notes: Iterable[str]) -> str:
    return "\n".join(f"- {escape_markdown(note)}" for note in notes)


def _markdown_lines(table: Table) -> Iterator[str]:
    columns = (*table.stubs, *table.columns)
    lines = [list(map(_markdown_header, columns))]
    for row in table.rows:
        if row.heading:
            lines.append([f"**{escape_markdown(row.heading)}**", *[""] * (len(columns) - 1)])
        name = escape_markdown(row.name)
        lines.append([name, *table.seed_cells(row), *map(_markdown_cell, row.cells)])
    widths = [max(3, *map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    padded = [
        [_pad(text, width, column) for text, width, column in zip(line, widths, columns, strict=True)]
        for line in lines
    ]
    rule = [
        f":{'-' * (width - 1)}" if column.align == "left" else f"{'-' * (width - 1)}:"
        for width, column in zip(widths, columns, strict=True)
    ]
    for cells in (padded[0], rule, *padded[1:]):
        yield f"| {' | '.join(cells)} |"


def _markdown_header(column: Column) -> str:
    return escape_markdown(f"{column.group}: {column.header}" if column.group else column.header)


def _markdown_cell(cell: Cell | None) -> str:
    if cell is None:
        return NOT_AVAILABLE
    text = escape_markdown(cell.text)
    number = f"**{text}**" if cell.strong else text
    return f"{number}{escape_markdown(cell.marks)} {cell.detail}".rstrip()


def _pad(text: str, width: int, column: Column) -> str:
    padding = " " * (width - cell_len(text))
    return text + padding if column.align == "left" else padding + text
