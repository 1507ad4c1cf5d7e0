"""Parts of a job made by Apache Beam, on this machine's processes or on a cluster: the files are the same.

The pipeline runs in a process group of its own, and this process only watches it: Beam's DirectRunner waits for
ever when one of its workers is killed, and Beam's notes and warnings are not what a user asked for.
"""

import contextlib
import importlib.util
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cs_keras.errors import ConfigError, CsKerasError, StorageError
from cs_keras.progress import Advance, Progress
from pipelines.beam.protocols import PartMaker, PartT

ATTEMPTS = 3  # before lost workers count as a failure: what kills them may be the part itself
PARALLEL_READS = 32  # files at a time: in a bucket each is mostly waiting
POLL_S = 5.0  # between two looks at which parts there are
LOCAL_RUNNER = "--runner=DirectRunner"


class _WorkerLost(StorageError):
    """A process of the pipeline ended without a word: killed, or out of memory."""


def make_parts(
    parts: Sequence[PartT],
    maker: PartMaker[PartT],
    flags: Sequence[str],
    description: str,
    progress: Progress,
) -> None:
    """Have the parts that are missing made by a Beam pipeline.

    When a worker of a local runner is lost, the pipeline starts again with what is still missing; runners of
    clusters see to that themselves.

    Parameters
    ----------
    parts
        All of them; those that are made are not sent.
    maker
        Makes them.
    flags
        Beam's options, ``--runner=`` first.
    description
        Of the work, for progress.
    progress
        Where to report.

    Raises
    ------
    ConfigError
        When Beam is not installed or refuses its options.
    CsKerasError
        What a worker raised, or what stopped the pipeline; parts made until then are kept.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise ConfigError("--runner needs Apache Beam, which is not installed: pip install 'cs-keras[beam]'.")
    with progress.task(description, len(parts)) as advance:
        reach = _counter(advance)
        for attempt in range(1, ATTEMPTS + 1):
            missing = missing_parts(parts, maker)
            reach(len(parts) - len(missing))
            if not missing:
                return
            try:
                _run(missing, maker, flags, reach, len(parts) - len(missing))
            except _WorkerLost as lost:
                if attempt == ATTEMPTS:
                    raise
                progress.log(f"{description}: {lost} Going on with what is missing.")
            else:
                reach(len(parts))
                return


def _counter(advance: Advance) -> Callable[[int], None]:
    """Return a function of how many are done in all that advances by how many are new."""
    told = 0

    def reach(done: int) -> None:
        nonlocal told
        if done > told:
            advance(done - told)
            told = done

    return reach


def missing_parts(parts: Sequence[PartT], maker: PartMaker[PartT]) -> list[PartT]:
    """Return the parts that have no file yet, or one that is not whole."""
    there = set(maker.names())  # one listing, so that only these are looked into
    known = [part for part in parts if part.name in there]
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        made = {part.name for part, whole in zip(known, pool.map(maker.is_made, known), strict=True) if whole}
    return [part for part in parts if part.name not in made]


def _run(
    parts: Sequence[PartT],
    maker: PartMaker[PartT],
    flags: Sequence[str],
    reach: Callable[[int], None],
    done: int,
) -> None:
    """Run one pipeline, telling how many parts there are beside the `done` ones."""
    context = multiprocessing.get_context("spawn")  # a fork would share TensorFlow's locks
    ours, theirs = context.Pipe()
    with _log_file() as log:
        child = context.Process(target=_work, args=(theirs, list(parts), maker, list(flags), log))
        child.start()
        theirs.close()
        try:
            new = {part.name for part in parts} - set(maker.names())
            error = _watch(ours, new, maker, lambda n: reach(done + n))
        finally:
            _end(child)
            ours.close()
        if type(error) is CsKerasError:  # unforeseen: keep what a report needs
            error = CsKerasError(f"{error} (details: {_kept(log)})")
        if error is not None:
            raise error


def _watch(
    connection: Connection, new: set[str], maker: PartMaker[PartT], reach: Callable[[int], None]
) -> CsKerasError | None:
    """Wait for the pipeline's last word, an error or None, counting the `new` files that appear until then."""
    while not connection.poll(POLL_S):
        reach(len(new & set(maker.names())))
    try:
        error: CsKerasError | None = connection.recv()
    except (EOFError, ConnectionResetError):
        return _WorkerLost("The process that drives the Beam pipeline was lost.")
    return error


def _kept(log: Path) -> Path:
    """Rename a log so that it stays, and return its name."""
    return log.rename(log.with_suffix(".kept.log"))


def _end(child: Any) -> None:
    """End the pipeline's process group: nothing of it may outlive the command."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.join()


@contextlib.contextmanager
def _log_file() -> Iterator[Path]:
    """Give a file for Beam's log, removed at the end unless it has been renamed."""
    handle, name = tempfile.mkstemp(prefix="cs-keras-beam-", suffix=".log")
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _work(
    connection: Connection, parts: list[Any], maker: PartMaker[Any], flags: list[str], log: Path
) -> None:
    """Be the pipeline's process: run it and send how it ended."""
    os.setsid()
    threading.Thread(target=_end_with_parent, args=(log,), daemon=True).start()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # workers find what was found here
    # Beam's packages warn on import of what a user can do nothing about, and again in every worker.
    os.environ["PYTHONWARNINGS"] = "ignore"
    warnings.simplefilter("ignore")
    _redirect(log, LOCAL_RUNNER in flags)
    threading.excepthook = lambda failure: _report_lost_worker(failure, connection)
    try:
        from pipelines.beam import job as beam_job

        error = beam_job.run(parts, maker, flags)
    except BaseException as defect:
        error = CsKerasError(f"The Beam pipeline failed: {type(defect).__name__}: {defect}.")
        logging.exception("The pipeline could not be run")
    connection.send(error)


def _redirect(log: Path, is_local: bool) -> None:
    """Send logs to a file; show those of a cluster's runner, which say how to follow the job, but no tracebacks."""
    logging.basicConfig(filename=log, level=logging.INFO)
    if is_local:  # its workers print to the same places
        with open(log, "ab", buffering=0) as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
        return
    shown = logging.StreamHandler()
    shown.addFilter(lambda record: record.levelno < logging.ERROR)
    logging.getLogger("apache_beam.runners").addHandler(shown)


def _end_with_parent(log: Path) -> None:
    """End this group when the command that started it is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    log.unlink(missing_ok=True)
    os.killpg(0, signal.SIGKILL)


def _report_lost_worker(failure: threading.ExceptHookArgs, connection: Connection) -> None:
    """Tell of a worker process that ended: Beam's DirectRunner raises it in a thread and then waits for ever."""
    threading.__excepthook__(failure)
    if failure.thread and failure.thread.name == "run_worker":
        connection.send(_WorkerLost(f"A Beam worker was lost: {failure.exc_value}."))
