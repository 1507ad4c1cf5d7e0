"""The report of a folder of runs: its tables as files."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cs_keras.errors import ConfigError
from cs_keras.runs import atomic_write
from reports.collect import collect_runs
from reports.render import to_csv, to_latex, to_markdown
from reports.tables import Section, make_sections

FORMATS: dict[str, tuple[str, Callable[[Sequence[Section]], str]]] = {
    "md": ("tables.md", to_markdown),
    "csv": ("tables.csv", to_csv),
    "latex": ("tables.tex", to_latex),
}


def write_report(
    runs: Path, out: Path, formats: Sequence[str] = tuple(FORMATS), models: Sequence[str] = ()
) -> list[Path]:
    """Write the tables of all finished runs; the same runs give the same bytes.

    Parameters
    ----------
    runs
        Folder of run folders, or one run folder.
    out
        Folder for the files; it is made if need be.
    formats
        Any of ``md``, ``csv`` and ``latex``.
    models
        Model keys in the order in which to list them; others follow by name.

    Returns
    -------
    list of Path
        The files, one for each of `formats`.

    Raises
    ------
    ConfigError
        For an unknown format.
    StorageError, DataError
        When the runs cannot be read, see `reports.collect.collect_runs`, or a file cannot be written.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ConfigError(
            f"There is no report format {unknown[0]!r}. Expected one or more of: {', '.join(FORMATS)}."
        )
    sections = make_sections(collect_runs(runs, models))
    texts = {out / FORMATS[name][0]: FORMATS[name][1](sections) for name in formats}
    for path, text in texts.items():
        with atomic_write(path, "w") as file:
            file.write(text)
    return list(texts)
