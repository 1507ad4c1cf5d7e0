"""``cs-keras ensemble``: several finished runs as one."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.options import read_config, reading_options
from cs_keras.cli.paths import DATASET, LOCAL_PATH


@click.command("ensemble")
@click.argument("runs", nargs=-1, required=True, type=LOCAL_PATH, metavar="RUN RUN...")
@click.option("--dataset", required=True, type=DATASET, help="What they were trained on.")
@click.option(
    "--by",
    type=click.Choice(["mean", "ranks"]),
    default="mean",
    show_default=True,
    help="Mean of scaled predicted factors, or reciprocal rank fusion of their lists.",
)
@click.option("--out", type=LOCAL_PATH, help="Folder for the run folder.  [default: that of the first RUN]")
@reading_options
def command(runs: tuple[Path, ...], dataset: Any, by: str, out: Path | None, **reading: Any) -> None:
    """Evaluate several finished runs as one predictor, in a run folder that `report` shows beside theirs.

    The runs must be of the same data and judged alike. By mean, the ensemble predicts the mean of what they
    predict. By ranks, every list is the reciprocal rank fusion of their lists: a track's score is the sum of
    1 / (60 + rank); its losses are those of the mean.
    """
    from cs_keras.cli.console import Console, quiet_tensorflow

    quiet_tensorflow()
    from pipelines.evaluation.ensemble import combine_runs

    folder = combine_runs(
        runs, dataset, out or runs[0].resolve().parent, by, Console(), read_config(**reading)
    )
    click.echo(f"{folder}: an ensemble of {len(runs)} runs; `cs-keras report {folder.parent}` shows it.")
