"""The report of a study as files: its tables, and its plots as PNG and SVG."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from reports.formats.files import FORMATS, write_report
from reports.formats.plot_style import save_figure, style
from reports.study.analysis import Analysis
from reports.study.parallel import parallel_figure
from reports.study.plots import history_figure, importance_figure, time_figure
from reports.study.slices import slices_figure
from reports.study.tables import N_SHOWN, make_study_sections

FOR_PROGRAMS = "csv"  # of which no row is left out
PLOT_KINDS = ("png", "svg")


def write_study_report(analysis: Analysis, out: Path, formats: Sequence[str] = tuple(FORMATS)) -> list[Path]:
    """Write the tables and plots of a study; the same study gives the same bytes.

    Parameters
    ----------
    analysis
        As `reports.study.analysis.analyse_study` returns it.
    out
        Folder for the files; it is made if need be.
    formats
        Any of ``md``, ``csv`` and ``latex``, for tables: csv has all trials, the others the best of them.

    Returns
    -------
    list of Path
        The files, a table for each of `formats` first.

    Raises
    ------
    ConfigError
        For an unknown format.
    StorageError
        When a file cannot be written.
    """
    written = []
    for name in formats:
        n_shown = None if name == FOR_PROGRAMS else N_SHOWN
        written += write_report(make_study_sections(analysis, n_shown), out, [name])
    with style():
        for name, figure in _figures(analysis):
            for kind in PLOT_KINDS:
                written.append(out / f"{name}.{kind}")
                save_figure(figure, written[-1])
    return written


def _figures(analysis: Analysis) -> Iterator[tuple[str, Figure]]:
    """Yield the plots that a study has enough for, by file name."""
    study = analysis.study
    if not study.ranked:
        return
    yield "history", history_figure(study)
    yield "time", time_figure(study)
    if study.varied:
        yield "parallel", parallel_figure(study)
        yield "slices", slices_figure(study)
    if analysis.importance:
        yield "importance", importance_figure(study, analysis.importance)
