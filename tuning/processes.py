"""Processes of a search: each starts from nothing, so that none inherits graphs, memory or seeds."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cs_keras.errors import CsKerasError


class Child:
    """A function run in a new process, which ends when the one that started it does, however that comes.

    Parameters
    ----------
    function
        Of a module, so that the process finds it by name.
    arguments
        Are pickled.
    environment
        Variables that the process has besides those of this one.
    """

    def __init__(
        self, function: Callable[..., None], arguments: Sequence[Any], environment: Mapping[str, str]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(sender, function, arguments))
        with _environment(environment):
            self._process.start()
        sender.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return int(self._process.pid or 0)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; below zero, the number of the signal that ended it."""
        return self._process.exitcode

    @property
    def error(self) -> str | None:
        """The sentence it failed with; None where it did not or had no time to say."""
        with contextlib.suppress(EOFError, OSError):
            if self._receiver.poll():
                return str(self._receiver.recv())
        return None

    def wait(self, seconds: float) -> bool:
        """Wait for its end, at most so long, and tell whether it has come."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Have variables set while a process is started: libraries read some before any of its own code runs."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _run(sender: Any, function: Callable[..., None], arguments: Sequence[Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it is interrupted too, and ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        function(*arguments)
    except CsKerasError as error:
        sender.send(str(error))
        sys.exit(1)
    except BaseException as error:
        traceback.print_exc()
        sender.send(f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}")
        sys.exit(2)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
