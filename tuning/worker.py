"""A worker: requests trials from the chief, trains each in a process of its own, and writes its record."""

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
from keras_tuner.oracles import RandomSearchOracle  # a stand-in for the chief's oracle

from cs_keras.errors import CsKerasError, StorageError
from cs_keras.run_files.names import METRICS_FILE, OUTCOME_FILE, VALIDATION_FILE
from cs_keras.run_files.study import ExecutionOutcome, TrialPlan, TrialRecord
from cs_keras.runs import digest
from cs_keras.storage.location import Location, is_file, is_remote, read_bytes, write_bytes
from cs_keras.training.executions import Execution, Trainer
from tuning.chief import SECRET_KEY, read_secret
from tuning.processes import Child
from tuning.records import make_record, note_start, settings_of
from tuning.study import Study

REPORT_FILES = (VALIDATION_FILE, METRICS_FILE, OUTCOME_FILE)  # the last shows that the others are complete
HEARTBEAT_S = 2.0
PAUSE_S = 0.3  # between requests to a chief that has no trial yet
ANSWER_S = 10.0  # after which a request that the chief does not answer is repeated
MAX_CRASHES = 2  # of one execution without an error message, after which its trial has failed


@dataclasses.dataclass(frozen=True)
class WorkerConfig:
    """A worker's name and addresses.

    Attributes
    ----------
    name
        Name among the workers of a study, by which a restarted worker resumes its trial.
    chief
        ``HOST:PORT`` of the chief.
    work
        Folder on this machine for trainings, where the study is behind a URL.
    patience_s
        Seconds to wait for a chief that does not answer.
    """

    name: str
    chief: str
    work: Path | None = None
    patience_s: float = 600.0


def work(study: Study, trainer: Trainer, worker: WorkerConfig) -> None:
    """Run trials until the chief has no more.

    Raises
    ------
    CsKerasError
        When something fails by no fault of a trial, or the chief does not answer.
    """
    host, _, port = worker.chief.rpartition(":")
    os.environ.update(KERASTUNER_TUNER_ID=worker.name, KERASTUNER_ORACLE_IP=host, KERASTUNER_ORACLE_PORT=port)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            StudyTuner(study, trainer, worker).search()  # Keras Tuner prints to standard output
    except _ChiefGoneError as error:
        if not study.is_done():
            raise StorageError(
                f"The chief at {worker.chief} has not answered for {worker.patience_s:.0f} seconds; start this "
                "worker again once the chief is back."
            ) from error
    except errors.FatalError as error:
        raise CsKerasError(str(error)) from error


class StudyTuner(BaseTuner):  # type: ignore[misc]
    """A tuner of Keras Tuner that trains each trial in a process of its own."""

    def __init__(self, study: Study, trainer: Trainer, worker: WorkerConfig) -> None:
        self._study, self._trainer, self._worker = study, trainer, worker
        with tempfile.TemporaryDirectory() as unused:  # Keras Tuner makes a folder in any case
            objective = keras_tuner.Objective(study.search.objective, study.goal.direction)
            super().__init__(RandomSearchOracle(objective), directory=unused, project_name="worker")
        self.oracle.stub = _PatientStub(self.oracle.stub, study, worker.patience_s)
        self._requested = 0.0

    def save(self) -> None:
        """Do nothing: the chief has the state."""

    def reload(self) -> None:
        """Do nothing: the chief has the state."""

    def pre_create_trial(self) -> None:
        """Pause between requests to a chief that has no trial yet."""
        time.sleep(max(0.0, self._requested + PAUSE_S - time.monotonic()))
        self._requested = time.monotonic()

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Train a trial, write its record, and return its score."""
        try:
            record = self._study.read_trial(trial.trial_id) or self._run(trial.trial_id)
        except CsKerasError as error:
            raise errors.FatalError(str(error)) from error
        except errors.FatalError:
            raise
        except Exception as error:  # Keras Tuner would count it as a failure of the trial
            traceback.print_exc()
            raise errors.FatalError(f"{type(error).__name__}: {error}") from error
        # A score for a failed trial too, for which Keras Tuner else prints a trace: the chief reads the record.
        return {self._study.search.objective: math.nan if record.score is None else record.score}

    def _run(self, trial: str) -> TrialRecord:
        began, study = time.monotonic(), self._study
        plan = TrialPlan.read(study.trial_folder(trial))
        self._note_start(trial)
        outcomes: list[ExecutionOutcome] = []
        while len(outcomes) < study.search.executions and not (outcomes and outcomes[-1].cause):
            outcomes.append(self._execute(trial, len(outcomes)))
        ended = study.read_trial(trial)
        if ended is not None:  # by another worker, after this one or that one counted as lost
            return ended
        ended_s = plan.issued_s + time.monotonic() - began
        record = make_record(study, trial, outcomes, self._worker.name, ended_s)
        record.write(study.trial_folder(trial))
        return record

    def _execute(self, trial: str, number: int) -> ExecutionOutcome:
        """Return the outcome of one training, which is read if it exists."""
        stored = self._study.trial_folder(trial) / f"execution-{number}"
        if is_file(stored / OUTCOME_FILE):
            return ExecutionOutcome.read(stored)
        folder = self._folder(trial, number)
        outcome = self._train(trial, self._execution(trial, number), folder)
        if is_remote(stored):
            for name in REPORT_FILES:
                if (folder / name).exists():
                    write_bytes(stored / name, read_bytes(folder / name))
        return outcome

    def _train(self, trial: str, execution: Execution, folder: Path) -> ExecutionOutcome:
        """Train in a process, and send the chief heartbeats meanwhile."""
        for _ in range(MAX_CRASHES + 1):
            kills_before = _memory_kills()
            child = Child(self._trainer, (execution, folder), {})
            try:
                while not child.wait(HEARTBEAT_S):
                    self.oracle.get_trial(trial)
            finally:
                child.kill()
            error = child.error
            if (folder / OUTCOME_FILE).exists():
                return ExecutionOutcome.read(folder)
            if child.exit_code == 1 and error:
                raise CsKerasError(error)
            if _memory_kills() > kills_before:
                return self._failed(folder, "memory", "the system killed it because memory ran out")
            if child.exit_code == 2 and error:
                return self._failed(folder, "crashed", error)
        n_ends = MAX_CRASHES + 1
        reason = f"its process ended {n_ends} times without an error message, exit status {child.exit_code}"
        return self._failed(folder, "crashed", reason)

    def _failed(self, folder: Path, cause: str, reason: str) -> ExecutionOutcome:
        outcome = ExecutionOutcome(cause=cause, reason=reason.rstrip("."))
        outcome.write(folder)
        return outcome

    def _execution(self, trial: str, number: int) -> Execution:
        study, plan = self._study, TrialPlan.read(self._study.trial_folder(trial))
        search = study.search
        changes = {**settings_of(study, plan.values), "seed": search.seed + number}
        earlier = self._folder(plan.continued, number) if plan.continued else None
        return Execution(
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
        """Record the epoch after which this machine starts or resumes a trial."""
        epochs = sorted(self._folder(trial, 0).parent.glob("execution-*/checkpoint/epoch-?????"))
        after = f"epoch {int(epochs[-1].name.removeprefix('epoch-'))}" if epochs else "the start"
        note_start(self._study, trial, after)

    def _folder(self, trial: str, number: int) -> Path:
        return self._root() / "trials" / trial / f"execution-{number}"

    def _root(self) -> Path:
        """Return the folder on this machine for trainings."""
        folder: Location = self._study.folder
        if not is_remote(folder):
            return Path(folder)
        name = f"cs-keras-{digest(str(folder))[:16]}"
        return self._worker.work or Path(tempfile.gettempdir()) / name


class _ChiefGoneError(errors.FatalError):  # type: ignore[misc]
    """The chief does not answer, or the search is over."""


class _PatientStub:
    """Repeats requests until the chief answers: it may be starting or restarting."""

    def __init__(self, stub: Any, study: Study, patience_s: float) -> None:
        self._stub, self._study, self._patience_s = stub, study, patience_s
        secret = read_secret()
        self._metadata = [(SECRET_KEY, secret)] if secret else []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._stub, name)

        def request_patiently(request: Any, **_: Any) -> Any:
            since = time.monotonic()
            while True:
                try:
                    return call(request, wait_for_ready=True, timeout=ANSWER_S, metadata=self._metadata)
                except grpc.RpcError as error:
                    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                        raise errors.FatalError(f"The chief refused a request: {error.details()}") from error
                    if self._study.is_done() or time.monotonic() - since > self._patience_s:
                        raise _ChiefGoneError from error

        return request_patiently


def _memory_kills() -> int:
    """Return the number of processes that Linux has killed because memory ran out; 0 on other systems."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
