"""How long work reports itself without printing: whoever calls it decides what is shown."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """What a step tells its caller while it works."""

    def log(self, line: str) -> None:
        """Tell one finished fact."""

    def task(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Begin work of `total` units; the function it gives is called with units as they are done."""


class SilentProgress:
    """Tells nobody."""

    def log(self, line: str) -> None:
        """Do nothing."""

    @contextlib.contextmanager
    def task(self, description: str, total: int) -> Iterator[Advance]:
        """Give a function that does nothing."""
        yield lambda n: None
