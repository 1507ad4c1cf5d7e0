"""A study with its parameters and the trials that ended."""

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cs_keras.run_files.study import StudyRecord, TrialRecord


@dataclass(frozen=True)
class Parameter:
    """A parameter of the search: a number, or a choice between levels."""

    name: str
    levels: tuple[Any, ...] = ()  # of a choice; empty for a number
    log: bool = False  # whether a number is searched on a logarithmic scale


@dataclass(frozen=True)
class Study:
    """A study folder: at least one ended trial, in order of their numbers."""

    folder: Path
    settings: StudyRecord
    parameters: tuple[Parameter, ...]
    trials: tuple[TrialRecord, ...]
    n_open: int = 0  # trials begun and not ended
    left_out: tuple[str, ...] = ()  # why ended trials could not be read

    @property
    def ranked(self) -> tuple[TrialRecord, ...]:
        """The completed trials, best first."""
        completed = [trial for trial in self.trials if trial.status == "completed"]
        return tuple(sorted(completed, key=lambda trial: self.sign * score_of(trial), reverse=True))

    @property
    def failed(self) -> tuple[TrialRecord, ...]:
        """The failed trials, in order."""
        return tuple(trial for trial in self.trials if trial.status == "failed")

    @property
    def sign(self) -> int:
        """1 where a higher score is better, else −1."""
        return 1 if self.settings.direction == "max" else -1

    @property
    def varied(self) -> tuple[Parameter, ...]:
        """The parameters that differ between trials, in their value or in being active."""
        return tuple(
            parameter
            for parameter in self.parameters
            if len({trial.parameters.get(parameter.name) for trial in self.trials}) > 1
        )


def score_of(trial: TrialRecord) -> float:
    """Return the score of a completed trial."""
    return typing.cast(float, trial.score)
