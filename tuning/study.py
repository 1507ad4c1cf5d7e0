"""A study: the files of a search in a folder that several processes share, on disk or in a bucket."""

import dataclasses
from pathlib import Path
from typing import Any

from cs_keras.errors import ConfigError, StorageError
from cs_keras.evaluation.objective import SearchObjective, parse_objective
from cs_keras.run_files.names import STUDY_FILE, TRIAL_FILE
from cs_keras.run_files.study import BUDGET, Search, StudyRecord, TrialRecord
from cs_keras.storage.location import Location, is_file

DONE = "DONE"
POINT = "point"  # the one parameter of a grid: the name of one of its points
LOCATIONS = ("dataset", "attributes")  # may change too: a digest identifies the data


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A study's folder or URL, which all its processes share, and the content of its ``study.json``."""

    folder: Location
    record: StudyRecord

    @property
    def search(self) -> Search:
        """The settings of the search."""
        return self.record

    @property
    def goal(self) -> SearchObjective:
        """The objective, parsed."""
        return parse_objective(self.record.objective)

    def trial_folder(self, trial: str) -> Location:
        """Return the folder of a trial."""
        return self.folder / "trials" / trial

    def is_done(self) -> bool:
        """Return whether the search has ended."""
        return is_file(self.folder / DONE)

    def read_trial(self, trial: str) -> TrialRecord | None:
        """Return the record of an ended trial, None for others."""
        folder = self.trial_folder(trial)
        return TrialRecord.read(folder) if is_file(folder / TRIAL_FILE) else None


def new_study(folder: Location, search: Search, **fields: Any) -> Study:
    """Return a study of a search; `fields` are the other fields of `StudyRecord`, except the direction."""
    direction = parse_objective(search.objective).direction
    return Study(folder, StudyRecord(**vars(search), direction=direction, **fields))


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
        begun = StudyRecord.read(study.folder)
        for name in (field.name for field in dataclasses.fields(StudyRecord)):
            old, value = getattr(begun, name), getattr(study.record, name)
            if name not in (*BUDGET, *LOCATIONS) and old != value:
                raise ConfigError(
                    f"{study.folder} contains another study, whose {name} is {_short(old)}; name another "
                    f"folder (--study). Received: {_short(value)}."
                )
    if isinstance(study.folder, Path):
        try:
            study.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Cannot make the folder {study.folder}: {error.strerror}.") from error
    study.record.write(study.folder)


def read_study(folder: Location) -> Study:
    """Read ``study.json``.

    Raises
    ------
    StorageError
        When there is none or it cannot be read.
    DataError
        When it is of another version, or not one that `open_study` wrote.
    """
    path = folder / STUDY_FILE
    if not is_file(path):
        raise StorageError(
            f"{folder} is not a study: expected a folder of `cs-keras tune` with a file {STUDY_FILE}."
        )
    return Study(folder, StudyRecord.read(folder))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
