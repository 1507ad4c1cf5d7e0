"""Reports of a folder of runs, or of a study: read what is saved, tabulate it and write files."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cs_keras.data.schema import dataset_digest, factors_names, factors_path, read_info, read_tracks
from cs_keras.errors import ConfigError, CsKerasError, DataError
from cs_keras.factors.store import load_factors
from cs_keras.runs import atomic_write, digest
from cs_keras.storage.location import Location, is_remote
from cs_keras.storage.mirror import mirrored
from reports.formats.files import FORMATS, write_report
from reports.html.group import rank_runs
from reports.html.page import write_page
from reports.html.runs import folders_of, list_folders
from reports.html.source import Source
from reports.html.spaces import Space, Spaces
from reports.runs.collect import Collected, collect_runs
from reports.runs.folders import is_study
from reports.study.analysis import analyse_study
from reports.study.reading import STUDY_FILES, read_study
from reports.study.records import BEST_FILE, Study
from reports.study.tables import make_study_sections
from reports.study.write import write_study_report
from reports.tables.all_tables import make_sections
from reports.tables.table import Section

PAGE = "html"  # written on request only: the page brings a plotting library of five megabytes
DEFAULT_FACTORS = "wmf"  # of run-baselines

Inspect = Callable[[Path, Location], str | None]


@dataclass(frozen=True)
class Report:
    """Tables of runs or of a study, and the files they were written to.

    Attributes
    ----------
    left_out
        Why runs, trials or parts of the report are missing, a sentence each.
    training_command
        Trains the best trial's settings; None for runs, and for a study without a completed trial.
    """

    sections: tuple[Section, ...]
    left_out: tuple[str, ...]
    written: list[Path]
    training_command: str | None = None


def build_report(
    folder: Location,
    models: Sequence[str],
    out: Path | None = None,
    formats: Sequence[str] = tuple(FORMATS),
    dataset: Location | None = None,
    inspect: Inspect | None = None,
) -> Report:
    """Read the runs or the study in a folder, and write their report.

    Parameters
    ----------
    folder
        Runs on this machine, or a study, which may be behind a URL.
    models
        Keys of all models, in the order of tables.
    out
        Folder for the files. Default: ``report`` in `folder`, or in the working directory for a URL.
    formats
        Any of ``md``, ``csv``, ``latex`` and, for runs, ``html``.
    dataset
        That the runs were trained on; the HTML pages take names and true factors of tracks from it.
    inspect
        Writes ``inspection.npz`` into the folder of a run that was trained on a dataset, and returns None, or why
        there is nothing to inspect. It is called for the best run of each group that can be inspected.

    Raises
    ------
    ConfigError
        When `formats` or `dataset` do not fit the folder, or `folder` is a URL without a study.
    StorageError, DataError
        When nothing in `folder` can be read, or a file not be written.
    """
    target = out or (Path("report") if is_remote(folder) else Path(folder) / "report")
    if dataset is not None and PAGE not in formats:
        raise ConfigError(f"--dataset is for --format {PAGE} only. Received: {', '.join(formats)}.")
    if is_study(folder):
        if PAGE in formats:
            raise ConfigError(f"A study has no {PAGE}: expected {', '.join(FORMATS)}, which come with plots.")
        return _report_study(folder, target, formats)
    if is_remote(folder):
        raise ConfigError(f"Expected a study, or runs on this machine: {folder} has no study.json.")
    return _report_runs(Path(folder), models, target, formats, dataset, inspect)


def _report_runs(
    runs: Path,
    models: Sequence[str],
    out: Path,
    formats: Sequence[str],
    dataset: Location | None,
    inspect: Inspect | None,
) -> Report:
    collected = collect_runs(runs, tuple(models))
    sections = make_sections(collected)
    written = write_report(sections, out, tuple(name for name in formats if name != PAGE))
    if PAGE in formats:
        source = Source(collected, runs, {})
        if dataset is not None:
            spaces = open_spaces(dataset, collected)
            reasons = inspect_best(dataset, collected, runs, spaces, inspect) if inspect else {}
            source = Source(collected, runs, spaces, reasons)
        written += write_page(sections, source, out / PAGE)
    return Report(sections, collected.left_out, written)


def open_spaces(dataset: Location, collected: Collected) -> Spaces:
    """Load a dataset's sets of factors, by the digest of the data that runs name.

    Raises
    ------
    DataError
        When none of the runs was trained on the dataset in its present state.
    """
    spaces, tracks = {}, read_tracks(dataset)
    tables = dataset_digest(read_info(dataset), tracks)
    for name in factors_names(dataset):
        factors = load_factors(factors_path(dataset, name))
        spaces[digest([tables, factors.digest])] = Space(tracks, factors)
    if not any(group.data_digest in spaces for group in collected.groups):
        raise DataError(
            f"No run was trained on {dataset} as it is now: its tracks or their factors have changed, and "
            "true and predicted factors would be of different spaces."
        )
    return spaces


def inspect_best(
    dataset: Location, collected: Collected, runs: Path, spaces: Spaces, inspect: Inspect
) -> dict[Path, str]:
    """Inspect the best run of each group, or the best that has a network to inspect.

    Returns
    -------
    dict of Path to str
        Why a run was not inspected, by its folder. An error costs the page that part alone.
    """
    reasons: dict[Path, str] = {}
    folders = list_folders(runs)
    for group in (one for one in collected.groups if one.data_digest in spaces):
        for run in rank_runs(group):
            folder = folders_of(run, folders)[0]
            try:
                reason = inspect(folder, dataset)
            except CsKerasError as error:
                reasons[folder] = str(error)
                break
            if reason is None:
                break
            reasons[folder] = reason
    return reasons


def _report_study(folder: Location, out: Path, formats: Sequence[str]) -> Report:
    """Write the report of a study, and for a study behind a URL a local copy of the winner's settings."""
    with mirrored(folder, *STUDY_FILES) as copy:
        study = read_study(copy)
        analysis = analyse_study(study)
        written, best = write_study_report(analysis, out, formats), copy / BEST_FILE
        if is_remote(folder) and best.exists():
            with atomic_write(out / BEST_FILE) as file:
                file.write(best.read_bytes())
            best = out / BEST_FILE
            written.append(best)
    left_out = (*study.left_out, *analysis.differences.left_out)
    command = training_command(study, best) if study.ranked else None
    return Report(make_study_sections(analysis), left_out, written, command)


def training_command(study: Study, best: Path) -> str:
    """Return the command that trains and tests the best trial's settings, which are in the file `best`."""
    settings = study.settings
    words = ["cs-keras", "run-baselines", settings.dataset, "--models", settings.model]
    if settings.factors != DEFAULT_FACTORS:
        words += ["--factors", settings.factors]
    for name, values in (settings.attributes or {}).items():
        words += [word for value in values for word in (name, value)]
    return shlex.join([*words, "--config", str(best)])
