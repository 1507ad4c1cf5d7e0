"""``cs-keras split``: a named split of a dataset's tracks."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.check import describe_leakage
from cs_keras.cli.console import conclude
from cs_keras.cli.options import DATASET, INTEGERS, LOCAL_PATH, Command
from cs_keras.errors import ConfigError

OPTIONS = {  # of which way to split
    "validation_folds": "folds",
    "test_folds": "folds",
    "validation_share": "time",
    "test_share": "time",
    "interactions": "time",
    "time_column": "time",
}


@click.command("split", cls=Command)
@click.argument("dataset", type=DATASET)
@click.option(
    "--by",
    required=True,
    metavar="folds|time|FILE",
    help="How to split; FILE is a table of track_id and split.",
)
@click.option("--name", required=True, help="Name of the split in the dataset.")
@click.option("--validation-folds", type=INTEGERS, help="Folds of the validation split.  [default: 7]")
@click.option(
    "--test-folds",
    type=INTEGERS,
    help="Folds of the test split; the others are for training.  [default: 8,9]",
)
@click.option(
    "--validation-share",
    type=float,
    help="Share of validation tracks, the newest that are not test tracks.  [default: 0.1]",
)
@click.option("--test-share", type=float, help="Share of test tracks, the newest.  [default: 0.2]")
@click.option(
    "--interactions",
    type=LOCAL_PATH,
    help="With --by time: interactions with times; a track's first one is its time.  [default: release_date]",
)
@click.option("--time-column", help="Column of times in --interactions.  [default: guessed]")
def command(dataset: Any, by: str, name: str, **options: Any) -> None:
    """Split a dataset's tracks by folds, time or a table.

    Writes splits/NAME.parquet into DATASET: which tracks train, validate and test. By time, the newest tracks test,
    and those before them validate. FILE (CSV, TSV or Parquet) has columns track_id and split, with train,
    validation or test. Use it by `factors --split-name NAME` and `run-baselines --split-name NAME`.
    """
    from pipelines.dataset.split import SplitConfig, make_split

    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if OPTIONS[option] != by:
            raise ConfigError(f"--{option.replace('_', '-')} needs --by {OPTIONS[option]}.")
    if "time_column" in given and "interactions" not in given:
        raise ConfigError("--time-column names a column of --interactions, which is missing.")
    config = SplitConfig(by if by in ("folds", "time") else Path(by), **given)
    result = make_split(dataset, name, config)
    sizes = ", ".join(f"{result.n_tracks[part]} {part}" for part in ("train", "validation", "test"))
    n_none = result.n_tracks.get("", 0)
    for shared in result.leakage:
        click.echo(describe_leakage(shared))
    conclude(
        f"{dataset}: split {name!r} of {sizes} tracks{f'; {n_none} in none' if n_none else ''}.",
        *("factors", "INTERACTIONS.csv", dataset, "--split-name", name),
    )
