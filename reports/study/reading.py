"""Study folders, read and checked: ``study.json``, each ``trial.json``, and the objective of each query."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import CsKerasError, DataError
from cs_keras.run_files.names import BEST_FILE, STUDY_FILE, TRIAL_FILE, VALIDATION_FILE
from cs_keras.run_files.records import mismatch
from cs_keras.run_files.study import StudyRecord, TrialRecord
from cs_keras.runs import read_npz
from reports.study.records import Parameter, Study

STUDY_FILES = (  # all that is read of a study
    STUDY_FILE,
    BEST_FILE,
    f"trials/*/{TRIAL_FILE}",
    f"trials/*/execution-*/{VALIDATION_FILE}",
)
HYPERBAND_EPOCHS = Parameter("hyperband.epochs", log=True)  # what Hyperband allots varies as a parameter does

Float64Array = npt.NDArray[np.float64]


def read_study(folder: Path) -> Study:
    """Read a study and its ended trials; return the reasons for trials that cannot be read, too.

    Raises the error of ``study.json``, or of the first trial if none can be read; DataError if none has ended.
    """
    settings = StudyRecord.read(folder)
    parameters = [_parameter(i, entry, folder / STUDY_FILE) for i, entry in enumerate(settings.space)]
    folders = sorted(filter(Path.is_dir, folder.glob("trials/*")), key=lambda one: (len(one.name), one.name))
    ended = [one for one in folders if (one / TRIAL_FILE).exists()]
    if not ended:
        raise DataError(
            f"{folder} contains no finished trial: expected trials/NUMBER/{TRIAL_FILE}.  "
            f"Received: {len(folders)} unfinished trials."
        )
    trials, errors = _read_trials(ended, {parameter.name: parameter for parameter in parameters})
    if not trials:
        raise errors[0]
    if any(trial.hyperband for trial in trials):
        parameters.append(HYPERBAND_EPOCHS)
    n_open, left_out = len(folders) - len(ended), tuple(map(str, errors))
    return Study(folder, settings, tuple(parameters), tuple(trials), n_open, left_out)


def read_queries(folder: Path, trial: TrialRecord) -> Float64Array:
    """Read the objective of each validation query of a completed trial, the mean over its executions.

    Float64 of shape (n_queries,), NaN where the objective is not defined; a query is a track or a playlist.
    """
    executions: list[Float64Array] = []
    for number in range(len(trial.executions)):
        path = folder / "trials" / trial.trial / f"execution-{number}" / VALIDATION_FILE
        values = read_npz(path, "per_query")["per_query"]
        if values.ndim != 1 or not values.size or values.dtype.kind != "f" or np.isinf(values).any():
            raise DataError(
                f"{path}: per_query must have one number or NaN per query, shape (n_queries,). "
                f"Received: shape {values.shape}, dtype {values.dtype}."
            )
        if executions and len(values) != len(executions[0]):
            raise mismatch(path, "per_query", f"of {len(executions[0])} queries", len(values))
        executions.append(values.astype(np.float64))
    return np.asarray(np.mean(executions, axis=0), dtype=np.float64)


def _parameter(number: int, entry: Any, path: Path) -> Parameter:
    """Return an entry of Keras Tuner's search space as a parameter."""
    match entry:
        case {"class_name": "Float" | "Int", "config": {"name": str(name), **config}}:
            return Parameter(name, log=config.get("sampling") == "log")
        case {"class_name": "Boolean", "config": {"name": str(name)}}:
            return Parameter(name, (False, True))
        case {"class_name": "Fixed", "config": {"name": str(name), "value": value}}:
            return Parameter(name, (value,))
        case {"class_name": "Choice", "config": {"name": str(name), "values": [*values]}}:
            return Parameter(name, tuple(values))
    expected = "a Choice, Float, Int, Boolean or Fixed with a name and its values"
    raise mismatch(path, f"space.{number}", expected, entry)


def _read_trials(
    folders: Sequence[Path], parameters: Mapping[str, Parameter]
) -> tuple[list[TrialRecord], list[CsKerasError]]:
    """Return the trials that could be read, and the errors of those that could not."""
    trials: list[TrialRecord] = []
    errors: list[CsKerasError] = []
    for folder in folders:
        try:
            trials.append(_read_trial(folder, parameters))
        except CsKerasError as error:
            errors.append(error)
    return trials, errors


def _read_trial(folder: Path, parameters: Mapping[str, Parameter]) -> TrialRecord:
    path, trial = folder / TRIAL_FILE, TrialRecord.read(folder)
    if trial.trial != folder.name:
        raise mismatch(path, "trial", f"{folder.name}, as its folder is called", trial.trial)
    for name, value in trial.parameters.items():
        _check_value(parameters.get(name), name, value, path)
    if trial.hyperband is None:
        return trial
    allotted = {HYPERBAND_EPOCHS.name: trial.hyperband.epochs}
    return dataclasses.replace(trial, parameters={**trial.parameters, **allotted})


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
