"""Reports of a folder of runs, or of a study: read what is saved, tabulate it and write files."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cs_keras.errors import ConfigError
from cs_keras.run_files.study import is_study
from cs_keras.storage.location import Location, is_remote
from reports.commands.best_model import rank_runs
from reports.commands.conclusion import conclude
from reports.formats.files import FORMATS, write_report
from reports.html.options import PageOptions
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from reports.tables.cells.table import Section
from reports.tables.labels import best_label_run, conclude_labels, make_label_sections

PAGE = "html"  # written on request only: the page brings a plotting library of five megabytes


@dataclass(frozen=True)
class Report:
    """Tables of runs or of a study, and the files they were written to.

    Attributes
    ----------
    conclusions
        What the tables show, in one table and a few sentences for each section.
    left_out
        Why runs, trials or parts of the report are missing, a sentence each.
    next_command
        Arguments of ``cs-keras``. For runs they write the page or, if it was written, recommend tracks by the best
        run; for a study they train the best trial's settings, None without a completed trial.
    """

    sections: tuple[Section, ...]
    conclusions: tuple[Section, ...]
    left_out: tuple[str, ...]
    written: list[Path]
    next_command: str | None
    stale: tuple[Path, ...] = ()


def build_report(
    folder: Location,
    models: Sequence[str],
    out: Path | None = None,
    formats: Sequence[str] = tuple(FORMATS),
    page: PageOptions | None = None,
    dataset: Location | None = None,
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
    page
        What ``html`` shows besides runs.
    dataset
        Dataset of the runs, which the next command names.

    Raises
    ------
    ConfigError
        When `formats` or `page` do not fit the folder, or `folder` is a URL without a study.
    StorageError, DataError
        When nothing in `folder` can be read, or a file not be written.
    """
    page = page or PageOptions()
    target = out or (Path("report") if is_remote(folder) else Path(folder) / "report")
    for option, value in (("--dataset", page.dataset), ("--audio-root or --tracks", page.recordings)):
        if value is not None and PAGE not in formats:
            raise ConfigError(f"{option} is for --format {PAGE} only. Received: {', '.join(formats)}.")
    if is_study(folder):
        if PAGE in formats:
            raise ConfigError(f"A study has no {PAGE}: expected {', '.join(FORMATS)}, which come with plots.")
        from reports.study.report import report_study  # draws, and plotting libraries load slowly

        return Report(*report_study(folder, target, formats))
    if is_remote(folder):
        raise ConfigError(f"Expected a study, or runs on this machine: {folder} has no study.json.")
    collected = collect_runs(Path(folder), tuple(models))
    own, of_labels = make_sections(collected), make_label_sections(collected)
    sections = (*own, *of_labels)
    if PAGE in formats and not own:
        raise ConfigError(
            f"{PAGE} has runs of factors only, and {folder} has none: expected {', '.join(FORMATS)}."
        )
    written = write_report(sections, target, tuple(name for name in formats if name != PAGE))
    if PAGE in formats:
        from reports.html.build import build_pages

        written += build_pages(collected, own, target / PAGE, page)
    files = {
        **{name: target / file for name, (file, _) in FORMATS.items()},
        PAGE: target / PAGE / "index.html",
    }
    stale = tuple(path for name, path in files.items() if name not in formats and path.is_file())
    conclusions = (*conclude(collected, own), *map(conclude_labels, of_labels))
    words = ["report", str(folder), "--format", PAGE, "--dataset", str(dataset or "DATASET")]
    if not own:
        words = ["tags", "AUDIO", "--tagger", str(best_label_run(collected.label_groups[0]).folders[0])]
    elif PAGE in formats:
        words = ["recommend", str(rank_runs(collected.groups[0])[0].folders[0]), "TRACK"]
        words += ["--dataset", str(page.dataset)] if page.dataset else []
    return Report(sections, conclusions, collected.left_out, written, shlex.join(words), stale)
