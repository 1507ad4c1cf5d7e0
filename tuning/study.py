"""A study: the record of a search in a folder that many processes may share, on disk or in a bucket."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cs_keras import config
from cs_keras.config import check_choice, check_range
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.evaluation.objective import SearchObjective, parse_objective
from cs_keras.run_files import study as run_files
from cs_keras.run_files.names import STUDY_FILE, TRIAL_FILE
from cs_keras.run_files.study import StudyRecord, TrialRecord
from cs_keras.storage.location import Location, is_file

TUNERS = ("random", "hyperband", "bayesian", "grid")
DONE = "DONE"
POINT = "point"  # the one parameter of a grid: the name of one of its points
BUDGET = ("max_trials", "max_epochs", "max_time_s")  # may change when a study is resumed
LOCATIONS = ("dataset", "attributes")  # may change too: a digest identifies the data


@dataclasses.dataclass(frozen=True)
class Search:
    """The settings of a search.

    Attributes
    ----------
    model
        Model key.
    tuner
        ``random``, ``hyperband``, ``bayesian``, or ``grid``: every combination, or every point of a grid file.
    objective
        ``val_loss``, ``val_overlap@K`` or ``val_ndcg@K``.
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
        parse_objective(self.objective)
        for name in ("max_trials", "max_epochs", "max_time_s", "prune_after"):
            check_range(name, getattr(self, name), 0)
        check_range("executions", self.executions, 1)
        check_range("seed", self.seed, 0, 2**32 - 1 - self.executions)
        check_range("factor", self.factor, 2)
        if self.tuner in ("random", "bayesian") and not any(getattr(self, name) for name in BUDGET):
            raise ConfigError(
                f"A {self.tuner} search never ends by itself: limit trials, epochs or time. Received: no limit."
            )

    @property
    def goal(self) -> SearchObjective:
        """The objective, parsed."""
        return parse_objective(self.objective)


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A study's folder and the content of its ``study.json``.

    Attributes
    ----------
    folder
        Folder or URL that all processes of the study share.
    search
        Settings of the search.
    dataset, factors, data_digest
        Folder or URL of the dataset, name of its factors, and digest of both.
    base
        Settings laid over the model's own, the same for all trials.
    space
        Search space, as ``keras_tuner.HyperParameters.get_config()["space"]`` gives it.
    points
        Nested settings of every trial of a grid by name; empty for other tuners.
    attributes
        Options of ``cs-keras run-baselines`` for the table of attributes, if any: name to values.
    """

    folder: Location
    search: Search
    dataset: str
    factors: str
    data_digest: str
    base: Mapping[str, Any]
    space: list[dict[str, Any]]
    points: Mapping[str, Mapping[str, Any]]
    attributes: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    def trial_folder(self, trial: str) -> Location:
        """Return the folder of a trial."""
        return self.folder / "trials" / trial

    def is_done(self) -> bool:
        """Return whether the search has ended."""
        return is_file(self.folder / DONE)

    def read_trial(self, trial: str) -> TrialRecord | None:
        """Return the record of an ended trial, None for others."""
        folder = self.trial_folder(trial)
        return run_files.read_trial(folder) if is_file(folder / TRIAL_FILE) else None

    @functools.cached_property
    def record(self) -> StudyRecord:
        """The content of ``study.json``."""
        return StudyRecord(
            **config.to_dict(self.search),
            direction=self.search.goal.direction,
            dataset=self.dataset,
            factors=self.factors,
            data_digest=self.data_digest,
            base=dict(self.base),
            space=self.space,
            points={name: dict(settings) for name, settings in self.points.items()},
            attributes={name: list(values) for name, values in self.attributes.items()},
        )


def needs_search(study: Study) -> bool:
    """Return whether a study is new, was interrupted, or ended on another budget than its present one."""
    if not study.is_done():
        return True
    begun = read_study(study.folder).search
    return any(getattr(begun, name) != getattr(study.search, name) for name in BUDGET)


def open_study(study: Study) -> None:
    """Write a new study to its folder, or check that the folder holds the same one.

    Raises
    ------
    ConfigError
        When the folder holds another study; the message names the first difference. Budgets and locations of data
        may differ.
    StorageError
        When the folder cannot be read or written.
    """
    path = study.folder / STUDY_FILE
    if is_file(path):
        begun = run_files.read_study(study.folder)
        for name in (field.name for field in dataclasses.fields(StudyRecord)):
            old, value = getattr(begun, name), getattr(study.record, name)
            if name not in (*BUDGET, *LOCATIONS) and old != value:
                raise ConfigError(
                    f"{study.folder} holds another study, whose {name} is {_short(old)}: give this one a "
                    f"folder of its own (--study). Received: {_short(value)}."
                )
    if isinstance(study.folder, Path):
        try:
            study.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Cannot make the folder {study.folder}: {error.strerror}.") from error
    run_files.write_study(study.folder, study.record)


def read_study(folder: Location) -> Study:
    """Read ``study.json``.

    Raises
    ------
    StorageError
        When there is none or it cannot be read.
    DataError
        When it is of another version or not as `open_study` writes it.
    """
    path = folder / STUDY_FILE
    if not is_file(path):
        raise StorageError(
            f"{folder} is not a study: expected a folder with {STUDY_FILE}, as `cs-keras tune` makes it."
        )
    record = run_files.read_study(folder)
    try:
        search = Search(**{field.name: getattr(record, field.name) for field in dataclasses.fields(Search)})
    except ConfigError as error:
        raise DataError(f"{path} is not as `cs-keras tune` writes it: {error}.") from error
    names = ("dataset", "factors", "data_digest", "base", "space", "points", "attributes")
    return Study(folder, search, **{name: getattr(record, name) for name in names})


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
