"""``cs-keras report``: tables from saved run folders, without TensorFlow."""

from pathlib import Path

import click

from cs_keras.cli.paths import LOCAL_PATH

PAGE_WIDTH = 110  # characters, where no terminal says how many fit


@click.command("report")
@click.argument("runs", type=LOCAL_PATH)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["md", "csv", "latex"]),
    help="Files to write; may be given several times.  [default: all]",
)
@click.option("--out", type=LOCAL_PATH, help="Folder for the files.  [default: RUNS/report]")
def command(runs: Path, formats: tuple[str, ...], out: Path | None) -> None:
    """Print the tables of the runs in RUNS, those that failed named, and write them as Markdown, CSV and LaTeX."""
    show_report(runs, out or runs / "report", formats or ("md", "csv", "latex"))


def show_report(runs: Path, out: Path, formats: tuple[str, ...] = ("md", "csv", "latex")) -> None:
    """Print the tables of the runs in `runs` and write them to `out`."""
    from rich.console import Console

    from cs_keras.models import MODEL_FILES
    from reports.collect import collect_runs
    from reports.tables import make_sections
    from reports.terminal import to_rich
    from reports.write import write_report

    collected = collect_runs(runs, tuple(MODEL_FILES))
    sections = make_sections(collected)
    written = write_report(sections, out, formats)
    console = Console()
    if not console.is_terminal:  # a file or pipe has no width of its own
        console.width = max(console.width, PAGE_WIDTH)
    console.print(to_rich(sections))
    for reason in collected.left_out:
        click.echo(f"Left out of the report: {reason}", err=True)
    click.echo(f"Written: {', '.join(map(str, written))}", err=True)
