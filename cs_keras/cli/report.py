"""``cs-keras report``: tables and pages from saved run folders, tables and plots of studies; no TensorFlow."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cs_keras.cli.paths import DATASET, LOCAL_PATH
from cs_keras.cli.tables import print_sections
from cs_keras.errors import ConfigError, DataError

if TYPE_CHECKING:
    from cs_keras.storage.location import Location
    from reports.html.spaces import Spaces
    from reports.runs.collect import Collected
    from reports.study.records import Study
    from reports.tables.table import Section

FORMATS = ("md", "csv", "latex")
PAGE = "html"  # only when asked for: it brings a plotting library of five megabytes
DEFAULT_FACTORS = "wmf"  # of run-baselines


@click.command("report")
@click.argument("folder", metavar="RUNS|STUDY", type=DATASET)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice((*FORMATS, PAGE)),
    help="What to write; may be given several times.  [default: md, csv, latex]",
)
@click.option(
    "--out",
    type=LOCAL_PATH,
    help="Folder for the files.  [default: report in the folder itself; of a study behind a URL ./report]",
)
@click.option(
    "--dataset",
    type=DATASET,
    help="What the runs were trained on: for the names in html, and its look into the best network.",
)
def command(
    folder: "Location", formats: tuple[str, ...], out: Path | None, dataset: "Location | None"
) -> None:
    """Print the tables of a folder of runs, or of a study, and write them as Markdown, CSV and LaTeX.

    Of runs, those that failed are named; html is a folder of pages with pictures and a map of the tracks, which any
    browser opens from disk. Of a study, which may be behind a URL, trials, what each parameter matters, and plots
    (PNG and SVG); the command that trains the winner comes last.
    """
    from cs_keras.storage.location import is_remote
    from reports.runs.folders import is_study

    chosen = formats or FORMATS
    target = out or (Path("report") if is_remote(folder) else folder / "report")
    if dataset is not None and PAGE not in chosen:
        raise ConfigError(f"--dataset is for --format {PAGE} only. Received: {', '.join(chosen)}.")
    if not is_study(folder):
        if is_remote(folder):
            raise ConfigError(f"Expected a study, or runs on this machine: {folder} has no study.json.")
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
    from reports.formats.files import write_report
    from reports.runs.collect import collect_runs
    from reports.tables.all_tables import make_sections

    collected = collect_runs(runs, tuple(MODEL_FILES))
    sections = make_sections(collected)
    written = write_report(sections, out, tuple(name for name in formats if name != PAGE))
    if PAGE in formats:
        written += _write_page(collected, sections, runs, out / PAGE, dataset)
    print_sections(sections)
    _tell(collected.left_out, written)


def _write_page(
    collected: "Collected",
    sections: "tuple[Section, ...]",
    runs: Path,
    out: Path,
    dataset: "Location | None",
) -> list[Path]:
    from reports.html.page import write_page
    from reports.html.source import Source

    if dataset is None:
        return write_page(sections, Source(collected, runs, {}), out)
    spaces = open_spaces(dataset, collected)
    uninspected = inspect_best(dataset, collected, runs, spaces)
    return write_page(sections, Source(collected, runs, spaces, uninspected), out)


def inspect_best(
    dataset: "Location", collected: "Collected", runs: Path, spaces: "Spaces"
) -> dict[Path, str]:
    """Look into the network of each group's best model, or of the best that has anything to look at.

    What is found is kept in the run's folder, and not done again. TensorFlow is loaded only where it is to be done.

    Returns
    -------
    dict of Path to str
        Why a run was not looked into, by its folder; whatever fails costs the page no more than that part.
    """
    from cs_keras.errors import CsKerasError
    from pipelines.inference.inspection_file import why_not
    from reports.html.group import rank_runs
    from reports.html.runs import folders_of, list_folders

    reasons: dict[Path, str] = {}
    folders = list_folders(runs)
    for group in collected.groups:
        if group.data_digest not in spaces:
            continue
        for run in rank_runs(group):
            folder = folders_of(run, folders)[0]
            try:
                reason = why_not(folder)
                if reason is None:
                    _inspect(folder, dataset)
                    break
            except CsKerasError as error:
                reasons[folder] = str(error)
                break
            reasons[folder] = reason
    return reasons


def _inspect(folder: Path, dataset: "Location") -> None:
    from cs_keras.cli.console import Console, quiet_tensorflow
    from cs_keras.data.dataset import Dataset
    from pipelines.inference.inspection_file import is_inspected

    opened = Dataset(dataset)
    if not is_inspected(folder, opened.digest):
        quiet_tensorflow()
        from pipelines.inference.inspect_run import inspect_run

        inspect_run(folder, opened, Console())


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
    from pipelines.factors.fit import factors_names, factors_path
    from reports.html.spaces import Space

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


def show_study(folder: "Location", out: Path, formats: tuple[str, ...] = FORMATS) -> None:
    """Print the tables of the study in `folder` and write them, and its plots, to `out`.

    Of a study behind a URL the winner's settings are written there too, for the command that trains it.
    """
    from cs_keras.runs import atomic_write
    from cs_keras.storage.location import is_remote
    from cs_keras.storage.mirror import mirrored
    from reports.study.analysis import analyse_study
    from reports.study.reading import STUDY_FILES, read_study
    from reports.study.records import BEST_FILE
    from reports.study.tables import make_study_sections
    from reports.study.write import write_study_report

    with mirrored(folder, *STUDY_FILES) as copy:
        study = read_study(copy)
        analysis = analyse_study(study)
        written, best = write_study_report(analysis, out, formats), copy / BEST_FILE
        if is_remote(folder) and best.exists():
            with atomic_write(out / BEST_FILE) as file:
                file.write(best.read_bytes())
            best = out / BEST_FILE
            written.append(best)
    print_sections(make_study_sections(analysis))
    _tell((*study.left_out, *analysis.differences.left_out), written)
    if study.ranked:
        click.echo(f"To train the best:\n{training_command(study, best)}")


def training_command(study: "Study", best: Path) -> str:
    """Return the command that trains and tests the best trial's settings, which the file `best` holds."""
    settings = study.settings
    words = ["cs-keras", "run-baselines", settings.dataset, "--models", settings.model]
    if settings.factors != DEFAULT_FACTORS:
        words += ["--factors", settings.factors]
    for name, values in (settings.attributes or {}).items():
        words += [word for value in values for word in (name, value)]
    return shlex.join([*words, "--config", str(best)])


def _tell(left_out: tuple[str, ...], written: list[Path]) -> None:
    for reason in left_out:
        click.echo(f"Left out of the report: {reason}", err=True)
    click.echo(f"Written: {', '.join(map(str, written))}", err=True)
