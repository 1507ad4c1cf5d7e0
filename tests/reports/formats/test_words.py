"""The field's words in the tables that commands print and write."""

import io

from rich.console import Console

from reports.formats.latex import to_latex
from reports.formats.markdown_csv import to_csv, to_markdown
from reports.formats.terminal import to_rich
from reports.tables.cells.table import Section
from tests.words import find_words


def test_printed_and_written_tables_use_the_fields_words(sections: tuple[Section, ...]) -> None:
    printed = io.StringIO()
    Console(file=printed, width=110).print(to_rich(sections))
    texts = (printed.getvalue(), to_markdown(sections), to_csv(sections), to_latex(sections))
    assert not [str(finding) for text in texts for finding in find_words(text)]
