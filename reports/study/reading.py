"""Study folders, read and checked: ``study.json``, each ``trial.json``, and the objective of each query."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import CsKerasError, DataError
from cs_keras.run_files.records import check_version, mismatch, to_record
from cs_keras.runs import read_json, read_npz
from reports.runs.folders import STUDY_FILE
from reports.study.records import BEST_FILE, Parameter, Study, StudySettings, Trial

TRIAL_FILE = "trial.json"
QUERIES_FILE = "validation.npz"
STUDY_FILES = (  # all that is read of a study
    STUDY_FILE,
    BEST_FILE,
    f"trials/*/{TRIAL_FILE}",
    f"trials/*/execution-*/{QUERIES_FILE}",
)
SCHEMA_VERSION = 1
HYPERBAND_EPOCHS = Parameter("hyperband.epochs", log=True)  # what Hyperband allots varies as a parameter does

Float64Array = npt.NDArray[np.float64]


def read_study(folder: Path) -> Study:
    """Read a study and its ended trials; of those that cannot be read, why.

    Raises
    ------
    StorageError
        When ``study.json``, or every ended trial, cannot be read or is not JSON.
    DataError
        When ``study.json``, or every ended trial, is not what this version reads, or no trial has ended.
    """
    settings, parameters = _read_settings(folder / STUDY_FILE)
    folders = sorted(filter(Path.is_dir, folder.glob("trials/*")), key=lambda one: (len(one.name), one.name))
    ended = [one for one in folders if (one / TRIAL_FILE).exists()]
    if not ended:
        raise DataError(
            f"{folder} holds no trial that has ended: expected trials/NUMBER/{TRIAL_FILE}. "
            f"Received: {len(folders)} trials that have not."
        )
    trials, errors = _read_trials(ended, {parameter.name: parameter for parameter in parameters})
    if not trials:
        raise errors[0]
    if any(trial.hyperband for trial in trials):
        parameters.append(HYPERBAND_EPOCHS)
    n_open, left_out = len(folders) - len(ended), tuple(map(str, errors))
    return Study(folder, settings, tuple(parameters), tuple(trials), n_open, left_out)


def read_queries(folder: Path, trial: Trial) -> Float64Array:
    """Read the objective of each validation track or playlist, the mean over a completed trial's executions.

    Parameters
    ----------
    folder
        Of the study.
    trial
        One that completed.

    Returns
    -------
    numpy.ndarray, shape (n_queries,), float64
        NaN where the objective is not defined.

    Raises
    ------
    StorageError
        When a file cannot be read.
    DataError
        When a file holds something else, or the executions do not have the same queries.
    """
    executions: list[Float64Array] = []
    for number in range(len(trial.executions)):
        path = folder / "trials" / trial.trial / f"execution-{number}" / QUERIES_FILE
        values = read_npz(path, "per_query")["per_query"]
        if values.ndim != 1 or not values.size or values.dtype.kind != "f" or np.isinf(values).any():
            raise DataError(
                f"{path}: per_query must be one number or NaN a query, shape (n_queries,). "
                f"Received: shape {values.shape}, dtype {values.dtype}."
            )
        if executions and len(values) != len(executions[0]):
            raise mismatch(path, "per_query", f"of {len(executions[0])} queries", len(values))
        executions.append(values.astype(np.float64))
    return np.asarray(np.mean(executions, axis=0), dtype=np.float64)


@dataclass(frozen=True)
class _ParameterConfig:
    """What matters here of a Keras Tuner hyperparameter."""

    name: str
    values: tuple[Any, ...] = ()
    value: Any = None
    ordered: bool = True
    sampling: str | None = None


@dataclass(frozen=True)
class _SpaceEntry:
    class_name: str
    config: _ParameterConfig


@dataclass(frozen=True)
class _Space:
    """What ``keras_tuner.HyperParameters.get_config()`` lists."""

    space: tuple[_SpaceEntry, ...]


def _read_settings(path: Path) -> tuple[StudySettings, list[Parameter]]:
    content = read_json(path)
    check_version(content, path, (SCHEMA_VERSION,))
    settings = to_record(StudySettings, content, path)
    if settings.direction not in ("min", "max"):
        raise mismatch(path, "direction", "min or max", settings.direction)
    return settings, [_parameter(entry, path) for entry in to_record(_Space, content, path).space]


def _parameter(entry: _SpaceEntry, path: Path) -> Parameter:
    config = entry.config
    match entry.class_name:
        case "Float" | "Int":
            return Parameter(config.name, log=config.sampling == "log")
        case "Boolean":
            return Parameter(config.name, (False, True))
        case "Fixed":
            return Parameter(config.name, (config.value,))
        case "Choice":
            return Parameter(config.name, config.values, config.ordered)
    raise mismatch(path, config.name, "a Choice, Float, Int, Boolean or Fixed", entry.class_name)


def _read_trials(
    folders: Sequence[Path], parameters: Mapping[str, Parameter]
) -> tuple[list[Trial], list[CsKerasError]]:
    """Return the trials that could be read, and the errors of those that could not."""
    trials: list[Trial] = []
    errors: list[CsKerasError] = []
    for folder in folders:
        try:
            trials.append(_read_trial(folder, parameters))
        except CsKerasError as error:
            errors.append(error)
    return trials, errors


def _read_trial(folder: Path, parameters: Mapping[str, Parameter]) -> Trial:
    path = folder / TRIAL_FILE
    content = read_json(path)
    check_version(content, path, (SCHEMA_VERSION,))
    trial = to_record(Trial, content, path)
    if trial.trial != folder.name:
        raise mismatch(path, "trial", f"{folder.name}, as its folder is called", trial.trial)
    _check_outcome(trial, path)
    for name, value in trial.parameters.items():
        _check_value(parameters.get(name), name, value, path)
    if trial.hyperband is None:
        return trial
    allotted = {HYPERBAND_EPOCHS.name: trial.hyperband.epochs}
    return dataclasses.replace(trial, parameters={**trial.parameters, **allotted})


def _check_outcome(trial: Trial, path: Path) -> None:
    """Raise DataError unless a completed trial has what it reached, and a failed one why it failed."""
    needed = {"completed": ("score", "executions"), "failed": ("reason", "cause")}
    if trial.status not in needed:
        raise mismatch(path, "status", "completed or failed", trial.status)
    for name in needed[trial.status]:
        if getattr(trial, name) in (None, ()):
            raise DataError(f"{path} lacks {name}, which a {trial.status} trial must have.")


def _check_value(parameter: Parameter | None, name: str, value: Any, path: Path) -> None:
    """Raise DataError unless a trial's value is one that the search can have drawn."""
    if parameter is None:
        raise mismatch(path, "parameters", f"those that {STUDY_FILE} lists", name)
    if type(value) not in (str, int, float, bool):
        raise mismatch(path, name, "text, a number, true or false", value)
    if parameter.levels and value not in parameter.levels:
        raise mismatch(path, name, f"one of {', '.join(map(str, parameter.levels))}", value)
    if not parameter.levels and (type(value) not in (int, float) or not abs(value) < np.inf):
        raise mismatch(path, name, "a finite number", value)
    if parameter.log and not value > 0:
        raise mismatch(path, name, "a number above 0", value)
