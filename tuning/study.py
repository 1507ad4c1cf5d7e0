"""A study: what is searched, kept in a folder that many processes may share, on disk or in a bucket."""

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
# What may be another when a study goes on: it decides how far to search, not what.
BUDGET = ("max_trials", "max_epochs", "max_time_s")
PLACES = ("dataset", "attributes")  # where data lie may be another as well: a digest says what they are


@dataclasses.dataclass(frozen=True)
class Search:
    """What a study searches, and how far.

    Attributes
    ----------
    model
        Model key.
    tuner
        ``random``, ``hyperband``, ``bayesian``, or ``grid``: every combination, or every point of a grid file.
    objective
        ``val_loss``, ``val_overlap@K`` or ``val_ndcg@K``.
    max_trials, max_epochs, max_time_s
        No trial is begun after so many trials, epochs in all of them together, or seconds of searching; 0 for
        no limit.
    executions
        Trainings of each trial, with seeds `seed`, ``seed + 1`` and so on; their mean is its score.
    seed
        Of the search, and of the trainings: trials differ in their settings, not in their luck.
    prune_after
        A trial that is no better than the mean predictor after so many epochs is given up; 0 for never.
    factor
        Of hyperband: the share of trials, one in so many, that goes on with as many times the epochs.
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
                f"A {self.tuner} search has no end of its own: limit trials, epochs or time. Received: no limit."
            )

    @property
    def goal(self) -> SearchObjective:
        """The objective, parsed."""
        return parse_objective(self.objective)


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A study's folder, and what ``study.json`` in it says.

    Attributes
    ----------
    folder
        Shared by all processes of the study.
    search
        What is searched.
    dataset, factors, data_digest
        What on: folder or URL, name of its factors, and digest of both.
    base
        Settings laid over the model's own, the same for all trials.
    space
        Search space, as ``keras_tuner.HyperParameters.get_config()["space"]`` gives it.
    points
        Of a grid: the settings of every trial, nested, with the name that stands for each; empty for other tuners.
    attributes
        Options of ``cs-keras run-baselines`` by which trials get a table of attributes, if they do: name to values.
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
        """Tell whether the search has come to its end."""
        return is_file(self.folder / DONE)

    def read_trial(self, trial: str) -> TrialRecord | None:
        """Return the record of a trial that has ended, None for others."""
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
    """Tell whether a study is new, was interrupted, or has ended on another budget than it has now."""
    if not study.is_done():
        return True
    begun = read_study(study.folder).search
    return any(getattr(begun, name) != getattr(study.search, name) for name in BUDGET)


def open_study(study: Study) -> None:
    """Begin a study in its folder, or go on with the one that is there.

    Raises
    ------
    ConfigError
        When the folder holds a study of something else; the message names the first difference. Budgets may differ,
        and where data lie.
    StorageError
        When the folder cannot be read or written.
    """
    path = study.folder / STUDY_FILE
    if is_file(path):
        begun = run_files.read_study(study.folder)
        for name in (field.name for field in dataclasses.fields(StudyRecord)):
            old, value = getattr(begun, name), getattr(study.record, name)
            if name not in (*BUDGET, *PLACES) and old != value:
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
