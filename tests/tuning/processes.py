"""Chiefs and workers as processes of their own, which tests can kill.

They are forked from a server that has imported everything once; their own children start from nothing, as ever.
"""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.tuning import trainers

FORKS = multiprocessing.get_context("forkserver")
TIMEOUT_S = 240.0


def be_chief(environment: Mapping[str, str], study: Any, trainer: Any, epochs: int, team: Any) -> None:
    from cs_keras.progress import SilentProgress
    from tuning.search import search
    from tuning.study import open_study

    _prepare(environment)
    open_study(study)
    search(study, trainer, epochs, team, SilentProgress(), lambda progress: None)


def be_worker(environment: Mapping[str, str], study: Any, trainer: Any, place: Any) -> None:
    from tuning.worker import work

    _prepare(environment)
    work(study, trainer, place)


def _prepare(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    sys.modules["__main__"] = trainers  # what children import first: else pytest, each time


class Company:
    """Starts processes, kills them, and leaves none behind."""

    def __init__(self) -> None:
        FORKS.set_forkserver_preload(["tests.tuning.preloaded"])
        self._processes: list[BaseProcess] = []

    def chief(self, study: Any, trainer: Any, team: Any, **environment: str) -> BaseProcess:
        return self._start(be_chief, environment, study, trainer, trainer.epochs, team)

    def worker(self, study: Any, trainer: Any, place: Any, **environment: str) -> BaseProcess:
        return self._start(be_worker, environment, study, trainer, place)

    def _start(self, target: Callable[..., None], *arguments: Any) -> BaseProcess:
        process = FORKS.Process(target=target, args=arguments)
        process.start()
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            kill(process)


@contextmanager
def company() -> Iterator[Company]:
    """Give a company that is dissolved in the end, whatever happens."""
    started = Company()
    try:
        yield started
    finally:
        started.end()


def free_address() -> str:
    """Return an address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def kill(process: BaseProcess) -> None:
    """End a process without a word to it."""
    process.kill()
    process.join()


def finish(*processes: BaseProcess) -> None:
    """Wait until processes have come to a good end."""
    for process in processes:
        process.join(TIMEOUT_S)
        assert process.exitcode == 0, f"{process} ended with {process.exitcode}"


def wait_until(condition: Callable[[], object], *processes: BaseProcess) -> None:
    """Wait for a moment, which must come before any of the processes ends."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        for process in processes:
            assert process.exitcode is None, f"{process} ended before the moment came"
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.002)


def children(pid: int | None) -> list[int]:
    """Return the processes that one has started from nothing, and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
            is_spawned = b"spawn_main" in (path / "cmdline").read_bytes()
            if int(parent) == pid and state != "Z" and is_spawned:
                found.append(int(path.name))
    return found


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
