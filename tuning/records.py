"""What is written of a trial: its plan when it is begun, its starts, and its record when it has ended."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cs_keras import config
from cs_keras.models import get_baseline
from cs_keras.models.spec import Baseline
from cs_keras.runs import read_json, write_json
from cs_keras.storage.location import is_file
from tuning.parameter import encoded
from tuning.space import changes_at, flatten, parameters_of, to_space
from tuning.study import POINT, TRIAL_FILE, Study

RECORD_VERSION = 1
PLAN_FILE = "plan.json"
STARTS_FILE = "starts.json"
OWN = "tuner/"  # begins the names of what hyperband adds to a trial's values


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a trial is to be.

    Attributes
    ----------
    values
        Of all parameters, and what hyperband adds.
    started_s, issued_s
        Seconds of searching when it was first, and last, given to a worker.
    """

    values: Mapping[str, Any]
    started_s: float
    issued_s: float

    @property
    def until(self) -> int | None:
        """After how many epochs it stops; None: as its settings say."""
        epochs = self.values.get(f"{OWN}epochs")
        return None if epochs is None else int(epochs)

    @property
    def continued(self) -> str | None:
        """The trial that it goes on from, if any."""
        trial = self.values.get(f"{OWN}trial_id")
        return None if trial is None else str(trial)


def write_plan(study: Study, trial: str, values: Mapping[str, Any], now_s: float) -> None:
    """Write what a trial is to be when it is given to a worker, the first time or once more."""
    path = study.trial_folder(trial) / PLAN_FILE
    started_s = read_json(path)["started_s"] if is_file(path) else now_s
    write_json(path, dataclasses.asdict(Plan(dict(values), started_s, now_s)))


def read_plan(study: Study, trial: str) -> Plan:
    """Read what `write_plan` wrote; StorageError when it cannot be."""
    return Plan(**read_json(study.trial_folder(trial) / PLAN_FILE))


def note_start(study: Study, trial: str, after: str) -> None:
    """Write down that a trial is begun, or gone on with, and after what."""
    path = study.trial_folder(trial) / STARTS_FILE
    write_json(path, [*(read_json(path) if is_file(path) else []), after])


def settings_of(study: Study, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested settings, laid over the model's own, that a trial's values stand for."""
    if POINT in values:
        return config.merge(study.base, study.points[values[POINT]])
    own = {name: value for name, value in values.items() if not name.startswith(OWN)}
    return config.merge(study.base, changes_at(start_of(study), to_space(study.space, own)))


def start_of(study: Study) -> Baseline:
    """Return what a search starts from: the model's own settings with those that are the same for all trials."""
    return start_from(study.search.model, study.base)


def start_from(key: str, base: Mapping[str, Any]) -> Baseline:
    """Return a model's own settings with those of `base` that are a baseline's, not a run's."""
    baseline = get_baseline(key)
    names = {field.name for field in dataclasses.fields(baseline)}
    return config.replace(baseline, {name: value for name, value in base.items() if name in names})


def make_record(
    study: Study, trial: str, outcomes: Sequence[Mapping[str, Any]], worker: str, ended_s: float
) -> dict[str, Any]:
    """Return the record of a trial that has ended.

    Parameters
    ----------
    study, trial
        Which one.
    outcomes
        Of its executions in order, as the trainer leaves them: all with metrics, or the last one with a cause.
    worker
        Name of who ran it.
    ended_s
        Seconds of searching when it ended.
    """
    plan, last = read_plan(study, trial), outcomes[-1]
    failed = "cause" in last
    scores = [outcome["metrics"][study.search.objective] for outcome in outcomes] if not failed else []
    told = ("metrics", "epochs", "best_epoch", "seconds")
    return {
        "schema_version": RECORD_VERSION,
        "trial": trial,
        "status": "failed" if failed else "completed",
        "reason": last["reason"] if failed else None,
        "cause": last["cause"] if failed else None,
        "parameters": _parameters(study, plan),
        "settings": settings_of(study, plan.values),
        "score": statistics.fmean(scores) if scores else None,
        "spread": statistics.stdev(scores) if len(scores) > 1 else None,
        "executions": [
            {"seed": study.search.seed + n, **{name: outcome[name] for name in told}}
            for n, outcome in enumerate(outcomes)
            if "cause" not in outcome
        ],
        "n_weights": last["n_weights"],
        "interruptions": _interruptions(study, trial),
        "worker": worker,
        "started_s": plan.started_s,
        "ended_s": ended_s,
        "hyperband": _hyperband(plan),
    }


def write_record(study: Study, record: Mapping[str, Any]) -> None:
    """Write the record of a trial that has ended."""
    write_json(study.trial_folder(record["trial"]) / TRIAL_FILE, dict(record))


def _parameters(study: Study, plan: Plan) -> dict[str, Any]:
    if POINT in plan.values:
        point = {name: encoded(v) for name, v in flatten(study.points[plan.values[POINT]])}
        return parameters_of(to_space(study.space, {}), point)
    return parameters_of(to_space(study.space, {}), plan.values)


def _interruptions(study: Study, trial: str) -> list[str]:
    path = study.trial_folder(trial) / STARTS_FILE
    return list(read_json(path))[1:] if is_file(path) else []


def _hyperband(plan: Plan) -> dict[str, Any] | None:
    if plan.until is None:
        return None
    places = {name: plan.values[f"{OWN}{name}"] for name in ("bracket", "round")}
    return {**places, "from_trial": plan.continued, "epochs": plan.until}
