"""A search on this machine: the chief in this process, and its workers in others."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from cs_keras.config import check_range
from cs_keras.errors import CsKerasError
from cs_keras.progress import Progress
from cs_keras.runs import TEMPORARY, atomic_write, is_temporary, locked
from cs_keras.storage.location import is_remote, remove
from cs_keras.storage.open_files import refuse_links
from cs_keras.training.executions import Trainer
from tuning.chief import CLOSING_S, Chief
from tuning.oracles import DurableOracle, make_oracle
from tuning.processes import Child
from tuning.progress import SearchProgress, measure_progress
from tuning.results import HPARAMS_FOLDER, find_best, is_logged, log_trial, write_best
from tuning.study import DONE, Study
from tuning.worker import HEARTBEAT_S, WorkerConfig, work

CHIEF = ".chief"  # folder of a study that its chief locks
POLL_S = 0.2
MAX_STARTS = 20  # of a worker that is killed before it ends a trial
ANY_PORT = "127.0.0.1:0"


@dataclasses.dataclass(frozen=True)
class WorkerPool:
    """The workers of a search, and how they reach its chief.

    Attributes
    ----------
    n_workers
        Processes on this machine, 0 where all are elsewhere. None for one per GPU or, without one, a single
        process; and for 0 where `address` is given.
    address
        ``HOST:PORT`` of the chief; port 0 takes a free one.
    lease_s
        Seconds without a heartbeat after which a worker's trial is given to another.
    work
        Folder on this machine for trainings, where the study is behind a URL.
    """

    n_workers: int | None = 1
    address: str = ANY_PORT
    lease_s: float = 60.0
    work: Path | None = None

    def __post_init__(self) -> None:
        if self.n_workers is not None:
            check_range("--workers", self.n_workers, 0)
        check_range("--lease", self.lease_s, 2 * HEARTBEAT_S)  # a shorter one ends while the worker is alive

    def count(self) -> int:
        """Return the number of processes on this machine."""
        if self.n_workers is not None:
            return self.n_workers
        return 0 if self.address != ANY_PORT else max(1, len(tf.config.list_physical_devices("GPU")))


def search(
    study: Study,
    trainer: Trainer,
    epochs: int,
    pool: WorkerPool,
    progress: Progress,
    show: Callable[[SearchProgress], None],
) -> None:
    """Search until a budget is spent or the space is exhausted, resuming an earlier search.

    Parameters
    ----------
    study
        An opened study.
    trainer
        Function of a module, or an instance of a class of one: it is pickled.
    epochs
        Epochs of a whole training.
    pool
        The workers.
    progress, show
        Get a line for each trial that ends, and the progress several times a second.

    Raises
    ------
    CsKerasError
        When the search fails by no fault of a trial: the study cannot be written, the dataset not be read, or the
        address is in use.
    """
    refuse_links(*(study.folder / name for name in (CHIEF, "trials", HPARAMS_FOLDER)))
    with _lock_study(study):
        remove(study.folder / DONE)
        oracle = make_oracle(study, epochs)
        logged = {trial for trial in oracle.end_order if is_logged(study, trial)}
        chief, n_workers = Chief(oracle, pool.lease_s), pool.count()
        address = chief.start(pool.address)
        if not n_workers:
            progress.log(f"the chief listens on {address}")
        workers = [
            _WorkerProcess(
                study, trainer, WorkerConfig(f"worker-{n}", address, pool.work), _share(n, n_workers)
            )
            for n in range(n_workers)
        ]
        try:
            while not chief.is_over():
                for worker in workers:
                    worker.restart_if_killed()
                report_ended(study, oracle, logged, progress)
                show(measure_progress(study, oracle))
                time.sleep(POLL_S)
            report_ended(study, oracle, logged, progress)
            with atomic_write(study.folder / DONE, "w") as file:
                file.write("")
            for worker in workers:
                worker.child.wait(5.0)
            if not workers:
                time.sleep(CLOSING_S)
        finally:
            for worker in workers:
                worker.child.kill()
            chief.stop()


class _WorkerProcess:
    """A worker in a process of its own, which is restarted if it was killed."""

    def __init__(
        self, study: Study, trainer: Trainer, worker: WorkerConfig, environment: dict[str, str]
    ) -> None:
        self._arguments, self._environment = (study, trainer, worker), environment
        self._name, self._starts = worker.name, 0
        self.child = self._start()

    def _start(self) -> Child:
        self._starts += 1
        return Child(work, self._arguments, self._environment)

    def restart_if_killed(self) -> None:
        """Restart the process if it was killed; raise CsKerasError if it failed, or is killed again and again."""
        exit_code = self.child.exit_code
        if exit_code is None or exit_code == 0:
            return
        if exit_code > 0:
            raise CsKerasError(self.child.error or f"{self._name} failed for an unknown reason.")
        if self._starts >= MAX_STARTS:
            raise CsKerasError(
                f"{self._name} was killed {self._starts} times, last by signal {-exit_code}; the same command "
                "resumes."
            )
        self.child = self._start()


def _share(number: int, n_workers: int) -> dict[str, str]:
    """Return the environment that gives a worker one of the GPUs, or its share of the processor cores."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")}
    n_gpus = len(tf.config.list_physical_devices("GPU"))
    if n_gpus:
        return {**environment, "CUDA_VISIBLE_DEVICES": str(number % n_gpus)}
    if n_workers > 1:
        environment["TF_NUM_INTRAOP_THREADS"] = str(max(1, (os.cpu_count() or 1) // n_workers))
    return environment


def report_ended(study: Study, oracle: DurableOracle, logged: set[str], progress: Progress) -> None:
    """Report trials that have ended and are not in `logged`, and write the best one's settings."""
    ended = list(oracle.end_order)
    new = [trial for trial in ended if trial not in logged]
    best = find_best(study, ended) if new else None
    if best is not None:
        write_best(study, best)
    for trial in new:
        logged.add(trial)
        record = study.read_trial(trial)
        if record is None:
            continue
        result = (
            f"{study.search.objective} {record.score:.4f}"
            if record.score is not None
            else f"failed, {record.cause}: {record.reason}"
        )
        progress.log(f"trial {trial}: {result}; {measure_progress(study, oracle).describe()}")
        log_trial(study, record)  # last: a resumed search takes a logged trial for a reported one


@contextlib.contextmanager
def _lock_study(study: Study) -> Iterator[None]:
    """Reserve a study on disk for one chief; in a bucket that is impossible.

    The lock has a folder of its own: taking a lock removes temporary files of killed processes in its folder and
    below, and in the folders of trials workers may be writing.
    """
    folder = study.folder
    if is_remote(folder):
        yield
        return
    with locked(folder / CHIEF):
        for path in folder.glob(f".*{TEMPORARY}"):
            if is_temporary(path.name):
                path.unlink(missing_ok=True)
        yield
