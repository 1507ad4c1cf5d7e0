"""A search on this machine: the chief in this process, workers in others, and what is left when it is over."""

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
from tuning.chief import FAREWELL_S, Chief
from tuning.hparams import is_logged, log_trial
from tuning.oracles import DurableOracle, make_oracle
from tuning.order import Trainer
from tuning.processes import Child
from tuning.study import DONE, Study
from tuning.view import Standing, standing
from tuning.winner import find_best, write_best
from tuning.worker import BEAT_S, Place, work

CHIEF = ".chief"  # folder of a study that its chief keeps to itself
POLL_S = 0.2
MAX_STARTS = 20  # of one worker that is killed before it ends a trial


@dataclasses.dataclass(frozen=True)
class Team:
    """Who searches.

    Attributes
    ----------
    workers
        Processes on this machine; 0 where all are elsewhere.
    address
        ``HOST:PORT`` on which the chief listens; port 0 is a free one.
    lease_s
        Seconds without a sign of life after which a worker's trial is given to another.
    work
        Folder on this machine for trainings, where the study is behind a URL.
    """

    workers: int = 1
    address: str = "127.0.0.1:0"
    lease_s: float = 60.0
    work: Path | None = None

    def __post_init__(self) -> None:
        check_range("--workers", self.workers, 0)
        check_range("--lease", self.lease_s, 2 * BEAT_S)  # else it ends while the worker is at work


def search(
    study: Study,
    trainer: Trainer,
    epochs: int,
    team: Team,
    progress: Progress,
    show: Callable[[Standing], None],
) -> None:
    """Search until a budget is spent or the space is exhausted; what was begun earlier goes on.

    Parameters
    ----------
    study
        Opened.
    trainer
        Function of a module, or an instance of a class of one: it is pickled.
    epochs
        Of a whole training.
    team
        Who searches.
    progress, show
        Are told of each trial that ends, and often of how far the search has come.

    Raises
    ------
    CsKerasError
        What is not a trial's fault: the study cannot be written, the dataset not read, the address not had.
    """
    with _alone(study):
        remove(study.folder / DONE)
        oracle = make_oracle(study, epochs)
        told = {trial for trial in oracle.end_order if is_logged(study, trial)}
        chief = Chief(oracle, team.lease_s)
        address = chief.start(team.address)
        if not team.workers:
            progress.log(f"the chief listens on {address}")
        crew = [
            _Worker(study, trainer, Place(f"worker-{n}", address, team.work), team.workers)
            for n in range(team.workers)
        ]
        try:
            while not chief.is_over():
                for worker in crew:
                    worker.keep_going()
                _tell(study, oracle, told, progress)
                show(standing(study, oracle))
                time.sleep(POLL_S)
            _tell(study, oracle, told, progress)
            with atomic_write(study.folder / DONE, "w") as file:
                file.write("")
            for worker in crew:
                worker.wait(5.0)
            if not crew:
                time.sleep(FAREWELL_S)
        finally:
            for worker in crew:
                worker.kill()
            chief.stop()


class _Worker:
    """A worker's process, started again when something has killed it."""

    def __init__(self, study: Study, trainer: Trainer, place: Place, n_workers: int) -> None:
        self._arguments, self._place = (study, trainer, place), place
        self._environment = _share(int(place.name.rpartition("-")[2]), n_workers)
        self._starts = 0
        self._child = self._start()

    def _start(self) -> Child:
        self._starts += 1
        return Child(work, self._arguments, self._environment)

    def keep_going(self) -> None:
        """Start it again if it was killed; raise CsKerasError if it has failed."""
        if self._child.exit_code is None:
            return
        if self._child.exit_code > 0:
            raise CsKerasError(self._child.error or f"{self._place.name} failed for an unknown reason.")
        if self._child.exit_code < 0:
            if self._starts >= MAX_STARTS:
                raise CsKerasError(
                    f"{self._place.name} was killed {self._starts} times, last by signal {-self._child.exit_code}; "
                    "the same command goes on."
                )
            self._child = self._start()

    def wait(self, seconds: float) -> None:
        """Wait for its end, at most so long."""
        self._child.wait(seconds)

    def kill(self) -> None:
        """End it now."""
        self._child.kill()


def _share(number: int, n_workers: int) -> dict[str, str]:
    """Return the environment that gives a worker one of the GPUs, or its part of the processor."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")}
    n_gpus = len(tf.config.list_physical_devices("GPU"))
    if n_gpus:
        return {**environment, "CUDA_VISIBLE_DEVICES": str(number % n_gpus)}
    if n_workers > 1:
        environment["TF_NUM_INTRAOP_THREADS"] = str(max(1, (os.cpu_count() or 1) // n_workers))
    return environment


def _tell(study: Study, oracle: DurableOracle, told: set[str], progress: Progress) -> None:
    """Report trials that have ended since, and keep the best one's settings on file."""
    ended = list(oracle.end_order)
    new = [trial for trial in ended if trial not in told]
    best = find_best(study, ended) if new else None
    if best is not None:
        write_best(study, best)
    for trial in new:
        told.add(trial)
        record = study.read_trial(trial)
        if record is None:
            continue
        came_out = (
            f"{study.search.objective} {record.score:.4f}"
            if record.score is not None
            else f"failed, {record.cause}: {record.reason}"
        )
        progress.log(f"trial {trial}: {came_out}; {standing(study, oracle).describe(study.search.objective)}")
        log_trial(study, record)  # last: by this a search that goes on knows that all of it was told


@contextlib.contextmanager
def _alone(study: Study) -> Iterator[None]:
    """Keep a study on disk to one chief; in a bucket nothing can.

    The lock has a folder of its own, since who takes one removes what killed writers have left in its folder and
    below: in those of the trials, workers may be writing.
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
