"""``study.json``, ``plan.json``, ``outcome.json`` and ``trial.json``: a tuning study and its trials."""

import statistics
from dataclasses import dataclass, field, replace
from typing import Any, Self

from cs_keras.config import check_choice, check_range, update_names
from cs_keras.errors import ConfigError
from cs_keras.run_files.names import OUTCOME_FILE, PLAN_FILE, STUDY_FILE, TRIAL_FILE
from cs_keras.run_files.records import StoredRecord
from cs_keras.storage.location import Location, is_file

TUNERS = ("random", "hyperband", "bayesian", "grid")
BUDGET = ("max_trials", "max_epochs", "max_time_s")  # may change when a study is resumed
HYPERBAND = "tuner/"  # begins the names of the values that Hyperband adds to a trial's
_NEEDED = {"completed": ("score", "executions"), "failed": ("reason", "cause")}


@dataclass(frozen=True)
class Search:
    """The settings of a search.

    Attributes
    ----------
    model
        Model key.
    tuner
        ``random``, ``hyperband``, ``bayesian``, or ``grid``: every combination, or every point of a grid file.
    objective
        ``val_loss``, ``val_cosine``, ``val_overlap@K`` or ``val_ndcg@K``.
    max_trials, max_epochs, max_time_s
        Budgets: no trial is started after so many trials, epochs of all trials together, or seconds of searching; 0
        for no limit.
    executions
        Trainings of each trial (Keras Tuner's ``executions_per_trial``), with seeds `seed`, ``seed + 1`` and so on;
        their mean is its score.
    seed
        Seed of the search and of the trainings: trials differ in their settings alone.
    prune_after
        Epochs after which a trial that is no better than the mean predictor is pruned; 0 for never.
    factor
        Reduction factor of hyperband: one trial in so many is promoted, to as many times the epochs.
    """

    model: str
    tuner: str = "random"
    objective: str = "val_overlap@10"
    max_trials: int = 20
    max_epochs: int = 0
    max_time_s: float = 0.0
    executions: int = 1
    seed: int = 0
    prune_after: int = 3
    factor: int = 3

    def __post_init__(self) -> None:
        check_choice("tuner", self.tuner, TUNERS)
        for name in ("max_trials", "max_epochs", "max_time_s", "prune_after"):
            check_range(name, getattr(self, name), 0)
        check_range("executions", self.executions, 1)
        check_range("seed", self.seed, 0, 2**32 - 1 - self.executions)
        check_range("factor", self.factor, 2)
        if self.tuner in ("random", "bayesian") and not any(getattr(self, name) for name in BUDGET):
            raise ConfigError(
                f"A {self.tuner} search needs a limit of trials, epochs or time. Received: no limit."
            )


@dataclass(frozen=True, kw_only=True)
class StudyRecord(Search, StoredRecord):
    """The settings of a search, its data, and the settings that all trials share.

    Attributes
    ----------
    direction
        ``min`` or ``max`` of the objective.
    dataset, factors, data_digest
        Folder or URL of the dataset, name of its factors, and digest of both.
    base
        Settings that all trials share, laid over the model's own.
    space
        Search space, as ``keras_tuner.HyperParameters.get_config()["space"]`` gives it.
    points
        Settings of every trial of a grid by name; empty for other tuners.
    attributes
        Options of ``cs-keras run-baselines`` for the table of attributes, by name.
    """

    FILE = STUDY_FILE
    VERSIONS = (1,)

    schema_version: int = VERSIONS[-1]
    direction: str
    dataset: str
    factors: str
    data_digest: str
    base: dict[str, Any]
    space: list[dict[str, Any]]
    points: dict[str, dict[str, Any]] = field(default_factory=dict)
    attributes: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("direction", self.direction, ("min", "max"))

    @classmethod
    def read(cls, folder: Location) -> Self:
        """Read the file of a study, with settings by their current names; errors as for `read_record`."""
        record = super().read(folder)
        return replace(record, base=update_names(record.base), points=update_names(record.points))


@dataclass(frozen=True)
class TrialPlan(StoredRecord):
    """The values of a trial and when it was given to a worker.

    Attributes
    ----------
    values
        Values of all parameters, and those that Hyperband adds.
    started_s, issued_s
        Seconds of searching when it was first, and last, given to a worker.
    """

    FILE = PLAN_FILE

    values: dict[str, Any]
    started_s: float
    issued_s: float

    @property
    def until(self) -> int | None:
        """Epochs after which it stops; None for those of its settings."""
        epochs = self.values.get(f"{HYPERBAND}epochs")
        return None if epochs is None else int(epochs)

    @property
    def continued(self) -> str | None:
        """The trial whose training it continues, if any."""
        trial = self.values.get(f"{HYPERBAND}trial_id")
        return None if trial is None else str(trial)


@dataclass(frozen=True, kw_only=True)
class ExecutionOutcome(StoredRecord):
    """The result of one training, or why it failed.

    Attributes
    ----------
    metrics, epochs, best_epoch, seconds
        Metrics of the best epoch (counted from 1), epochs and duration of a training that was completed.
    n_weights
        Trainable parameters; None where the model could not be built.
    cause, reason
        Kind of failure and a sentence about it; None of a training that was completed.
    """

    FILE = OUTCOME_FILE

    metrics: dict[str, float] = field(default_factory=dict)
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0
    n_weights: int | None = None
    cause: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class ExecutionRecord:
    """One training of a trial; metrics are those of `best_epoch`, counted from 1."""

    seed: int
    metrics: dict[str, float | None]
    epochs: int
    best_epoch: int
    seconds: float


@dataclass(frozen=True)
class HyperbandRound:
    """Epochs that Hyperband gave a trial, the trial that it continues, and its place in the schedule."""

    epochs: int
    bracket: int = 0
    round: int = 0
    from_trial: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialRecord(StoredRecord):
    """A trial that ended: completed, with a score and executions, or failed, with a cause and a reason.

    Attributes
    ----------
    parameters
        Text, numbers or truth values by name, of the parameters that were active.
    settings
        Nested settings, laid over the model's own.
    score, spread
        Mean of the objective over executions and their sample standard deviation.
    n_weights
        Trainable parameters of the model.
    interruptions
        After which epoch each interrupted training was resumed.
    worker, started_s, ended_s
        Name of the worker, and seconds of searching when the trial began and ended.
    """

    FILE = TRIAL_FILE
    VERSIONS = (1,)

    schema_version: int = VERSIONS[-1]
    trial: str
    status: str
    reason: str | None = None
    cause: str | None = None
    parameters: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    spread: float | None = None
    executions: tuple[ExecutionRecord, ...] = ()
    n_weights: int | None = None
    interruptions: tuple[str, ...] = ()
    worker: str = ""
    started_s: float = 0.0
    ended_s: float = 0.0
    hyperband: HyperbandRound | None = None

    def __post_init__(self) -> None:
        if self.status not in _NEEDED:
            raise ValueError(f"status must be completed or failed. Received: {self.status!r}.")
        for name in _NEEDED[self.status]:
            if getattr(self, name) in (None, ()):
                raise ValueError(f"the file lacks {name}, which a {self.status} trial must have.")

    @property
    def seconds(self) -> float:
        """Mean duration of one training."""
        return statistics.fmean(execution.seconds for execution in self.executions)


def is_study(folder: Location) -> bool:
    """Return whether `folder`, local or behind a URL, is that of a study."""
    return is_file(folder / STUDY_FILE)
