"""``cs-keras report``: tables and pages from saved run folders, tables and plots of studies; no TensorFlow."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cs_keras.cli.paths import DATASET, LOCAL_PATH
from cs_keras.errors import ConfigError, DataError

if TYPE_CHECKING:
    from cs_keras.storage.location import Location
    from reports.collect import Collected
    from reports.html_spaces import Spaces
    from reports.layout import Section
    from reports.study_records import Study

PAGE_WIDTH = 110  # characters, where no terminal says how many fit
FORMATS = ("md", "csv", "latex")
PAGE = "html"  # only when asked for: it brings a plotting library of five megabytes
DEFAULT_FACTORS = "wmf"  # of run-baselines


@click.command("report")
@click.argument("folder", metavar="RUNS|STUDY", type=LOCAL_PATH)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice((*FORMATS, PAGE)),
    help="What to write; may be given several times.  [default: md, csv, latex]",
)
@click.option("--out", type=LOCAL_PATH, help="Folder for the files.  [default: report in the folder itself]")
@click.option("--dataset", type=DATASET, help="What the runs were trained on: names the tracks of html.")
def command(folder: Path, formats: tuple[str, ...], out: Path | None, dataset: "Location | None") -> None:
    """Print the tables of a folder of runs, or of a study, and write them as Markdown, CSV and LaTeX.

    Of runs, those that failed are named; html is a folder of pages with pictures and a map of the tracks, which any
    browser opens from disk. Of a study, trials, what each parameter matters, and plots (PNG and SVG); the command
    that trains the winner comes last.
    """
    from reports.study_reading import is_study

    chosen, target = formats or FORMATS, out or folder / "report"
    if dataset is not None and PAGE not in chosen:
        raise ConfigError(f"--dataset is for --format {PAGE} only. Received: {', '.join(chosen)}.")
    if not is_study(folder):
        show_report(folder, target, chosen, dataset)
    elif PAGE in chosen:
        raise ConfigError(f"A study has no {PAGE}: expected {', '.join(FORMATS)}, which come with plots.")
    else:
        show_study(folder, target, chosen)


def show_report(
    runs: Path, out: Path, formats: tuple[str, ...] = FORMATS, dataset: "Location | None" = None
) -> None:
    """Print the tables of the runs in `runs` and write them to `out`, the page with what `dataset` knows."""
    from cs_keras.models import MODEL_FILES
    from reports.collect import collect_runs
    from reports.tables import make_sections
    from reports.write import write_report

    collected = collect_runs(runs, tuple(MODEL_FILES))
    sections = make_sections(collected)
    written = write_report(sections, out, tuple(name for name in formats if name != PAGE))
    if PAGE in formats:
        written += _write_page(collected, sections, runs, out / PAGE, dataset)
    _print(sections)
    _tell(collected.left_out, written)


def _write_page(
    collected: "Collected",
    sections: "tuple[Section, ...]",
    runs: Path,
    out: Path,
    dataset: "Location | None",
) -> list[Path]:
    from reports.html_page import Source, write_page

    spaces = open_spaces(dataset, collected) if dataset is not None else {}
    return write_page(sections, Source(collected, runs, spaces), out)


def open_spaces(dataset: "Location", collected: "Collected") -> "Spaces":
    """Return the spaces of a dataset that runs were trained in, by their data's digest.

    Raises
    ------
    DataError
        When none of the runs was trained on the dataset as it is.
    """
    from cs_keras.data.dataset import Dataset
    from cs_keras.factors.store import load_factors
    from cs_keras.runs import digest
    from pipelines.factors import factors_names, factors_path
    from reports.html_spaces import Space

    opened = Dataset(dataset)
    spaces = {}
    for name in factors_names(dataset):
        factors = load_factors(factors_path(dataset, name))
        spaces[digest([opened.digest, factors.digest])] = Space(opened.tracks, factors)
    if not any(group.data_digest in spaces for group in collected.groups):
        raise DataError(
            f"No run was trained on {dataset} as it is now: its tracks or their factors are others, so that true "
            "and predicted factors would not be of one space."
        )
    return spaces


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
