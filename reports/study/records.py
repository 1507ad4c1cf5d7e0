"""A study: what was searched, and each trial that ended."""

import statistics
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEST_FILE = "best.toml"  # settings of the best trial


@dataclass(frozen=True)
class Parameter:
    """A parameter of the search: a number, or a choice between levels.

    Attributes
    ----------
    levels : tuple
        Of a choice; empty for a number.
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
class Execution:
    """One training of a trial; metrics are those of `best_epoch`, counted from 1."""

    metrics: dict[str, float | None]
    epochs: int
    best_epoch: int
    seconds: float


@dataclass(frozen=True)
class Allotment:
    """What Hyperband gave a trial."""

    epochs: int


@dataclass(frozen=True)
class Trial:
    """A trial that ended: completed, with a score and executions, or failed, with a cause and a reason.

    Attributes
    ----------
    parameters : dict
        Text, numbers or truth values by name, of the parameters that were active.
    score, spread : float, optional
        Mean of the objective over executions and their sample standard deviation.
    n_weights : int, optional
        Trainable parameters of the model.
    """

    trial: str
    status: str
    parameters: dict[str, Any]
    reason: str | None = None
    cause: str | None = None
    score: float | None = None
    spread: float | None = None
    executions: tuple[Execution, ...] = ()
    n_weights: int | None = None
    hyperband: Allotment | None = None

    @property
    def seconds(self) -> float:
        """Time of one training, the mean over executions."""
        return statistics.fmean(execution.seconds for execution in self.executions)


@dataclass(frozen=True)
class StudySettings:
    """What is searched, on which data and by what."""

    model: str
    dataset: str
    data_digest: str
    factors: str
    tuner: str
    objective: str
    direction: str
    executions: int
    seed: int
    attributes: dict[str, tuple[str, ...]] | None = None


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
    settings: StudySettings
    parameters: tuple[Parameter, ...]
    trials: tuple[Trial, ...]
    n_open: int = 0
    left_out: tuple[str, ...] = ()

    @property
    def ranked(self) -> tuple[Trial, ...]:
        """The completed trials, best first."""
        completed = [trial for trial in self.trials if trial.status == "completed"]
        return tuple(sorted(completed, key=lambda trial: self.sign * score_of(trial), reverse=True))

    @property
    def failed(self) -> tuple[Trial, ...]:
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


def score_of(trial: Trial) -> float:
    """Return the score of a completed trial."""
    return typing.cast(float, trial.score)
