"""Processes of a search: spawned, not forked, to inherit no graphs, memory or seeds."""

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
    """A function run in a new process, which ends when its parent does, even if that is killed.

    Parameters
    ----------
    function
        Function of a module: the process imports it by name.
    arguments
        Arguments, which are pickled.
    environment
        Variables to add to those of this process.
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
        """Id of the process."""
        return int(self._process.pid or 0)

    @property
    def exit_code(self) -> int | None:
        """Exit status: None while it runs; the negative number of the signal that killed it."""
        return self._process.exitcode

    @property
    def error(self) -> str | None:
        """Message of the error it failed with; None without one."""
        with contextlib.suppress(EOFError, OSError):
            if self._receiver.poll():
                return str(self._receiver.recv())
        return None

    def wait(self, seconds: float) -> bool:
        """Wait until it ends, for `seconds` at most, and return whether it has ended."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    def kill(self) -> None:
        """Kill it, and wait until it has ended."""
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set variables while a process starts: libraries read some before any of its code runs."""
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and kills it
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
