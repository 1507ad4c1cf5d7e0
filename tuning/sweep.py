"""A whole sweep: the study that its options describe, the search, and workers on other machines."""

import dataclasses
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from cs_keras import config
from cs_keras.data.schema import read_info
from cs_keras.errors import ConfigError, StorageError
from cs_keras.progress import Progress
from cs_keras.run_files.names import STUDY_FILE
from cs_keras.run_files.study import Search
from cs_keras.storage.location import Location, is_file, locate
from cs_keras.training.executions import Execution
from tuning.grid import find_grid
from tuning.plan import SearchPlan, plan_search
from tuning.progress import SearchProgress
from tuning.records import start_of
from tuning.search import WorkerPool, search
from tuning.study import needs_search, new_study, open_study, read_study
from tuning.worker import WorkerConfig, work

TABLES = ("search", "set", "fix")  # of a settings file
EXTRA_FACTORS = "training.extra_factors"
WAIT_S = 600.0  # for which a worker waits for the chief to begin the study


class DataTrainer(Protocol):
    """A trainer with its data; see `pipelines.training.trial_trainer.TrialTrainer`."""

    @property
    def dataset(self) -> str: ...  # noqa: D102
    @property
    def factors_name(self) -> str | None: ...  # noqa: D102
    @property
    def data_digest(self) -> str | None: ...  # noqa: D102
    @property
    def attribute_options(self) -> dict[str, list[str]]: ...  # noqa: D102
    def check(self, key: str, changes: Mapping[str, Any], objective: str) -> "DataTrainer": ...  # noqa: D102
    def bind(self, factors_name: str, data_digest: str) -> "DataTrainer": ...  # noqa: D102
    def __call__(self, execution: Execution, folder: Path) -> None: ...  # noqa: D102


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """Options of a sweep.

    Attributes
    ----------
    search
        Fields of `cs_keras.run_files.study.Search` by name, without those at their defaults.
    sets, fixes
        ``NAME=VALUES`` to search, and ``NAME=VALUE`` that all trials share.
    only
        Patterns of the parameters to search.
    grid
        Grid file, or the name of one that comes with the package.
    config_file
        TOML file with tables ``search``, ``set`` and ``fix``, over which the options win.
    """

    search: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sets: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    grid: str | None = None
    config_file: Path | None = None


def run_sweep(
    model: str,
    folder: Location,
    trainer: DataTrainer,
    options: SweepConfig,
    pool: WorkerPool,
    progress: Progress,
    show: Callable[[SearchProgress], None],
) -> None:
    """Search the settings of a model, or resume a search, until a budget is spent.

    Parameters
    ----------
    model
        Model key.
    folder
        Folder or URL of the study.
    trainer
        Trains the trials; it is pickled.
    options
        What is searched.
    pool
        The workers.
    progress, show
        Get a line for each trial that ends, and the progress several times a second.

    Raises
    ------
    ConfigError
        When an option is wrong, or the folder holds another study.
    CsKerasError
        When the search fails by no fault of a trial.
    """
    audio = read_info(locate(trainer.dataset)).audio
    wanted, plan = _plan(model, options, audio.holds_waveforms)
    bound = trainer.check(model, plan.base, wanted.objective)
    study = new_study(
        folder,
        wanted,
        dataset=bound.dataset,
        factors=str(bound.factors_name),
        data_digest=str(bound.data_digest),
        attributes=bound.attribute_options,
        **vars(plan),
    )
    is_needed = needs_search(study)
    open_study(study)
    if is_needed:
        search(study, bound, start_of(study).training.epochs, pool, progress, show)
    else:
        progress.log(f"{study.folder}: done before; a higher budget (--max-trials, ...) resumes the search")


def _plan(model: str, options: SweepConfig, of_waveforms: bool) -> tuple[Search, SearchPlan]:
    """Return the search that options and settings file describe."""
    file = config.load_toml(options.config_file) if options.config_file else {}
    unknown = sorted(set(file) - set(TABLES))
    if unknown:
        raise ConfigError(
            f"{options.config_file} may hold the tables {', '.join(TABLES)}. Received: {unknown[0]}."
        )
    sets = config.merge(file.get("set", {}), config.parse_overrides(options.sets))
    fixes = config.merge(file.get("fix", {}), config.parse_overrides(options.fixes))
    changes = {**file.get("search", {}), **options.search}
    if options.grid:
        changes["tuner"] = "grid"
    if changes.get("tuner") in ("hyperband", "grid"):
        changes.setdefault("max_trials", 0)
    wanted = config.replace(Search(model), changes, "search.")
    grid = find_grid(options.grid) if options.grid else None
    plan = plan_search(wanted, sets, fixes, options.only, grid, of_waveforms=of_waveforms)
    if EXTRA_FACTORS in plan.searched:
        raise ConfigError(f"{EXTRA_FACTORS} belong to the data and cannot be searched: name them by --fix.")
    return wanted, plan


def join_sweep(
    folder: Location,
    trainer: DataTrainer,
    chief: str,
    name: str | None = None,
    work_folder: Path | None = None,
) -> None:
    """Work on a study that a chief has begun or will begin, until it has no more trials.

    Parameters
    ----------
    folder
        Folder or URL of the study.
    trainer
        Trains the trials; it is pickled.
    chief
        ``HOST:PORT`` of the chief.
    name
        Name of this worker. Default: host and process.
    work_folder
        Folder on this machine for trainings of a study behind a URL.

    Raises
    ------
    StorageError
        When no study is begun within ten minutes.
    ConfigError
        When the study needs a table of attributes and the trainer has none.
    """
    deadline = time.monotonic() + WAIT_S
    while not is_file(folder / STUDY_FILE):
        if time.monotonic() > deadline:
            raise StorageError(f"No chief has begun a study in {folder} for {WAIT_S:.0f} seconds.")
        time.sleep(1.0)
    study = read_study(folder)
    if study.record.attributes and not trainer.attribute_options:
        raise ConfigError(f"The study in {folder} is on a table of attributes: name it by --features.")
    worker = WorkerConfig(name or f"{socket.gethostname()}-{os.getpid()}", chief, work_folder)
    work(study, trainer.bind(study.record.factors, study.record.data_digest), worker)
