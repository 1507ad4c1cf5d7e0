"""Progress of long computations, reported without printing: the caller decides what to show."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]
Description = str | Callable[[], str]


class Progress(Protocol):
    """Receives messages and progress from a step."""

    def log(self, line: str) -> None:
        """Report one line about finished work."""

    def task(self, description: Description, total: int) -> AbstractContextManager[Advance]:
        """Begin work of `total` units; call the returned function with the number of units done since.

        A description that changes, such as one with a loss, is a function, called after each advance.
        """


class SilentProgress:
    """Ignores all messages."""

    def log(self, line: str) -> None:
        """Do nothing."""

    @contextlib.contextmanager
    def task(self, description: Description, total: int) -> Iterator[Advance]:
        """Return a function that does nothing."""
        yield lambda n: None
