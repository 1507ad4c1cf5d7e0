"""``cs-keras tune``: search a model's settings."""

import contextlib
import dataclasses
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.options import (
    DATASET,
    LOCAL_PATH,
    attribute_file,
    attribute_options,
    read_config,
    reading_options,
    renamed,
)
from cs_keras.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from rich.table import Table

    from cs_keras.data.reader import ReadConfig
    from cs_keras.storage.location import Location
    from pipelines.training.attribute_files import AttributeFile
    from tuning.order import Order
    from tuning.search import Team
    from tuning.study import Search, Study
    from tuning.view import Standing

STUDIES = "studies"
EXTRA_FACTORS = "training.extra_factors"
WAIT_S = 600.0  # for which a worker waits for the chief to begin the study


@dataclasses.dataclass(frozen=True)
class Training:
    """Trains what a search orders, on one dataset; travels to the processes that do it."""

    dataset: str
    factors_name: str
    reading: "ReadConfig"
    attributes: "AttributeFile | None"
    data_digest: str

    def __call__(self, order: "Order", folder: Path) -> None:
        """Train in `folder`; see `pipelines.training.trial.run_execution`."""
        from cs_keras.cli.console import quiet_tensorflow

        quiet_tensorflow()
        from cs_keras.storage.location import locate
        from pipelines.training.trial import Execution, run_execution

        given = {field.name: getattr(order, field.name) for field in dataclasses.fields(order)}
        execution = Execution(
            dataset=locate(self.dataset),
            factors_name=self.factors_name,
            reading=self.reading,
            attributes=self.attributes,
            data_digest=self.data_digest,
            **given,
        )
        run_execution(execution, folder)


@click.command("tune")
@click.argument("model")
@click.argument("dataset", type=DATASET)
@click.option("--study", type=DATASET, help=f"Folder or URL of the study.  [default: {STUDIES}/MODEL]")
@click.option(
    "--tuner", type=click.Choice(["random", "hyperband", "bayesian", "grid"]), help="[default: random]"
)
@click.option("--objective", help="val_overlap@K, val_ndcg@K or val_loss.  [default: val_overlap@10]")
@click.option("--max-trials", type=int, help="0 for no limit.  [default: 20; of hyperband and grid, all]")
@click.option("--max-epochs", type=int, help="In all trials together.  [default: no limit]")
@click.option("--max-time", help="Of searching, such as 90m or 8h.  [default: no limit]")
@click.option("--epochs", type=int, help="Of one training.  [default: the model's own]")
@click.option("--executions", type=int, help="Trainings of each trial, with different seeds.  [default: 1]")
@click.option("--factor", type=int, help="Of hyperband: one trial in so many goes on.  [default: 3]")
@click.option("--seed", type=int, help="[default: 0]")
@click.option(
    "--prune-after", type=int, help="Epochs by which a trial must beat the mean predictor.  [default: 3]"
)
@click.option(
    "--only", multiple=True, metavar="PATTERN", help="Search these parameters, such as 'front_end.*'."
)
@click.option(
    "--set",
    "set_",
    multiple=True,
    metavar="NAME=VALUES",
    help="How a setting is searched: a list, or {min = 1e-5, max = 1e-2, log = true}.",
)
@click.option("--fix", "fix_", multiple=True, metavar="NAME=VALUE", help="A setting that all trials share.")
@click.option("--grid", help="File of the points to try, or the name of one that comes with cs-keras.")
@click.option("--config", "config_file", type=LOCAL_PATH, help="TOML file with tables search, set and fix.")
@click.option("--factors", "factors_name", help="Which of the dataset's factors to predict.  [default: wmf]")
@click.option("--workers", type=int, help="Processes on this machine.  [default: one for each GPU, or one]")
@click.option("--oracle", metavar="HOST:PORT", help="Where the chief listens, for workers on other machines.")
@click.option("--role", type=click.Choice(["chief", "worker"]), help="What this process is, with --oracle.")
@click.option(
    "--worker-name",
    "name",
    help="Name of this worker, which resumes its trial by it.  [default: host and process]",
)
@renamed(
    "--name", "--worker-name", "--name is a name of factors; for the name of a worker use --worker-name."
)
@click.option(
    "--lease", type=float, default=60.0, show_default=True, help="Seconds until a worker counts as gone."
)
@click.option("--work", type=LOCAL_PATH, help="Folder for trainings where the study is a URL.")
@attribute_options
@reading_options
def command(model: str, dataset: Any, **given: Any) -> None:
    """Search the hyperparameters of a model.

    MODEL is trained on DATASET with settings of model, training and audio front end that the tuner draws, and
    scored on validation tracks. After an interruption, or with a higher budget, the same command resumes. The
    best settings are written to STUDY/best.toml, for `cs-keras run-baselines --config`.
    """
    from cs_keras.cli.console import quiet_tensorflow
    from cs_keras.models import check_key

    check_key(model)
    if bool(given["role"]) != bool(given["oracle"]):
        raise click.UsageError("--oracle and --role go together.")
    if given["oracle"] and not re.fullmatch(r".+:\d{1,5}", given["oracle"]):
        raise click.UsageError(
            f"--oracle takes HOST:PORT, such as 10.0.0.1:8000. Received: {given['oracle']!r}."
        )
    names = ("reader", "cache", "cache_size", "in_flight", "timeout")
    reading = read_config(**{name: given.pop(name) for name in names})
    given["attributes"] = attribute_file(given.pop("features"), given.pop("id_column"), given.pop("kinds"))
    quiet_tensorflow()
    from cs_keras.storage.location import locate

    folder = given["study"] or locate(f"{STUDIES}/{model}")
    if given["role"] == "worker":
        _work(folder, str(dataset), reading, given)
    else:
        _search(_study(model, dataset, folder, given), reading, given)


def _study(model: str, dataset: "Location", folder: "Location", given: Mapping[str, Any]) -> "Study":
    """Return the study that the options describe."""
    from cs_keras import config
    from cs_keras.data.dataset import Dataset
    from pipelines.factors.fit import open_factors
    from pipelines.training.trial import check_search
    from tuning.plan import TABLES, find_grid, make_plan
    from tuning.study import Study

    file = config.load_toml(given["config_file"]) if given["config_file"] else {}
    unknown = sorted(set(file) - set(TABLES))
    if unknown:
        raise ConfigError(
            f"{given['config_file']} may hold the tables {', '.join(TABLES)}. Received: {unknown[0]}."
        )
    sets, fixes = (
        config.merge(file.get(table, {}), config.parse_overrides(given[f"{table}_"]))
        for table in ("set", "fix")
    )
    if given["epochs"] is not None:
        fixes = config.merge(fixes, {"training": {"epochs": given["epochs"]}})
    search = _search_settings(model, file.get("search", {}), given)
    plan = make_plan(search, sets, fixes, given["only"], find_grid(given["grid"]) if given["grid"] else None)
    if EXTRA_FACTORS in plan.searched:
        raise ConfigError(f"{EXTRA_FACTORS} are of the data and cannot be searched: name them by --fix.")
    factors = open_factors(dataset, Dataset(dataset).tracks, given["factors_name"])
    digest = check_search(model, plan.base, dataset, factors.name, search.objective, given["attributes"])
    attributes = given["attributes"].options if given["attributes"] else {}
    what = (str(dataset), factors.name, digest, plan.base, plan.space, plan.points)
    return Study(folder, search, *what, attributes)


def _search_settings(model: str, file: Mapping[str, Any], given: Mapping[str, Any]) -> "Search":
    """Return how to search: options win over the file, and it over the defaults."""
    from cs_keras import config
    from tuning.study import Search

    names = ("tuner", "objective", "max_trials", "max_epochs", "executions", "factor", "seed", "prune_after")
    changes = {**file, **{name: given[name] for name in names if given[name] is not None}}
    if given["grid"]:
        changes["tuner"] = "grid"
    if changes.get("tuner") in ("hyperband", "grid"):
        changes.setdefault("max_trials", 0)
    if given["max_time"] is not None:
        changes["max_time_s"] = _seconds(given["max_time"])
    return config.replace(Search(model), changes, "search.")


def _seconds(text: str) -> float:
    """Return a duration such as ``90m`` in seconds; a bare number is seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if not found:
        raise ConfigError(f"--max-time takes a number with s, m, h or d, such as 90m. Received: {text!r}.")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _search(study: "Study", reading: "ReadConfig", given: Mapping[str, Any]) -> None:
    """Begin the study or go on with it, then show what it found."""
    from cs_keras.cli.console import Console
    from cs_keras.cli.report import show_report
    from tuning.records import start_of
    from tuning.search import search
    from tuning.study import needs_search, open_study

    is_needed = needs_search(study)
    open_study(study)
    console = Console()
    if is_needed:
        training = Training(study.dataset, study.factors, reading, given["attributes"], study.data_digest)
        with live_view(study.search.objective) as show:
            search(study, training, start_of(study).training.epochs, _team(given), console, show)
    else:
        console.log(f"{study.folder}: done before; a higher budget (--max-trials, ...) goes on from here")
    show_report(study.folder)


def _team(given: Mapping[str, Any]) -> "Team":
    """Return who searches: without --workers one process for each GPU, or one; none beside a chief of its own."""
    import tensorflow as tf

    from tuning.search import Team

    n_workers = given["workers"]
    if n_workers is None:
        n_workers = 0 if given["role"] else max(1, len(tf.config.list_physical_devices("GPU")))
    return Team(n_workers, given["oracle"] or "127.0.0.1:0", given["lease"], given["work"])


def _work(folder: "Location", dataset: str, reading: "ReadConfig", given: Mapping[str, Any]) -> None:
    """Be a worker of a study that a chief has begun or will begin."""
    import os
    import socket

    from cs_keras.run_files.names import STUDY_FILE
    from cs_keras.storage.location import is_file
    from tuning.study import read_study
    from tuning.worker import Place, work

    deadline = time.monotonic() + WAIT_S
    while not is_file(folder / STUDY_FILE):
        if time.monotonic() > deadline:
            raise StorageError(f"No chief has begun a study in {folder} for {WAIT_S:.0f} seconds.")
        time.sleep(1.0)
    study = read_study(folder)
    if study.attributes and not given["attributes"]:
        raise ConfigError(f"The study in {folder} is on a table of attributes: name it by --features.")
    name = given["name"] or f"{socket.gethostname()}-{os.getpid()}"
    training = Training(dataset, study.factors, reading, given["attributes"], study.data_digest)
    work(study, training, Place(name, given["oracle"], given["work"]))


@contextlib.contextmanager
def live_view(objective: str) -> "Iterator[Callable[[Standing], None]]":
    """Yield a function that shows the progress of a search in a table on the terminal, if there is one."""
    if not sys.stderr.isatty():
        yield lambda standing: None
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, refresh_per_second=4) as live:
        yield lambda standing: live.update(_table(standing, objective))


def _table(standing: "Standing", objective: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, show_header=False)
    rows = {
        "running": "  ".join(standing.running) or "-",
        "done": f"{standing.done}, and {standing.failed} failed",
        "best": f"{objective} {standing.best[0]:.4f}, trial {standing.best[1]}" if standing.best else "-",
        "time": standing.time,
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table
