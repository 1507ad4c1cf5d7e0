"""Tables as files."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cs_keras.errors import ConfigError
from cs_keras.factors.selection import Selection
from cs_keras.runs import atomic_write
from cs_keras.storage.location import Location
from reports.commands.factor_selection import make_selection_section
from reports.formats.latex import to_latex
from reports.formats.markdown_csv import to_csv, to_markdown
from reports.tables.cells.table import Section

FORMATS: dict[str, tuple[str, Callable[[Sequence[Section]], str]]] = {
    "md": ("tables.md", to_markdown),
    "csv": ("tables.csv", to_csv),
    "latex": ("tables.tex", to_latex),
}


def write_report(
    sections: Sequence[Section], out: Path, formats: Sequence[str] = tuple(FORMATS)
) -> list[Path]:
    """Write tables to files; the same tables give the same bytes.

    Parameters
    ----------
    sections
        Tables, as `reports.tables.all_tables.make_sections` returns them.
    out
        Folder for the files; created if it does not exist.
    formats
        Any of ``md``, ``csv`` and ``latex``.

    Returns
    -------
    list of Path
        The files, one for each of `formats`.

    Raises
    ------
    ConfigError
        For an unknown format.
    StorageError
        When a file cannot be written.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ConfigError(
            f"There is no report format {unknown[0]!r}. Expected one or more of: {', '.join(FORMATS)}."
        )
    texts = {out / FORMATS[name][0]: FORMATS[name][1](sections) for name in formats}
    for path, text in texts.items():
        with atomic_write(path, "w") as file:
            file.write(text)
    return list(texts)


def write_selection(path: Location, selection: Selection) -> None:
    """Write all settings of a search for factors as a Markdown table."""
    with atomic_write(path, "w") as file:
        file.write(to_markdown([make_selection_section(selection, None)]))
