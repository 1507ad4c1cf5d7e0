"""Make parts of a job with Apache Beam, on local processes or on a cluster, to the same files.

The pipeline runs in a process group of its own that this process watches: Beam's DirectRunner never returns when
one of its workers is killed, and Beam's log messages and warnings would clutter the output.
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

ATTEMPTS = 3  # before lost workers count as a failure: the part itself may kill them
PARALLEL_READS = 32  # files at a time: in a bucket each is mostly waiting
POLL_S = 5.0  # between two listings of finished parts
LOCAL_RUNNER = "--runner=DirectRunner"
DASK_RUNNER = "--runner=DaskRunner"


class _WorkerLost(StorageError):
    """A process of the pipeline ended without an error: killed, or out of memory."""


def make_parts(
    parts: Sequence[PartT],
    maker: PartMaker[PartT],
    flags: Sequence[str],
    description: str,
    progress: Progress,
) -> None:
    """Make the missing parts with a Beam pipeline; `flags` are Beam's options, ``--runner=`` first.

    When a worker of a local runner is lost, the pipeline is restarted with the parts that are missing; runners
    of clusters do so themselves.

    Raises ConfigError when Beam is not installed or rejects its options, and CsKerasError for errors of workers
    or of the pipeline; finished parts stay.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise ConfigError("--runner needs Apache Beam, which is not installed: pip install 'cs-keras[beam]'.")
    if DASK_RUNNER in flags and importlib.util.find_spec("distributed") is None:
        raise ConfigError(
            "--runner DaskRunner needs Dask, which is not installed: pip install 'cs-keras[dask]'."
        )
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
                progress.log(f"{description}: {lost} Continuing with the missing parts.")
            else:
                reach(len(parts))
                return


def _counter(advance: Advance) -> Callable[[int], None]:
    """Return a function that takes a total and advances by its increase."""
    reported = 0

    def reach(done: int) -> None:
        nonlocal reported
        if done > reported:
            advance(done - reported)
            reported = done

    return reach


def missing_parts(parts: Sequence[PartT], maker: PartMaker[PartT]) -> list[PartT]:
    """Return the parts without a complete file."""
    there = set(maker.names())  # from one listing, so that only these are read
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
    """Run one pipeline and report the number of finished parts, the `done` ones included."""
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
        if type(error) is CsKerasError:  # unexpected: keep the log for a report
            error = CsKerasError(f"{error} (details: {log.rename(log.with_suffix('.kept.log'))})")
        if error is not None:
            raise error


def _watch(
    connection: Connection, new: set[str], maker: PartMaker[PartT], reach: Callable[[int], None]
) -> CsKerasError | None:
    """Wait for the pipeline's result, an error or None, and report the `new` files that appear meanwhile."""
    while not connection.poll(POLL_S):
        reach(len(new & set(maker.names())))
    try:
        error: CsKerasError | None = connection.recv()
    except (EOFError, ConnectionResetError):
        return _WorkerLost("The process that drives the Beam pipeline was lost.")
    return error


def _end(child: Any) -> None:
    """Kill the pipeline's process group, so that no process outlives the command."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.join()


@contextlib.contextmanager
def _log_file() -> Iterator[Path]:
    """Yield a file for Beam's log, removed at the end unless it was renamed."""
    handle, name = tempfile.mkstemp(prefix="cs-keras-beam-", suffix=".log")
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _work(
    connection: Connection, parts: list[Any], maker: PartMaker[Any], flags: list[str], log: Path
) -> None:
    """Run the pipeline in this process and send its result."""
    os.setsid()
    threading.Thread(target=_end_with_parent, args=(log,), daemon=True).start()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # workers use the same import path
    # Beam's packages print irrelevant warnings on import, in every worker.
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
    """Write logs to a file; print those of a cluster's runner, with the link to the job, but no tracebacks."""
    logging.basicConfig(filename=log, level=logging.INFO)
    if is_local:  # its workers print to the same descriptors
        with open(log, "ab", buffering=0) as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
        return
    shown = logging.StreamHandler()
    shown.addFilter(lambda record: record.levelno < logging.ERROR)
    logging.getLogger("apache_beam.runners").addHandler(shown)


def _end_with_parent(log: Path) -> None:
    """Kill this process group when the command that started it has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    log.unlink(missing_ok=True)
    os.killpg(0, signal.SIGKILL)


def _report_lost_worker(failure: threading.ExceptHookArgs, connection: Connection) -> None:
    """Report a worker process that ended: Beam's DirectRunner raises it in a thread and never returns."""
    threading.__excepthook__(failure)
    if failure.thread and failure.thread.name == "run_worker":
        connection.send(_WorkerLost(f"A Beam worker was lost: {failure.exc_value}."))
