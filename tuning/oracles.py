"""Keras Tuner's oracles, made to outlive whatever is killed.

Upstream keeps its state in many files, written one after another and not atomically, so a kill can part them: a
trial that no bracket knows of, or half a file. Here all of it is one file, replaced whole after each change and
before anybody is told of it. Besides, a trial of a worker that is gone goes to another, one that ends twice counts
once, its parameters keep all their digits, failed trials do not hold up a bracket, and searches end by budgets.
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
from cs_keras.run_files.study import ExecutionOutcome, write_trial
from cs_keras.runs import read_json, write_json
from cs_keras.storage.location import is_file
from tuning.records import issue_plan, make_record
from tuning.space import to_space
from tuning.study import POINT, Study

MAX_LOSSES = 5  # of workers on one trial, after which it is taken for what kills them
MAX_REPEATS = 200  # points drawn in a row that were tried before, after which a space counts as exhausted


class DurableOracle(Oracle):  # type: ignore[misc]
    """What the oracles of a study have in common; see the module.

    Parameters
    ----------
    study
        Folder and budgets.
    **settings
        Of the upstream oracle.
    """

    def __init__(self, study: Study, **settings: Any) -> None:
        self.study = study
        self.is_exhausted = False  # no trial is under way and none will be begun
        self._earlier_s, self._began = 0.0, time.monotonic()
        self._losses: dict[str, int] = {}
        self._retry_queue: list[str] = []
        super().__init__(
            objective=keras_tuner.Objective(study.search.objective, study.search.goal.direction),
            seed=study.search.seed + 1,  # upstream takes 0 for no seed
            max_consecutive_failed_trials=None,  # they are counted, and the search goes on
            **settings,
        )
        self._max_collisions = MAX_REPEATS
        self.verbose = 0

    @property
    def seconds(self) -> float:
        """Time of searching, summed over sittings."""
        return self._earlier_s + time.monotonic() - self._began

    def create_trial(self, tuner_id: str) -> Trial:
        """Return a trial for a worker; one with status IDLE where it should ask again, STOPPED at the end."""
        if tuner_id not in self.ongoing_trials and not self._retry_queue and self._is_spent():
            trial = Trial(HyperParameters(), "none", TrialStatus.STOPPED)
        else:
            trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.RUNNING:
            issue_plan(self.study, trial.trial_id, trial.hyperparameters.values, self.seconds)
        if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
            trial.status = TrialStatus.IDLE  # it may yet take over the trial of a worker that is lost
        self.is_exhausted = trial.status == TrialStatus.STOPPED
        return trial

    def end_by_record(self, trial_id: str) -> None:
        """Take the end of a trial from its record, which its worker has left; a second time changes nothing."""
        record = self.study.read_trial(trial_id)
        if trial_id in self.end_order or record is None:
            return
        ended = self.trials[trial_id]
        ended.status = TrialStatus.COMPLETED if record.status == "completed" else TrialStatus.FAILED
        ended.message = record.reason
        if record.score is not None:
            self.update_trial(trial_id, {self.objective.name: record.score})
        self._retry_queue = [waiting for waiting in self._retry_queue if waiting != trial_id]
        # Upstream does this once it has saved: a kill in between would leave it ended and under way, for good.
        self._take_from_worker(trial_id)
        self.end_trial(ended)

    def take_back(self, trial_id: str) -> None:
        """Give the trial of a worker that is gone to the next that asks; after too many it has failed."""
        self._losses[trial_id] = self._losses.get(trial_id, 0) + 1
        trial = self.trials[trial_id]
        if self.study.read_trial(trial_id) is None and self._losses[trial_id] > MAX_LOSSES:
            reason = f"its worker was lost {MAX_LOSSES + 1} times"
            lost = ExecutionOutcome(cause="lost", reason=reason)
            record = make_record(self.study, trial_id, [lost], "", self.seconds)
            write_trial(self.study.trial_folder(trial_id), record)
        self.end_by_record(trial_id)
        if self._take_from_worker(trial_id):
            trial.status = TrialStatus.INVALID  # until it is begun again
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
        """Go on where an earlier search was left, if there was one.

        Trials that were under way stay with their workers, who may still be at them or come back for them; of those
        that have ended meanwhile the end is taken.

        Raises
        ------
        DataError
            When the state is not as `save` writes it.
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
            raise DataError(f"{path} is not as `cs-keras tune` writes it: {error!r}.") from error
        for trial in list(self.ongoing_trials.values()):
            self.end_by_record(trial.trial_id)

    def _take_from_worker(self, trial_id: str) -> bool:
        """Have a trial no longer under way, and tell whether it was."""
        workers = [w for w, trial in self.ongoing_trials.items() if trial.trial_id == trial_id]
        for worker in workers:
            del self.ongoing_trials[worker]
        return bool(workers)

    def _save_trial(self, trial: Trial) -> None:
        """Do nothing: `save` keeps the trials too."""

    def _is_spent(self) -> bool:
        """Tell whether a budget leaves nothing for another trial."""
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
    """Points drawn at random, none twice."""


class BayesianOracle(DurableOracle, BayesianOptimizationOracle):  # type: ignore[misc]
    """Points where a Gaussian process promises most, after some drawn at random."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the next point: where upstream proposes one that was tried before, one drawn at random.

        Where the search for it starts depends on how many trials there are, and not on how often upstream has drawn
        since the process began: a study that goes on proposes what one without a break would.
        """
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        with warnings.catch_warnings():  # a few scores tell little about how fast they change
            warnings.simplefilter("ignore", ConvergenceWarning)
            response: dict[str, Any] = super().populate_space(trial_id)
        values = response.get("values")
        return self._random_populate_space() if values and self._duplicate(values) else response


class HalvingOracle(DurableOracle, HyperbandOracle):  # type: ignore[misc]
    """Hyperband: many trials for few epochs, the best of them for more."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the next point, promoting trials as soon as it is known that they belong to a round's best.

        Upstream waits until as many have completed as must; a failed trial never does, and then whoever was to be
        promoted in its place is not. Nor does it promote in a bracket for which a small space had too few points.
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
        """Return the point of a trial that is among the best of its round.

        Those that have failed count as worst, and so do those that a round will never have, because too few went on
        to it.
        """
        number, rounds = bracket["bracket_num"], bracket["rounds"]
        n_alive = len(rounds[0])
        for place in range(1, len(rounds)):
            size, past_size = self._get_size(number, place), self._get_size(number, place - 1)
            chosen = {entry["past_id"] for entry in rounds[place]}
            past = [self.trials[entry["id"]] for entry in rounds[place - 1]]
            completed = [t for t in past if t.status == TrialStatus.COMPLETED and t.trial_id not in chosen]
            n_alive = min(n_alive, past_size) - sum(trial.status == TrialStatus.FAILED for trial in past)
            n_worst = past_size - n_alive
            if completed and len(completed) + n_worst > past_size - size and len(chosen) < size:
                best = (max if self.objective.direction == "max" else min)(completed, key=lambda t: t.score)
                rounds[place].append({"past_id": best.trial_id, "id": trial_id})
                values = dict(best.hyperparameters.values)
                values["tuner/trial_id"] = best.trial_id
                values["tuner/epochs"] = self._get_epochs(number, place)
                values["tuner/initial_epoch"] = self._get_epochs(number, place - 1)
                values["tuner/bracket"], values["tuner/round"] = number, place
                return {"status": TrialStatus.RUNNING, "values": values}
        return None


class ListOracle(DurableOracle):
    """Given points, one after another."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the next point, or the end."""
        names = list(self.study.points)
        if len(self.trials) >= len(names):
            return {"status": TrialStatus.STOPPED, "values": None}
        return {"status": TrialStatus.RUNNING, "values": {POINT: names[len(self.trials)]}}


def make_oracle(study: Study, epochs: int) -> DurableOracle:
    """Return the oracle of a study as it was left, or a new one.

    Parameters
    ----------
    study
        What is searched.
    epochs
        Of a whole training: what the last round of hyperband gets.

    Raises
    ------
    StorageError, DataError
        When the state of an earlier search cannot be read.
    """
    search = study.search
    space = to_space(study.space, {})
    oracle: DurableOracle
    if search.tuner == "grid":
        points = HyperParameters()
        points.Choice(POINT, list(study.points))
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
