"""Tables as LaTeX, for documents that load booktabs."""

import re
from collections.abc import Sequence

import jinja2

from reports.formats.text import printable
from reports.tables.cells.table import Cell, Section

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
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",  # LaTeX has the default brace and hash
        comment_end_string="#>",
        keep_trailing_newline=True,
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - the template escapes for LaTeX
    )
    environment.filters.update(escape=escape_latex, number=_number)
    return environment.get_template("tables.tex.j2").render(sections=sections)


def escape_latex(text: str) -> str:
    """Escape text for LaTeX."""
    characters = (
        LATEX.get(c) or (c if c.isascii() else f"{{[}}U+{ord(c):04X}{{]}}") for c in printable(text)
    )
    return re.sub(r"([-'])(?=\1)", r"\1{}", "".join(characters))  # prevent ligatures of -- and ''


def _number(cell: Cell) -> str:
    number = escape_latex(cell.text)
    return number.replace("-", "$-$") if cell.value is not None else number  # hyphens of words stay
