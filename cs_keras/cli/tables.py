"""Tables of reports on the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.tables.table import Section

PAGE_WIDTH = 110  # characters, where no terminal says how many fit


def print_sections(sections: "Sequence[Section]") -> None:
    """Print tables with what stands around them."""
    from rich.console import Console

    from reports.formats.terminal import to_rich

    console = Console()
    if not console.is_terminal:  # a file or pipe has no width of its own
        console.width = max(console.width, PAGE_WIDTH)
    console.print(to_rich(sections))
