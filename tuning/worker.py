"""A worker: asks the chief for trials, has each trained in a process of its own, and leaves its record."""

import contextlib
import dataclasses
import math
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import keras_tuner
from keras_tuner import errors
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial
from keras_tuner.oracles import RandomSearchOracle  # stands for the chief's

from cs_keras.errors import CsKerasError, StorageError
from cs_keras.run_files.names import METRICS_FILE, OUTCOME_FILE, VALIDATION_FILE
from cs_keras.run_files.study import (
    ExecutionOutcome,
    TrialRecord,
    read_outcome,
    read_plan,
    write_outcome,
    write_trial,
)
from cs_keras.runs import digest
from cs_keras.storage.location import Location, is_file, is_remote, read_bytes, write_bytes
from tuning.order import Order, Trainer
from tuning.processes import Child
from tuning.records import make_record, note_start, settings_of
from tuning.study import Study

TOLD_FILES = (
    VALIDATION_FILE,
    METRICS_FILE,
    OUTCOME_FILE,
)  # for reports; by the last the others are there
BEAT_S = 2.0  # from one sign of life to the next
PAUSE_S = 0.3  # before a chief that has nothing yet is asked again
ANSWER_S = 10.0  # after which a chief that does not answer is asked again
MAX_CRASHES = 2  # of one execution without a word, after which it is the trial that has failed


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a worker works.

    Attributes
    ----------
    name
        Its name among the workers of a study; one that comes back under its name gets its trial back.
    chief
        ``HOST:PORT``.
    work
        Folder on this machine for trainings, where the study itself is behind a URL.
    patience_s
        Seconds to wait for a chief that does not answer.
    """

    name: str
    chief: str
    work: Path | None = None
    patience_s: float = 600.0


def work(study: Study, trainer: Trainer, place: Place) -> None:
    """Run trials until the chief has no more.

    Raises
    ------
    CsKerasError
        When something fails that is not a trial's fault, or the chief is gone for good.
    """
    host, _, port = place.chief.rpartition(":")
    os.environ.update(KERASTUNER_TUNER_ID=place.name, KERASTUNER_ORACLE_IP=host, KERASTUNER_ORACLE_PORT=port)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            StudyTuner(study, trainer, place).search()  # upstream leaves prints of its own in
    except _ChiefGoneError as error:
        if not study.is_done():
            raise StorageError(
                f"The chief at {place.chief} has not answered for {place.patience_s:.0f} seconds; a worker that is "
                "started once it is back goes on."
            ) from error
    except errors.FatalError as error:
        raise CsKerasError(str(error)) from error


class StudyTuner(BaseTuner):  # type: ignore[misc]
    """Keras Tuner's worker, whose trials are processes."""

    def __init__(self, study: Study, trainer: Trainer, place: Place) -> None:
        self._study, self._trainer, self._place = study, trainer, place
        with tempfile.TemporaryDirectory() as unused:  # upstream makes a folder in any case
            objective = keras_tuner.Objective(study.search.objective, study.search.goal.direction)
            super().__init__(RandomSearchOracle(objective), directory=unused, project_name="worker")
        self.oracle.stub = _PatientStub(self.oracle.stub, study, place.patience_s)
        self._asked = 0.0

    def save(self) -> None:
        """Do nothing: the chief has the state."""

    def reload(self) -> None:
        """Do nothing: the chief has the state."""

    def pre_create_trial(self) -> None:
        """Wait a little, so that a chief that has nothing yet is not asked all the time."""
        time.sleep(max(0.0, self._asked + PAUSE_S - time.monotonic()))
        self._asked = time.monotonic()

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Have a trial trained, leave its record, and return its score."""
        try:
            record = self._study.read_trial(trial.trial_id) or self._run(trial.trial_id)
        except CsKerasError as error:
            raise errors.FatalError(str(error)) from error
        except errors.FatalError:
            raise
        except Exception as error:  # else upstream would take it for the trial's fault
            traceback.print_exc()
            raise errors.FatalError(f"{type(error).__name__}: {error}") from error
        # Of a failed one too, so that upstream prints no trace: the chief reads the record.
        return {self._study.search.objective: math.nan if record.score is None else record.score}

    def _run(self, trial: str) -> TrialRecord:
        began, study = time.monotonic(), self._study
        plan = read_plan(study.trial_folder(trial))
        self._note_start(trial)
        outcomes: list[ExecutionOutcome] = []
        while len(outcomes) < study.search.executions and not (outcomes and outcomes[-1].cause):
            outcomes.append(self._execute(trial, len(outcomes)))
        ended = study.read_trial(trial)
        if ended is not None:  # by another worker, who was taken for lost or took this one for it
            return ended
        ended_s = plan.issued_s + time.monotonic() - began
        record = make_record(study, trial, outcomes, self._place.name, ended_s)
        write_trial(study.trial_folder(trial), record)
        return record

    def _execute(self, trial: str, number: int) -> ExecutionOutcome:
        """Return the outcome of one training, which may be there already."""
        told = self._study.trial_folder(trial) / f"execution-{number}"
        if is_file(told / OUTCOME_FILE):
            return read_outcome(told)
        folder = self._folder(trial, number)
        order = self._order(trial, number)
        outcome = self._train(trial, order, folder)
        if is_remote(told):
            for name in TOLD_FILES:
                if (folder / name).exists():
                    write_bytes(told / name, read_bytes(folder / name))
        return outcome

    def _train(self, trial: str, order: Order, folder: Path) -> ExecutionOutcome:
        """Train in a process, telling the chief meanwhile that somebody is at it."""
        for _ in range(MAX_CRASHES + 1):
            kills_before = _memory_kills()
            child = Child(self._trainer, (order, folder), {})
            try:
                while not child.wait(BEAT_S):
                    self.oracle.get_trial(trial)
            finally:
                child.kill()
            error = child.error
            if (folder / OUTCOME_FILE).exists():
                return read_outcome(folder)
            if child.exit_code == 1 and error:
                raise CsKerasError(error)
            if _memory_kills() > kills_before:
                return self._failed(folder, "memory", "the system ended it for want of memory")
            if child.exit_code == 2 and error:
                return self._failed(folder, "crashed", error)
        reason = (
            f"its process ended {MAX_CRASHES + 1} times without a word, with exit status {child.exit_code}"
        )
        return self._failed(folder, "crashed", reason)

    def _failed(self, folder: Path, cause: str, reason: str) -> ExecutionOutcome:
        outcome = ExecutionOutcome(cause=cause, reason=reason.rstrip("."))
        write_outcome(folder, outcome)
        return outcome

    def _order(self, trial: str, number: int) -> Order:
        study, plan = self._study, read_plan(self._study.trial_folder(trial))
        search = study.search
        changes = {**settings_of(study, plan.values), "seed": search.seed + number}
        earlier = self._folder(plan.continued, number) if plan.continued else None
        return Order(
            search.model,
            changes,
            search.objective,
            search.prune_after,
            plan.until,
            earlier if earlier and earlier.exists() else None,
            self._root(),
            search.tuner == "hyperband",
        )

    def _note_start(self, trial: str) -> None:
        """Write down after what this trial is begun, or gone on with, on this machine."""
        epochs = sorted(self._folder(trial, 0).parent.glob("execution-*/checkpoint/epoch-?????"))
        after = f"epoch {int(epochs[-1].name.removeprefix('epoch-'))}" if epochs else "the start"
        note_start(self._study, trial, after)

    def _folder(self, trial: str, number: int) -> Path:
        return self._root() / "trials" / trial / f"execution-{number}"

    def _root(self) -> Path:
        """Return the folder on this machine that trainings write to."""
        folder: Location = self._study.folder
        if not is_remote(folder):
            return Path(folder)
        name = f"cs-keras-{digest(str(folder))[:16]}"
        return self._place.work or Path(tempfile.gettempdir()) / name


class _ChiefGoneError(errors.FatalError):  # type: ignore[misc]
    """Nobody answers, or the search is over."""


class _PatientStub:
    """Asks the chief until it answers: it may be starting, or starting again."""

    def __init__(self, stub: Any, study: Study, patience_s: float) -> None:
        self._stub, self._study, self._patience_s = stub, study, patience_s

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._stub, name)

        def ask(request: Any, **_: Any) -> Any:
            since = time.monotonic()
            while True:
                try:
                    return call(request, wait_for_ready=True, timeout=ANSWER_S)
                except grpc.RpcError as error:
                    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                        raise errors.FatalError(f"The chief has failed: {error.details()}") from error
                    if self._study.is_done() or time.monotonic() - since > self._patience_s:
                        raise _ChiefGoneError from error

        return ask


def _memory_kills() -> int:
    """Return how many processes the system has ended for want of memory; 0 where it does not count them."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
