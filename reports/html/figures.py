"""Pictures inside a page: SVG that takes the page's own text colour, so that it is as clear on dark as on light."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from reports.formats.html_markup import Markup, element
from reports.formats.markdown_csv import printable
from reports.formats.plot_style import STYLE, plain

INK = "#010203"  # stands for the page's text colour
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#8C6D31",
    "#7F7F7F",
)  # Okabe, Ito
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # so that colour alone tells nothing apart
MAX_LABEL = 44  # characters
MISSING = "\N{WHITE SQUARE}"

PAGE_STYLE = {
    **STYLE,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), INK),
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": INK,
    "grid.alpha": 0.15,
}
METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@contextmanager
def page_style() -> Iterator[None]:
    """Draw in the page's style, whatever the user's own settings are."""
    with matplotlib.style.context(["default", PAGE_STYLE]):
        yield


def label(text: str) -> str:
    """Return a name that the font can draw, short, and that is not taken for mathematics."""
    shown = printable(text)
    shown = shown if len(shown) <= MAX_LABEL else f"{shown[: MAX_LABEL - 1]}…"
    known = get_font(findfont(FontProperties())).get_charmap()
    return plain("".join(character if ord(character) in known else MISSING for character in shown))


def figure_html(figure: Figure, name: str, caption: str) -> Markup:
    """Return a figure drawn inside `page_style`, with its caption; `name` is its id, a word of its own."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=METADATA, transparent=True)
    picture = _inline(file.getvalue(), name, caption)
    scroll = element("div", picture, class_="scroll", role="region", aria_label=caption, tabindex="0")
    return element("figure", scroll, element("figcaption", caption), id=name)


def _inline(svg: str, name: str, caption: str) -> Markup:
    """Return SVG to stand inside HTML: ids of its own, our text colour, no fixed size."""
    body = svg[svg.index("<svg") :].replace(INK, "currentColor")
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", body)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)  # of names
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    label = str(element("svg", role="img", aria_label=caption)).removesuffix("></svg>")
    return Markup(re.sub(r"<svg\b", lambda _: label, body, count=1).strip())
