"""Style and files of plots: colours, fonts, captions, and reproducible PNG and SVG files."""

import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import matplotlib.style
from matplotlib.figure import Figure

from cs_keras.runs import atomic_write

NARROW = 4.5  # inches of a figure whose text of 10 points can be read on a telephone
CHARACTERS = {"title": 13, "caption": 18}  # on an inch
GAP = 0.08  # inches between a plot and its title or caption
# Okabe and Ito, for colour-blind readers too
BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#999999"
STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "savefig.bbox": "tight",
    "savefig.dpi": 200,
    "svg.hashsalt": "cs-keras",  # reproducible ids
}
METADATA = {"png": {"Software": None}, "svg": {"Date": None}}  # nothing that changes from run to run


class Drawing(NamedTuple):
    """A figure, the name of its file or id, its title, and a caption that says what to see in it."""

    name: str
    figure: Figure
    title: str
    caption: str


def plain(text: str) -> str:
    """Escape dollar signs, so that matplotlib does not typeset mathematics."""
    return text.replace("$", r"\$")


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in this style, independent of the user's matplotlib settings."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def save_drawings(drawings: Iterable[Drawing], folder: Path) -> list[Path]:
    """Draw in this style, and save as PNG and SVG, title above and caption below; the same gives the same bytes."""
    written = []
    with style():
        for name, figure, title, caption in drawings:
            above, below = (
                textwrap.fill(plain(text), int(n * figure.get_figwidth()))
                for text, n in zip((title, caption), CHARACTERS.values(), strict=True)
            )
            figure.draw_without_rendering()  # places what the layout places
            low, high = figure.get_tightbbox().intervaly / figure.get_figheight()
            gap = GAP / figure.get_figheight()
            figure.text(0.01, high + gap, above, va="bottom", weight="bold")
            figure.text(0.01, low - gap, below, va="top", fontsize="small", linespacing=1.4)
            for kind, metadata in METADATA.items():
                written.append(folder / f"{name}.{kind}")
                with atomic_write(written[-1]) as file:
                    figure.savefig(file, format=kind, metadata=metadata)
    return written
