"""``cs-keras report``: tables, plots and pages of saved runs and studies."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cs_keras.cli.console import Console, print_sections, print_written, quiet_tensorflow
from cs_keras.cli.options import DATASET, LOCAL_PATH

if TYPE_CHECKING:
    from cs_keras.storage.location import Location

FORMATS = ("md", "csv", "latex")


@click.command("report")
@click.argument("folder", metavar="RUNS|STUDY", type=DATASET)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice((*FORMATS, "html")),
    help="Format to write; may be repeated.  [default: md, csv, latex]",
)
@click.option(
    "--out",
    type=LOCAL_PATH,
    help="Folder for the files.  [default: RUNS/report or STUDY/report; ./report for a study behind a URL]",
)
@click.option(
    "--dataset",
    type=DATASET,
    help="Dataset of the runs: adds track names, and filters and units of the best network, to html.",
)
def command(
    folder: "Location", formats: tuple[str, ...], out: Path | None, dataset: "Location | None"
) -> None:
    """Print and write the tables of runs, or of a study.

    For runs, html is a folder of pages with figures and a map of the tracks, which any browser opens from disk.
    For a study, which may be behind a URL, the report has trials, hyperparameter importance, plots (PNG and SVG),
    and the command that trains the winner.
    """
    show_report(folder, out, formats or FORMATS, dataset)


def show_report(
    folder: "Location",
    out: Path | None = None,
    formats: tuple[str, ...] = FORMATS,
    dataset: "Location | None" = None,
) -> None:
    """Build a report, print its tables, and list what was written; see `reports.report.build_report`."""
    from cs_keras.models import REGISTRY
    from reports.report import build_report

    report = build_report(folder, tuple(REGISTRY), out, formats, dataset, _inspect)
    print_sections(report.sections)
    for reason in report.left_out:
        click.echo(f"Left out of the report: {reason}", err=True)
    print_written(report.written)
    for path in report.stale:
        click.echo(f"{path} is of an earlier report; --format writes it anew.", err=True)
    if report.training_command:
        click.echo(f"To train the best:\n{report.training_command}")


def _inspect(folder: Path, dataset: "Location") -> str | None:
    """Inspect the network of a run; TensorFlow is loaded only where that has not been done before."""
    from cs_keras.data.dataset import Dataset
    from cs_keras.run_files.inspection import is_inspected
    from cs_keras.run_files.settings import read_settings
    from pipelines.inference.inspection_obstacle import inspection_obstacle

    reason = inspection_obstacle(folder)
    if reason is not None:
        return reason
    opened = Dataset(dataset, split_name=read_settings(folder).split_name)
    if not is_inspected(folder, opened.digest):
        quiet_tensorflow()
        from pipelines.inference.inspect_run import inspect_run

        inspect_run(folder, opened, Console())
    return None
