"""How far a search has come, as a table that changes in place; a log gets lines instead."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from tuning.view import Standing


@contextlib.contextmanager
def live_view(objective: str) -> Iterator[Callable[["Standing"], None]]:
    """Give a function that shows how far a search for `objective` has come; it does nothing without a terminal."""
    if not sys.stderr.isatty():
        yield lambda standing: None
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, refresh_per_second=4) as live:
        yield lambda standing: live.update(_table(standing, objective))


def _table(standing: "Standing", objective: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, show_header=False)
    rows = {
        "running": "  ".join(standing.running) or "-",
        "done": f"{standing.done}, and {standing.failed} failed",
        "best": f"{objective} {standing.best[0]:.4f}, trial {standing.best[1]}" if standing.best else "-",
        "time": standing.time,
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table
