"""The report of a study, on disk or behind a URL, and the command that trains its winner."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from cs_keras.runs import atomic_write
from cs_keras.storage.location import Location, is_remote
from cs_keras.storage.mirror import mirrored
from reports.study.analysis import analyse_study
from reports.study.reading import STUDY_FILES, read_study
from reports.study.records import BEST_FILE, Study
from reports.study.tables import make_study_sections
from reports.study.write import write_study_report
from reports.tables.table import Section

DEFAULT_FACTORS = "wmf"  # of run-baselines


def report_study(
    folder: Location, out: Path, formats: Sequence[str]
) -> tuple[tuple[Section, ...], tuple[str, ...], list[Path], str | None]:
    """Write the report of a study, and for a study behind a URL a local copy of the winner's settings.

    Returns
    -------
    sections, left_out, written, training_command
        See `reports.report.Report`.
    """
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
    return make_study_sections(analysis), left_out, written, command


def training_command(study: Study, best: Path) -> str:
    """Return the command that trains and tests the best trial's settings, which are in the file `best`."""
    settings = study.settings
    words = ["cs-keras", "run-baselines", settings.dataset, "--models", settings.model]
    if settings.factors != DEFAULT_FACTORS:
        words += ["--factors", settings.factors]
    for name, values in (settings.attributes or {}).items():
        words += [word for value in values for word in (name, value)]
    return shlex.join([*words, "--config", str(best)])
