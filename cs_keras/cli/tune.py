"""``cs-keras tune``: search the hyperparameters of a model."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.console import Console
from cs_keras.cli.options import (
    DATASET,
    LOCAL_PATH,
    Command,
    add_options,
    attribute_files,
    attribute_options,
    factors_option,
    mlflow_option,
    read_config,
    reading_options,
    renamed,
)
from cs_keras.errors import ConfigError

if TYPE_CHECKING:
    from tuning.progress import SearchProgress

STUDIES = "studies"
SEARCH_FIELDS = (
    "tuner",
    "objective",
    "max_trials",
    "max_epochs",
    "executions",
    "factor",
    "seed",
    "prune_after",
)

search_options = add_options(
    click.option(
        "--tuner",
        type=click.Choice(["random", "hyperband", "bayesian", "grid"]),
        help="Search algorithm.  [default: random]",
    ),
    click.option(
        "--objective", help="val_overlap@K, val_ndcg@K, val_cosine or val_loss.  [default: val_overlap@10]"
    ),
    click.option(
        "--max-trials",
        type=int,
        help="Limit of trials; 0 for none.  [default: 20; all for hyperband and grid]",
    ),
    click.option(
        "--max-epochs", type=int, help="Limit of epochs of all trials together.  [default: no limit]"
    ),
    click.option("--max-time", help="Time limit of the search, such as 90m or 8h.  [default: no limit]"),
    click.option("--epochs", type=int, help="Epochs of one training.  [default: the model's own]"),
    click.option("--executions", type=int, help="Trainings per trial, with different seeds.  [default: 1]"),
    click.option("--factor", type=int, help="Reduction factor of hyperband.  [default: 3]"),
    click.option("--seed", type=int, help="Seed of the search and of trainings.  [default: 0]"),
    click.option(
        "--prune-after",
        type=int,
        help="Epochs after which a trial that is no better than the mean predictor is pruned.  [default: 3]",
    ),
    click.option(
        "--only", multiple=True, metavar="PATTERN", help="Parameters to search, such as 'front_end.*'."
    ),
    click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting, as of run-baselines; a list or {min = 1e-5, max = 1e-2, log = true} is searched.",
    ),
    click.option(
        "--fix",
        "fixes",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting of all trials, where a list is its value and not values to search.",
    ),
    click.option("--grid", help="TOML file of settings to try, or thesis-cnn, which is included."),
    click.option(
        "--config", "config_file", type=LOCAL_PATH, help="TOML file with tables search, set and fix."
    ),
)


@click.command("tune", cls=Command)
@click.argument("model")
@click.argument("dataset", type=DATASET)
@click.option("--study", type=DATASET, help=f"Folder or URL of the study.  [default: {STUDIES}/MODEL]")
@search_options
@factors_option
@click.option("--workers", type=int, help="Processes on this machine.  [default: one for each GPU, or one]")
@click.option("--oracle", metavar="HOST:PORT", help="Address of the chief, for workers on other machines.")
@click.option("--role", type=click.Choice(["chief", "worker"]), help="Role of this process, with --oracle.")
@click.option(
    "--worker-name", help="Name by which this worker resumes its trial.  [default: host and process]"
)
@click.option(
    "--secret-file",
    type=LOCAL_PATH,
    help="File with the secret that chief and workers share.  [default: environment variable CS_KERAS_SECRET]",
)
@renamed(
    "--name", "--worker-name", "--name is a name of factors; for the name of a worker use --worker-name."
)
@click.option("--lease", type=float, default=60.0, help="Seconds until a worker counts as lost.")
@click.option("--work", type=LOCAL_PATH, help="Local folder for run folders, if the study is behind a URL.")
@attribute_options
@mlflow_option
@reading_options
def command(
    model: str,
    dataset: Any,
    study: Any,
    max_time: str | None,
    epochs: int | None,
    sets: tuple[str, ...],
    fixes: tuple[str, ...],
    only: tuple[str, ...],
    grid: str | None,
    config_file: Path | None,
    factors_name: str | None,
    workers: int | None,
    oracle: str | None,
    role: str | None,
    worker_name: str | None,
    lease: float,
    work: Path | None,
    secret_file: Path | None,
    mlflow: str | None,
    **options: Any,
) -> None:
    """Search the hyperparameters of a model.

    MODEL is trained on DATASET with settings of model, training and audio front end that the tuner selects, and
    scored on validation tracks. After an interruption, or with a higher budget, the same command resumes. The
    best settings are written to STUDY/best.toml, for `cs-keras run-baselines --config`.
    """
    from cs_keras.cli.report import show_report
    from cs_keras.models import check_key

    check_key(model)
    if bool(role) != bool(oracle):
        raise click.UsageError("--oracle and --role go together.")
    if oracle and not re.fullmatch(r".+:\d{1,5}", oracle):
        raise click.UsageError(f"--oracle takes HOST:PORT, such as 10.0.0.1:8000. Received: {oracle!r}.")
    if secret_file:
        os.environ["CS_KERAS_SECRET"] = _read_secret(secret_file)
    search = {name: value for name in SEARCH_FIELDS if (value := options.pop(name)) is not None}
    if max_time is not None:
        search["max_time_s"] = _seconds(max_time)
    attributes, reading = attribute_files(options), read_config(**options)
    from cs_keras.run_files.study import is_study
    from cs_keras.storage.location import locate
    from pipelines.training.trial_trainer import TrialTrainer
    from tuning.search import WorkerPool
    from tuning.sweep import SweepConfig, join_sweep, run_sweep

    folder = study or locate(f"{STUDIES}/{model}")
    trainer = TrialTrainer(str(dataset), factors_name, reading, attributes)
    if role == "worker":
        join_sweep(folder, trainer, str(oracle), worker_name, work)
        return
    tracker = None
    if mlflow is not None:
        from reports.tracking import MlflowTracker

        if not isinstance(folder, Path):
            raise ConfigError(f"--mlflow logs studies on this machine. Received: {folder}.")
        tracker = MlflowTracker(mlflow)  # before any training: it may be unreachable
    if epochs is not None:
        fixes = (*fixes, f"training.epochs={epochs}")
    wanted = SweepConfig(search, sets, fixes, only, grid, config_file)
    pool = WorkerPool(workers, oracle or WorkerPool.address, lease, work)
    console = Console()
    try:
        with _live_view() as show:
            run_sweep(model, folder, trainer, wanted, pool, console, show)
    finally:
        if tracker and isinstance(folder, Path) and is_study(folder):
            tracker.log_study(folder)
            console.log(f"the trials that ended are logged to {mlflow}")
    show_report(folder)


def _read_secret(path: Path) -> str:
    """Return the text of a file without blanks around it; ConfigError if there is none."""
    if not path.is_file():
        raise ConfigError(f"There is no secret file {path}.")
    secret = path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    if not secret or "\0" in secret:
        raise ConfigError(f"The secret file {path} must hold a line of text.")
    return secret


def _seconds(text: str) -> float:
    """Return a duration such as ``90m`` in seconds; a bare number is seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if not found:
        raise ConfigError(f"--max-time takes a number with s, m, h or d, such as 90m. Received: {text!r}.")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


@contextlib.contextmanager
def _live_view() -> "Iterator[Callable[[SearchProgress], None]]":
    """Yield a function that shows the progress of a search in a line on the terminal, if there is one."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console as RichConsole
    from rich.live import Live

    with Live(console=RichConsole(stderr=True), transient=True, refresh_per_second=4) as live:
        yield lambda progress: live.update(progress.describe())
