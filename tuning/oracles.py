"""Keras Tuner's oracles with a state on disk that is consistent after any process is killed.

Keras Tuner writes its state to many files, one after another and not atomically, and a kill can leave them
inconsistent: a trial that is in no bracket, or half a file. Here the state is one file, replaced atomically after
each change and before any worker sees it. Also, the trial of a lost worker goes to another, a trial that ends twice
counts once, parameters keep all their digits, failed trials do not block a bracket, and searches end by budgets.
"""

import time
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner import HyperParameters
from keras_tuner.engine.oracle import Oracle
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle
from sklearn.exceptions import ConvergenceWarning

from cs_keras.errors import DataError
from cs_keras.run_files.names import ORACLE_FILE
from cs_keras.run_files.study import ExecutionOutcome
from cs_keras.runs import read_json, write_json
from cs_keras.storage.location import is_file
from tuning.records import issue_plan, make_record
from tuning.space import to_space
from tuning.study import POINT, Study

MAX_LOSSES = 5  # of workers on one trial, after which the trial has failed
MAX_REPEATS = 200  # points drawn in a row that were tried before, after which a space counts as exhausted


class DurableOracle(Oracle):  # type: ignore[misc]
    """Base class of a study's oracles; see the module's documentation.

    Parameters
    ----------
    study
        The study, with its folder and budgets.
    **settings
        Arguments of the oracle of Keras Tuner.
    """

    def __init__(self, study: Study, **settings: Any) -> None:
        self.study = study
        self.is_exhausted = False  # no trial is running and none will be started
        self._earlier_s, self._began = 0.0, time.monotonic()
        self._losses: dict[str, int] = {}
        self._retry_queue: list[str] = []
        super().__init__(
            objective=keras_tuner.Objective(study.search.objective, study.goal.direction),
            seed=study.search.seed + 1,  # Keras Tuner takes 0 for no seed
            max_consecutive_failed_trials=None,  # the search continues after failed trials
            **settings,
        )
        self._max_collisions = MAX_REPEATS
        self.verbose = 0

    @property
    def seconds(self) -> float:
        """Time of searching in seconds, over all sessions."""
        return self._earlier_s + time.monotonic() - self._began

    def create_trial(self, tuner_id: str) -> Trial:
        """Return a trial for a worker: with status IDLE if it should try again later, STOPPED at the end."""
        if tuner_id not in self.ongoing_trials and not self._retry_queue and self._is_spent():
            trial = Trial(HyperParameters(), "none", TrialStatus.STOPPED)
        else:
            trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.RUNNING:
            issue_plan(self.study, trial.trial_id, trial.hyperparameters.values, self.seconds)
        if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
            trial.status = TrialStatus.IDLE  # the worker may take over the trial of a lost one
        self.is_exhausted = trial.status == TrialStatus.STOPPED
        return trial

    def end_by_record(self, trial_id: str) -> None:
        """End a trial by the record that its worker wrote; a second call has no effect."""
        record = self.study.read_trial(trial_id)
        if trial_id in self.end_order or record is None:
            return
        ended = self.trials[trial_id]
        ended.status = TrialStatus.COMPLETED if record.status == "completed" else TrialStatus.FAILED
        ended.message = record.reason
        if record.score is not None:
            self.update_trial(trial_id, {self.objective.name: record.score})
        self._retry_queue = [waiting for waiting in self._retry_queue if waiting != trial_id]
        # Keras Tuner does this after it has saved: after a kill in between, the trial would be ended and running.
        self._take_from_worker(trial_id)
        self.end_trial(ended)

    def reassign(self, trial_id: str) -> None:
        """Give the trial of a lost worker to the next one; a trial that lost too many workers fails."""
        self._losses[trial_id] = self._losses.get(trial_id, 0) + 1
        trial = self.trials[trial_id]
        if self.study.read_trial(trial_id) is None and self._losses[trial_id] > MAX_LOSSES:
            reason = f"its worker was lost {MAX_LOSSES + 1} times"
            lost = ExecutionOutcome(cause="lost", reason=reason)
            record = make_record(self.study, trial_id, [lost], "", self.seconds)
            record.write(self.study.trial_folder(trial_id))
        self.end_by_record(trial_id)
        if self._take_from_worker(trial_id):
            trial.status = TrialStatus.INVALID  # until it is started again
            self._retry_queue.append(trial_id)
        self.save()

    def save(self) -> None:
        """Replace the state on disk, trials included."""
        state = {
            "state": self.get_state(),
            "trials": [trial.get_state() for trial in self.trials.values()],
            "seconds": self.seconds,
            "losses": self._losses,
        }
        write_json(self.study.folder / ORACLE_FILE, state)

    def reload(self) -> None:
        """Load the state of an earlier search, if there was one.

        Running trials stay with their workers, which may still train them or return; those that have a record are
        ended by it.

        Raises
        ------
        DataError
            When the file is not one that `save` wrote.
        """
        path = self.study.folder / ORACLE_FILE
        if not is_file(path):
            return
        saved = read_json(path)
        try:
            self.trials = {state["trial_id"]: Trial.from_state(state) for state in saved["trials"]}
            self.set_state(saved["state"])
            self._earlier_s, self._losses = float(saved["seconds"]), dict(saved["losses"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} is not a file of `cs-keras tune`, or damaged: {error!r}.") from error
        for trial in list(self.ongoing_trials.values()):
            self.end_by_record(trial.trial_id)

    def _take_from_worker(self, trial_id: str) -> bool:
        """Remove a trial from the running ones, and return whether it was one."""
        workers = [w for w, trial in self.ongoing_trials.items() if trial.trial_id == trial_id]
        for worker in workers:
            del self.ongoing_trials[worker]
        return bool(workers)

    def _save_trial(self, trial: Trial) -> None:
        """Do nothing: `save` writes the trials too."""

    def _is_spent(self) -> bool:
        """Return whether a budget is spent."""
        search = self.study.search
        records = (
            [self.study.read_trial(trial_id) for trial_id in self.end_order] if search.max_epochs else []
        )
        epochs = sum(e.epochs for record in records if record for e in record.executions)
        return (
            bool(search.max_trials and len(self.trials) >= search.max_trials)
            or bool(search.max_time_s and self.seconds >= search.max_time_s)
            or bool(search.max_epochs and epochs >= search.max_epochs)
        )


class RandomOracle(DurableOracle, RandomSearchOracle):  # type: ignore[misc]
    """Random search without repeated points."""


class BayesianOracle(DurableOracle, BayesianOptimizationOracle):  # type: ignore[misc]
    """Bayesian optimisation with a Gaussian process, after some random points."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the next point: a random one where Keras Tuner proposes one that was tried before.

        The seed of its optimiser is set by the number of trials: a resumed study proposes the same points as one
        without an interruption.
        """
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        with warnings.catch_warnings():  # a few scores do not determine the kernel
            warnings.simplefilter("ignore", ConvergenceWarning)
            response: dict[str, Any] = super().populate_space(trial_id)
        values = response.get("values")
        return self._random_populate_space() if values and self._duplicate(values) else response


class HalvingOracle(DurableOracle, HyperbandOracle):  # type: ignore[misc]
    """Hyperband: many trials for few epochs, the best of them for more."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the next point, promoting a trial as soon as it is certain to be among the best of its round.

        Keras Tuner waits for a fixed number of completed trials: it never promotes in place of a failed trial, nor
        in a bracket for which a small space has too few points.
        """
        filled = [b for b in self._brackets if len(b["rounds"][0]) >= self._get_size(b["bracket_num"], 0)]
        promoted = self._promote_from(filled, trial_id)
        if promoted is not None:
            return promoted
        response = dict(super().populate_space(trial_id))
        if response["status"] == TrialStatus.RUNNING:
            return response
        return self._promote_from(self._brackets, trial_id) or response

    def _promote_from(self, brackets: Iterable[Mapping[str, Any]], trial_id: str) -> dict[str, Any] | None:
        points = (self._promote(bracket, trial_id) for bracket in brackets)
        return next((point for point in points if point is not None), None)

    def _promote(self, bracket: Mapping[str, Any], trial_id: str) -> dict[str, Any] | None:
        """Return the point of a trial that is among the best of its round, or None.

        Failed trials count as the worst, and so do those that a round lacks because too few were promoted to it.
        """
        number, rounds = bracket["bracket_num"], bracket["rounds"]
        n_alive = len(rounds[0])
        for step in range(1, len(rounds)):
            size, past_size = self._get_size(number, step), self._get_size(number, step - 1)
            chosen = {entry["past_id"] for entry in rounds[step]}
            past = [self.trials[entry["id"]] for entry in rounds[step - 1]]
            completed = [t for t in past if t.status == TrialStatus.COMPLETED and t.trial_id not in chosen]
            n_alive = min(n_alive, past_size) - sum(trial.status == TrialStatus.FAILED for trial in past)
            n_worst = past_size - n_alive
            if completed and len(completed) + n_worst > past_size - size and len(chosen) < size:
                best = (max if self.objective.direction == "max" else min)(completed, key=lambda t: t.score)
                rounds[step].append({"past_id": best.trial_id, "id": trial_id})
                values = dict(best.hyperparameters.values)
                values["tuner/trial_id"] = best.trial_id
                values["tuner/epochs"] = self._get_epochs(number, step)
                values["tuner/initial_epoch"] = self._get_epochs(number, step - 1)
                values["tuner/bracket"], values["tuner/round"] = number, step
                return {"status": TrialStatus.RUNNING, "values": values}
        return None


class ListOracle(DurableOracle):
    """Grid search: given points, one after another."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the next point; status STOPPED after the last."""
        names = list(self.study.record.points)
        if len(self.trials) >= len(names):
            return {"status": TrialStatus.STOPPED, "values": None}
        return {"status": TrialStatus.RUNNING, "values": {POINT: names[len(self.trials)]}}


def make_oracle(study: Study, epochs: int) -> DurableOracle:
    """Return the oracle of a study, with the state of an earlier search if there was one.

    Parameters
    ----------
    study
        The study.
    epochs
        Epochs of a whole training: those of the last round of hyperband.

    Raises
    ------
    StorageError, DataError
        When the state of an earlier search cannot be read.
    """
    search = study.search
    space = to_space(study.record.space, {})
    oracle: DurableOracle
    if search.tuner == "grid":
        points = HyperParameters()
        points.Choice(POINT, list(study.record.points))
        oracle = ListOracle(study, hyperparameters=points)
    elif search.tuner == "hyperband":
        oracle = HalvingOracle(study, max_epochs=epochs, factor=search.factor, hyperparameters=space)
    elif search.tuner == "bayesian":
        n_random = max(3, min(3 * len(space.space), search.max_trials // 3)) if search.max_trials else 10
        oracle = BayesianOracle(study, max_trials=None, num_initial_points=n_random, hyperparameters=space)
    else:
        oracle = RandomOracle(study, max_trials=None, hyperparameters=space)
    oracle.reload()
    return oracle
