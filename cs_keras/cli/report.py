"""``cs-keras report``: tables from saved run folders, and tables and plots of studies, without TensorFlow."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cs_keras.cli.paths import LOCAL_PATH

if TYPE_CHECKING:
    from reports.layout import Section
    from reports.study_records import Study

PAGE_WIDTH = 110  # characters, where no terminal says how many fit
FORMATS = ("md", "csv", "latex")
DEFAULT_FACTORS = "wmf"  # of run-baselines


@click.command("report")
@click.argument("folder", metavar="RUNS|STUDY", type=LOCAL_PATH)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(FORMATS),
    help="Tables to write; may be given several times.  [default: all]",
)
@click.option("--out", type=LOCAL_PATH, help="Folder for the files.  [default: report in the folder itself]")
def command(folder: Path, formats: tuple[str, ...], out: Path | None) -> None:
    """Print the tables of a folder of runs, or of a study, and write them as Markdown, CSV and LaTeX.

    Of runs, those that failed are named. Of a study, trials, what each parameter matters, and plots (PNG and SVG);
    the command that trains the winner comes last.
    """
    from reports.study_reading import is_study

    show = show_study if is_study(folder) else show_report
    show(folder, out or folder / "report", formats or FORMATS)


def show_report(runs: Path, out: Path, formats: tuple[str, ...] = FORMATS) -> None:
    """Print the tables of the runs in `runs` and write them to `out`."""
    from cs_keras.models import MODEL_FILES
    from reports.collect import collect_runs
    from reports.tables import make_sections
    from reports.write import write_report

    collected = collect_runs(runs, tuple(MODEL_FILES))
    sections = make_sections(collected)
    written = write_report(sections, out, formats)
    _print(sections)
    _tell(collected.left_out, written)


def show_study(folder: Path, out: Path, formats: tuple[str, ...] = FORMATS) -> None:
    """Print the tables of the study in `folder` and write them, and its plots, to `out`."""
    from reports.study_analysis import analyse_study
    from reports.study_reading import read_study
    from reports.study_tables import make_study_sections
    from reports.study_write import write_study_report

    study = read_study(folder)
    analysis = analyse_study(study)
    written = write_study_report(analysis, out, formats)
    _print(make_study_sections(analysis))
    _tell((*study.left_out, *analysis.differences.left_out), written)
    if study.ranked:
        click.echo(f"To train the best:\n{training_command(study)}")


def training_command(study: "Study") -> str:
    """Return the command that trains the best trial's settings and tests them."""
    from reports.study_records import BEST_FILE

    settings = study.settings
    words = ["cs-keras", "run-baselines", settings.dataset, "--models", settings.model]
    if settings.factors != DEFAULT_FACTORS:
        words += ["--factors", settings.factors]
    return shlex.join([*words, "--config", str(study.folder / BEST_FILE)])


def _print(sections: "tuple[Section, ...]") -> None:
    from rich.console import Console

    from reports.terminal import to_rich

    console = Console()
    if not console.is_terminal:  # a file or pipe has no width of its own
        console.width = max(console.width, PAGE_WIDTH)
    console.print(to_rich(sections))


def _tell(left_out: tuple[str, ...], written: list[Path]) -> None:
    for reason in left_out:
        click.echo(f"Left out of the report: {reason}", err=True)
    click.echo(f"Written: {', '.join(map(str, written))}", err=True)
