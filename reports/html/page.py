"""A report as one folder that any browser opens from disk: summary, tables, pictures, and a map of the tracks."""

import importlib.resources
from collections.abc import Iterator
from pathlib import Path

from cs_keras.runs import atomic_write
from reports.formats.html import notes_html
from reports.formats.html_markup import Markup, element
from reports.html.figures import page_style
from reports.html.group import GroupPage, make_group_page
from reports.html.map import map_script
from reports.html.runs import list_folders
from reports.html.source import Source
from reports.tables.table import Section

PAGE_FILE = "index.html"
ASSETS = ("report.css", "report.js")
MAP_ASSET = "map.js"
PLOTLY = "plotly.min.js"
TITLE = "How well sound alone places a new track"


def write_page(sections: tuple[Section, ...], source: Source, out: Path) -> list[Path]:
    """Write a page and what it needs; the same runs give the same bytes.

    Parameters
    ----------
    sections
        As `reports.tables.all_tables.make_sections` returns them for ``source.collected``.
    source
        Runs, and what is known of their tracks.
    out
        Folder for the files; it is made if need be.

    Returns
    -------
    list of Path
        The files, the page first.

    Raises
    ------
    StorageError, DataError
        When a file of a run cannot be read, or one of the page not be written.
    """
    files = dict(_files(sections, source))
    for name, text in files.items():
        with atomic_write(out / name, "w") as file:
            file.write(text)
    return [out / name for name in files]


def _files(sections: tuple[Section, ...], source: Source) -> Iterator[tuple[str, str]]:
    folders, collected = list_folders(source.runs), source.collected
    with page_style():
        pages = [
            make_group_page(group, section, source, folders, f"g{number}")
            for number, (group, section) in enumerate(zip(collected.groups, sections, strict=True), 1)
        ]
    maps = [page.track_map for page in pages if page.track_map]
    scripts = {f"map-{number}.js": map_script(own) for number, own in enumerate(maps, 1)}
    names = [*ASSETS, MAP_ASSET] if maps else [*ASSETS]
    loaded = [name for name in (ASSETS[1], *([PLOTLY, *scripts, MAP_ASSET] if maps else []))]
    yield PAGE_FILE, _page(sections, pages, collected.left_out, loaded)
    yield from ((name, read_asset(name)) for name in names)
    yield from scripts.items()
    if maps:
        yield PLOTLY, read_asset(PLOTLY)


def read_asset(name: str) -> str:
    """Return a style sheet or script of ours, or Plotly's."""
    package, folder = ("plotly", "package_data") if name == PLOTLY else ("reports", "assets")
    return (importlib.resources.files(package) / folder / name).read_text(encoding="utf-8")


def _page(
    sections: tuple[Section, ...], pages: list[GroupPage], left_out: tuple[str, ...], scripts: list[str]
) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", TITLE),
        element("link", rel="stylesheet", href=ASSETS[0]),
        element("link", rel="icon", href="data:,"),  # else a browser looks for one
        *(element("script", src=name, defer=True) for name in scripts),
    )
    body = element(
        "body",
        element("header", element("h1", TITLE), *_navigation(sections)),
        element("main", *(page.content for page in pages), *_left_out(left_out)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _navigation(sections: tuple[Section, ...]) -> Iterator[Markup]:
    """Yield links to the groups, if there are several."""
    if len(sections) > 1:
        links = (element("a", one.heading, href=f"#g{number}") for number, one in enumerate(sections, 1))
        yield element("nav", element("ul", *(element("li", link) for link in links)), aria_label="Data")


def _left_out(reasons: tuple[str, ...]) -> Iterator[Markup]:
    if reasons:
        yield element("section", element("h2", "Left out of the report"), notes_html(reasons))
