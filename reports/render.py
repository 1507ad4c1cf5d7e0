"""Tables as Markdown, CSV, LaTeX, or for a terminal. Names are data: each format gets them escaped its own way."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from reports.tables import NOT_AVAILABLE, Cell, Column, Row, Section, Table

CSV_FIELDS = ("section", "table", "row", "seed", "column", "value", "sd", "low", "high", "p")
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "†": r"$\dagger$",
    "±": r"$\pm$",
    "²": r"$^2$",
    "−": "$-$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{character: f"{{{character}}}" for character in '[]*`"'},  # else optional arguments, stars, ligatures
}


def to_markdown(sections: Sequence[Section]) -> str:
    """Return GitHub-flavoured Markdown, with columns aligned in the source as well."""
    parts = []
    for section in sections:
        parts += [f"# {escape_markdown(section.heading)}", _markdown_notes(section.notes)]
        for table in section.tables:
            parts += [
                f"## {escape_markdown(table.title)}",
                "\n".join(_markdown_lines(table)),
                _markdown_notes(table.notes),
            ]
    return "\n\n".join(parts) + "\n"


def to_csv(sections: Sequence[Section]) -> str:
    """Return one line for each number, unrounded (overlaps as shares from 0 to 1), for programs.

    Text that a spreadsheet would take for a formula is preceded by an apostrophe.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_FIELDS)
    for section in sections:
        for table in section.tables:
            for row in table.rows:
                names = [neutralise(name) for name in (section.heading, table.title, row.name)]
                for column, cell in zip(table.columns, row.cells, strict=True):
                    numbers = (cell.value, cell.sd, cell.low, cell.high, cell.p) if cell else [None] * 5
                    writer.writerow([*names, row.seed, column.key, *numbers])
    return file.getvalue()


def to_latex(sections: Sequence[Section]) -> str:
    """Return LaTeX tables for any engine, to be included in a document that loads booktabs.

    Characters beyond ASCII that the tables do not use themselves are given by their code point.
    """
    lines = [r"% Needs \usepackage{booktabs}."]
    for section in sections:
        for table in section.tables:
            lines += _latex_lines(section, table)
    return "\n".join(lines) + "\n"


def to_rich(sections: Sequence[Section]) -> RenderableType:
    """Return what ``rich.console.Console.print`` shows; intervals stand below their numbers, to save width."""
    parts: list[RenderableType] = []
    for section in sections:
        parts += [Text(_printable(section.heading), style="bold"), *_rich_notes(section.notes)]
        for table in section.tables:
            parts += [Text(), _rich_table(table), Text(), *_rich_notes(table.notes)]
        parts.append(Text())
    return Group(*parts)


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, HTML in it included."""
    escaped = re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", _printable(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_latex(text: str) -> str:
    """Return text that LaTeX shows as it is."""
    characters = (
        LATEX.get(c) or (c if c.isascii() else f"{{[}}U+{ord(c):04X}{{]}}") for c in _printable(text)
    )
    return re.sub(r"([-'])(?=\1)", r"\1{}", "".join(characters))  # -- and '' would become one character


def neutralise(text: str) -> str:
    """Return text that no spreadsheet takes for a formula, whether in plain or full-width characters."""
    printable = _printable(text)
    begins = unicodedata.normalize("NFKC", printable).lstrip()[:1]
    return f"'{printable}" if begins and begins in "=+-@" else printable


def _printable(text: str) -> str:
    """Return text without line breaks, terminal controls and marks that reorder it: spaces in their stead."""
    return "".join(character if character.isprintable() else " " for character in text)


def _seed(table: Table, row: Row) -> list[str]:
    """Return the cells between the name and the numbers."""
    return ["" if row.seed is None else str(row.seed)] if table.shows_seeds else []


def _markdown_notes(notes: Iterable[str]) -> str:
    return "\n".join(f"- {escape_markdown(note)}" for note in notes)


def _markdown_lines(table: Table) -> Iterator[str]:
    columns = (*table.stubs, *table.columns)
    lines = [[escape_markdown(column.header) for column in columns]]
    for row in table.rows:
        name = escape_markdown(row.name)
        lines.append([name, *_seed(table, row), *map(_markdown_cell, row.cells)])
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


def _markdown_cell(cell: Cell | None) -> str:
    if cell is None:
        return NOT_AVAILABLE
    number = f"**{cell.text}**" if cell.strong else cell.text
    return f"{number}{escape_markdown(cell.marks)} {cell.detail}".rstrip()


def _pad(text: str, width: int, column: Column) -> str:
    padding = " " * (width - cell_len(text))
    return text + padding if column.align == "left" else padding + text


def _latex_lines(section: Section, table: Table) -> Iterator[str]:
    columns = (*table.stubs, *table.columns)
    yield ""
    yield r"\begin{table}"
    yield r"\centering\footnotesize\setlength{\tabcolsep}{4pt}"
    yield rf"\caption{{{escape_latex(table.title)}. {escape_latex(section.heading)}.}}"
    yield rf"\begin{{tabular}}{{{''.join(column.align[0] for column in columns)}}}"
    yield r"\toprule"
    yield _latex_line(map(_latex_header, columns))
    yield r"\midrule"
    for row in table.rows:
        if row.rule_above:
            yield r"\midrule"
        stubs = [escape_latex(row.name), *_seed(table, row)]
        yield _latex_line([*stubs, *map(_latex_cell, row.cells)])
        if any(cell and cell.detail for cell in row.cells):
            yield _latex_line([*[""] * len(stubs), *map(_latex_detail, row.cells)])
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\par\smallskip\begin{minipage}{\linewidth}\scriptsize"
    yield from (rf"{escape_latex(note)}\par" for note in (*table.notes, *section.notes))
    yield r"\end{minipage}"
    yield r"\end{table}"


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_header(column: Column) -> str:
    lines = r"\\".join(escape_latex(line) for line in column.header.split("\n"))
    return rf"\shortstack[{column.align[0]}]{{{lines}}}"


def _latex_cell(cell: Cell | None) -> str:
    if cell is None:
        return NOT_AVAILABLE
    number = cell.text.replace("-", "$-$")
    number = rf"\textbf{{{number}}}" if cell.strong else number
    return number + (rf"\textsuperscript{{{escape_latex(cell.marks)}}}" if cell.marks else "")


def _latex_detail(cell: Cell | None) -> str:
    return rf"\scriptsize {escape_latex(cell.detail)}" if cell and cell.detail else ""


def _rich_table(table: Table) -> RichTable:
    shown = RichTable(
        title=Text(table.title), title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False
    )
    for column in (*table.stubs, *table.columns):
        shown.add_column(Text(column.header), justify=column.align, overflow="fold", vertical="top")
    for row in table.rows:
        if row.rule_above:
            shown.add_section()
        shown.add_row(Text(_printable(row.name)), *_seed(table, row), *map(_rich_cell, row.cells))
    return shown


def _rich_notes(notes: Iterable[str]) -> Iterator[Text]:
    return (Text(_printable(note), style="dim") for note in notes)


def _rich_cell(cell: Cell | None) -> Text:
    if cell is None:
        return Text(NOT_AVAILABLE, style="dim")
    text = Text.assemble((cell.text, "bold" if cell.strong else ""), cell.marks)
    return text.append(f"\n{cell.detail}", style="dim") if cell.detail else text
