"""``cs-keras ensemble``: several finished runs as one predictor."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.console import Console, conclude
from cs_keras.cli.options import COMBINE, DATASET, LOCAL_PATH, Command, read_config, reading_options, renamed


@click.command("ensemble", cls=Command)
@click.argument("runs", nargs=-1, required=True, type=LOCAL_PATH, metavar="RUN RUN...")
@click.option("--dataset", required=True, type=DATASET, help="Dataset that the runs were trained on.")
@click.option(
    "--combine",
    type=COMBINE,
    default="mean",
    help="How to combine the runs; see above.",
)
@renamed("--by", "--combine", "--by takes similarity or dot; for how to combine runs use --combine.")
@click.option("--out", type=LOCAL_PATH, help="Parent of the run folder.  [default: that of the first RUN]")
@reading_options
def command(runs: tuple[Path, ...], dataset: Any, combine: str, out: Path | None, **reading: Any) -> None:
    """Evaluate several finished runs as one predictor.

    The result is a run folder, which `report` compares with the RUNs. They must have the same data and evaluation
    settings. With mean, the ensemble predicts the mean of their predictions; with stack, their weighted sum, with
    weights fitted to validation tracks; with best, it is the run with the highest cosine on validation tracks. With
    ranks, every list is the reciprocal rank fusion of their lists: a track's score is the sum of 1 / (60 + rank);
    losses are those of the mean.
    """
    from pipelines.evaluation.ensemble import combine_runs

    parent = out or runs[0].resolve().parent
    folder = combine_runs(runs, dataset, parent, combine, Console(), read_config(**reading))
    conclude(f"{folder}: an ensemble of {len(runs)} runs.", "report", folder.parent)
