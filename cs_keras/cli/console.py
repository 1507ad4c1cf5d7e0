"""Progress for people: bars on a terminal, plain lines in a log."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator

from cs_keras.progress import Advance

LOG_INTERVAL_S = 30.0


class Console:
    """Reports to standard error, so that standard output holds results alone."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def log(self, line: str) -> None:
        """Tell one finished fact, with the seconds since the start."""
        line = "".join(
            c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line
        )  # ids may hold anything
        print(f"[{time.monotonic() - self._began:6.1f} s] {line}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def task(self, description: str, total: int) -> Iterator[Advance]:
        """Show work of `total` units: a bar on a terminal, else a line now and then."""
        if sys.stderr.isatty():
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=RichConsole(stderr=True), transient=True) as bars:
                task = bars.add_task(description, total=total)
                yield lambda n: bars.advance(task, n)
        else:
            yield _LogLines(self, description, total).advance


class _LogLines:
    """A line when work has gone on for a while, for logs."""

    def __init__(self, console: Console, description: str, total: int) -> None:
        self._console, self._description, self._total = console, description, total
        self._done, self._last = 0, time.monotonic()

    def advance(self, n: int) -> None:
        self._done += n
        if time.monotonic() - self._last > LOG_INTERVAL_S:
            self._last = time.monotonic()
            self._console.log(f"{self._description}: {self._done} of {self._total}")


def quiet_tensorflow() -> None:
    """Keep TensorFlow's notes and advice to programmers out of the output; its errors still show.

    Call before importing it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
