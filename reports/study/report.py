"""The report of a study: tables, plots as PNG and SVG, and the command that trains the best trial."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from cs_keras.run_files.names import BEST_FILE
from cs_keras.runs import atomic_write
from cs_keras.storage.location import Location, is_remote
from cs_keras.storage.mirror import mirrored
from reports.formats.files import FORMATS, write_report
from reports.formats.plot_style import save_drawings
from reports.study.plots import study_drawings
from reports.study.reading import STUDY_FILES, read_study
from reports.study.records import Study
from reports.study.tables import N_SHOWN, Analysis, analyse_study, conclude_study, make_study_sections
from reports.tables.cells.table import Section

DEFAULT_FACTORS = "wmf"  # default of run-baselines
FULL_FORMAT = "csv"  # has all trials, other formats the best


def report_study(
    folder: Location, out: Path, formats: Sequence[str]
) -> tuple[tuple[Section, ...], tuple[Section, ...], tuple[str, ...], list[Path], str | None]:
    """Write the report of a study and, if the study is behind a URL, a local copy of the best settings.

    Returns the fields of `reports.report.Report`, in order.
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
    left_out = (*study.left_out, *analysis.left_out)
    command = training_command(study, best) if study.ranked else None
    return make_study_sections(analysis), (conclude_study(analysis),), left_out, written, command


def training_command(study: Study, best: Path) -> str:
    """Return the arguments of ``cs-keras`` that train the best trial's settings, which are in the file `best`."""
    settings = study.settings
    words = ["run-baselines", settings.dataset, "--models", settings.model]
    if settings.factors != DEFAULT_FACTORS:
        words += ["--factors", settings.factors]
    for name, values in (settings.attributes or {}).items():
        words += [word for value in values for word in (name, value)]
    return shlex.join([*words, "--config", str(best)])


def write_study_report(analysis: Analysis, out: Path, formats: Sequence[str] = tuple(FORMATS)) -> list[Path]:
    """Write the tables and plots of a study, the tables first; the same study gives the same bytes.

    The table in CSV has all trials, other formats the best of them.
    """
    written: list[Path] = []
    for name in formats:
        n_shown = None if name == FULL_FORMAT else N_SHOWN
        written += write_report(make_study_sections(analysis, n_shown), out, [name])
    return written + save_drawings(study_drawings(analysis.study, analysis.importance), out)
