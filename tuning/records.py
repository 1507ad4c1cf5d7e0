"""The files of a trial: its plan, its starts and its record."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cs_keras import config
from cs_keras.models import get_baseline
from cs_keras.models.spec import Baseline
from cs_keras.run_files.names import PLAN_FILE, STARTS_FILE
from cs_keras.run_files.study import (
    HYPERBAND,
    ExecutionOutcome,
    ExecutionRecord,
    HyperbandRound,
    TrialPlan,
    TrialRecord,
)
from cs_keras.runs import read_json, write_json
from cs_keras.storage.location import is_file
from tuning.parameter import encoded
from tuning.space import changes_at, flatten, parameters_of, to_space
from tuning.study import POINT, Study


def issue_plan(study: Study, trial: str, values: Mapping[str, Any], now_s: float) -> None:
    """Write the plan of a trial when it is given to a worker, for the first time or again."""
    folder = study.trial_folder(trial)
    started_s = TrialPlan.read(folder).started_s if is_file(folder / PLAN_FILE) else now_s
    TrialPlan(dict(values), started_s, now_s).write(folder)


def note_start(study: Study, trial: str, after: str) -> None:
    """Record that a trial is started or resumed, and after which epoch."""
    path = study.trial_folder(trial) / STARTS_FILE
    write_json(path, [*(read_json(path) if is_file(path) else []), after])


def settings_of(study: Study, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested settings, laid over the model's own, of a trial with these values."""
    if POINT in values:
        return config.merge(study.record.base, study.record.points[values[POINT]])
    own = {name: value for name, value in values.items() if not name.startswith(HYPERBAND)}
    return config.merge(study.record.base, changes_at(start_of(study), to_space(study.record.space, own)))


def start_of(study: Study) -> Baseline:
    """Return the settings that a search starts from: the model's own with those that all trials share."""
    return start_from(study.search.model, study.record.base)


def start_from(key: str, base: Mapping[str, Any]) -> Baseline:
    """Return a model's own settings with those of `base`, without settings of runs."""
    baseline = get_baseline(key)
    names = {field.name for field in dataclasses.fields(baseline)}
    return config.replace(baseline, {name: value for name, value in base.items() if name in names})


def make_record(
    study: Study, trial: str, outcomes: Sequence[ExecutionOutcome], worker: str, ended_s: float
) -> TrialRecord:
    """Return the record of a trial that has ended.

    Parameters
    ----------
    study, trial
        The study and the number of the trial.
    outcomes
        Outcomes of its executions in order: all were completed, or the last one failed.
    worker
        Name of the worker that ran it.
    ended_s
        Seconds of searching when it ended.
    """
    plan, last = TrialPlan.read(study.trial_folder(trial)), outcomes[-1]
    completed = [one for one in outcomes if one.cause is None]
    scores = [one.metrics[study.search.objective] for one in completed] if last.cause is None else []
    return TrialRecord(
        trial=trial,
        status="completed" if scores else "failed",
        reason=last.reason,
        cause=last.cause,
        parameters=_parameters(study, plan),
        settings=settings_of(study, plan.values),
        score=statistics.fmean(scores) if scores else None,
        spread=statistics.stdev(scores) if len(scores) > 1 else None,
        executions=tuple(
            ExecutionRecord(study.search.seed + n, dict(one.metrics), one.epochs, one.best_epoch, one.seconds)
            for n, one in enumerate(completed)
        ),
        n_weights=last.n_weights,
        interruptions=_interruptions(study, trial),
        worker=worker,
        started_s=plan.started_s,
        ended_s=ended_s,
        hyperband=_hyperband(plan),
    )


def _parameters(study: Study, plan: TrialPlan) -> dict[str, Any]:
    if POINT in plan.values:
        point = {name: encoded(v) for name, v in flatten(study.record.points[plan.values[POINT]])}
        return parameters_of(to_space(study.record.space, {}), point)
    return parameters_of(to_space(study.record.space, {}), plan.values)


def _interruptions(study: Study, trial: str) -> tuple[str, ...]:
    path = study.trial_folder(trial) / STARTS_FILE
    return tuple(read_json(path))[1:] if is_file(path) else ()


def _hyperband(plan: TrialPlan) -> HyperbandRound | None:
    if plan.until is None:
        return None
    bracket, number = (plan.values[f"{HYPERBAND}{name}"] for name in ("bracket", "round"))
    return HyperbandRound(plan.until, bracket, number, plan.continued)
