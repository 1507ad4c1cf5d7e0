"""Matplotlib figures as SVG inside a page, in the page's own colours: readable in light and dark mode."""

import io
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from xml.etree import ElementTree

import matplotlib.style
from markupsafe import Markup
from matplotlib.font_manager import FontProperties, findfont, get_font

from reports.formats.plot_style import STYLE, Drawing, plain
from reports.formats.text import shorten

INK = "#010203"  # replaced by the page's text colour
# Okabe, Ito; replaced by the page's own shades, of which `report.css` has one for light and one for dark mode
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D31", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # one a colour, for readers who do not distinguish colours
MAX_LABEL = 44  # characters of a line
MISSING = "\N{WHITE SQUARE}"
PAGE_STYLE = {
    **STYLE,
    "font.size": 10,
    "savefig.bbox": "standard",  # as wide as it was drawn: text of all figures has one size
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), INK),
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": INK,
    "grid.alpha": 0.15,
}
METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
XLINK = "http://www.w3.org/1999/xlink"

ElementTree.register_namespace("", "http://www.w3.org/2000/svg")  # HTML knows SVG elements without a prefix
ElementTree.register_namespace("xlink", XLINK)


class Picture(NamedTuple):
    """A figure of a page: its id, its title, its caption, and the SVG element."""

    name: str
    title: str
    caption: str
    svg: Markup


@contextmanager
def page_style() -> Iterator[None]:
    """Draw in the page's style, independent of the user's matplotlib settings."""
    with matplotlib.style.context(["default", PAGE_STYLE]):
        yield


def label(text: str, width: int = MAX_LABEL) -> str:
    """Return a name in lines of at most `width` characters, which matplotlib shows as they are.

    Characters that the font lacks become squares, and no text becomes mathematics.
    """
    known = get_font(findfont(FontProperties())).get_charmap()
    shown = "".join(character if ord(character) in known else MISSING for character in shorten(text))
    return plain(textwrap.fill(shown, width))


def draw_pictures(drawings: Iterable[Drawing], name: str) -> tuple[Picture, ...]:
    """Render figures that were drawn inside `page_style`; `name` makes their ids unique on the page."""
    return tuple(_draw_picture(drawing, f"{name}-{drawing.name}") for drawing in drawings)


def _draw_picture(drawing: Drawing, name: str) -> Picture:
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        drawing.figure.savefig(file, format="svg", metadata=METADATA, transparent=True)
    return Picture(name, drawing.title, drawing.caption, _inline(file.getvalue(), name, drawing.title))


def _inline(svg: bytes, name: str, title: str) -> Markup:
    """Return the SVG element with ids that are unique on the page, an accessible label and no comments."""
    root = ElementTree.fromstring(svg)
    own = {INK: "currentColor"} | {one.lower(): f"var(--c{i})" for i, one in enumerate(COLOURS, 1)}
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                value = f"{name}-{value}"
            elif key == f"{{{XLINK}}}href" and value.startswith("#"):
                value = f"#{name}-{value[1:]}"
            value = value.replace("url(#", f"url(#{name}-")
            for colour, shade in own.items():
                value = value.replace(colour, shade)
            element.set(key, value)
    root.set("role", "img")
    root.set("aria-label", title)
    return Markup(ElementTree.tostring(root, encoding="unicode"))
