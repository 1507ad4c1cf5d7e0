"""A study with its parameters and the trials that ended."""

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cs_keras.run_files.study import StudyRecord, TrialRecord


@dataclass(frozen=True)
class Parameter:
    """A parameter of the search: a number, or a choice between levels.

    Attributes
    ----------
    levels : tuple
        Levels of a choice; empty for a number.
    ordered : bool
        Whether the levels have an order.
    log : bool
        Whether a number is searched on a logarithmic scale.
    """

    name: str
    levels: tuple[Any, ...] = ()
    ordered: bool = True
    log: bool = False


@dataclass(frozen=True)
class Study:
    """A study folder: at least one ended trial, in order of their numbers.

    Attributes
    ----------
    n_open : int
        Trials begun and not ended.
    left_out : tuple of str
        Why ended trials could not be read.
    """

    folder: Path
    settings: StudyRecord
    parameters: tuple[Parameter, ...]
    trials: tuple[TrialRecord, ...]
    n_open: int = 0
    left_out: tuple[str, ...] = ()

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
        """The parameters that are not alike in all trials: in their value, or in being active."""
        return tuple(
            parameter
            for parameter in self.parameters
            if len({trial.parameters.get(parameter.name) for trial in self.trials}) > 1
        )


def score_of(trial: TrialRecord) -> float:
    """Return the score of a completed trial."""
    return typing.cast(float, trial.score)
