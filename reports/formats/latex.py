"""Tables as LaTeX, for documents that load booktabs."""

import re
from collections.abc import Iterable, Iterator, Sequence

from reports.formats.text import printable
from reports.tables.table import NOT_AVAILABLE, Cell, Column, Section, Table

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "±": r"$\pm$",
    "²": r"$^2$",
    "−": "$-$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{character: f"{{{character}}}" for character in '[]*`"'},  # not optional arguments, stars or ligatures
}


def to_latex(sections: Sequence[Section]) -> str:
    """Return LaTeX tables for any engine; other characters than those of `LATEX` and ASCII by code point."""
    lines = [r"% Needs \usepackage{booktabs}."]
    for section in sections:
        for table in section.tables:
            lines += _latex_lines(section, table)
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Escape text for LaTeX."""
    characters = (
        LATEX.get(c) or (c if c.isascii() else f"{{[}}U+{ord(c):04X}{{]}}") for c in printable(text)
    )
    return re.sub(r"([-'])(?=\1)", r"\1{}", "".join(characters))  # prevent ligatures of -- and ''


def _latex_lines(section: Section, table: Table) -> Iterator[str]:
    columns = (*table.stubs, *table.columns)
    yield ""
    yield r"\begin{table}"
    yield r"\centering\footnotesize\setlength{\tabcolsep}{3pt}"
    yield rf"\caption{{{escape_latex(table.title)}. {escape_latex(section.heading)}.}}"
    aligned = "".join(column.align[0] for column in columns)
    yield rf"\makebox[\linewidth][c]{{\begin{{tabular}}{{{aligned}}}"  # wide tables extend into both margins
    yield r"\toprule"
    yield from _latex_groups(table)
    yield _latex_line(map(_latex_header, columns))
    yield r"\midrule"
    yield from _latex_rows(table, len(columns))
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    yield r"\par\smallskip\begin{minipage}{\linewidth}\scriptsize"
    yield from (rf"{escape_latex(note)}\par" for note in (*table.notes, *section.notes))
    yield r"\end{minipage}"
    yield r"\end{table}"


def _latex_groups(table: Table) -> Iterator[str]:
    """Yield the line with the names of column groups, and the rules below them, if there are groups."""
    cells, rules, end = [], [], 0
    for group, width in table.column_groups:
        begin, end = end + 1, end + width
        if group:
            cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(group)}}}")
            rules.append(rf"\cmidrule(l){{{begin}-{end}}}")
        else:
            cells += [""] * width
    if rules:
        yield _latex_line(cells)
        yield "".join(rules)


def _latex_rows(table: Table, n_columns: int) -> Iterator[str]:
    for row in table.rows:
        if row.rule_above:
            yield r"\midrule"
        if row.heading:
            yield _latex_line([rf"\multicolumn{{{n_columns}}}{{l}}{{\emph{{{escape_latex(row.heading)}}}}}"])
        stubs = [escape_latex(row.name), *table.seed_cells(row)]
        yield _latex_line([*stubs, *map(_latex_cell, row.cells)])
        if any(cell and cell.detail for cell in row.cells):
            yield _latex_line([*[""] * len(stubs), *map(_latex_detail, row.cells)])


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_header(column: Column) -> str:
    lines = r"\\".join(escape_latex(line) for line in column.header.split("\n"))
    return rf"\shortstack[{column.align[0]}]{{{lines}}}"


def _latex_cell(cell: Cell | None) -> str:
    if cell is None:
        return NOT_AVAILABLE
    number = escape_latex(cell.text)
    number = number.replace("-", "$-$") if cell.value is not None else number  # hyphens of words stay
    number = rf"\textbf{{{number}}}" if cell.strong else number
    return number + (rf"\textsuperscript{{{escape_latex(cell.marks)}}}" if cell.marks else "")


def _latex_detail(cell: Cell | None) -> str:
    return rf"\scriptsize {escape_latex(cell.detail)}" if cell and cell.detail else ""
