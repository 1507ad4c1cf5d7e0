"""Style and files of plots: colours, fonts, and reproducible PNG and SVG files."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from cs_keras.runs import atomic_write

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
    "savefig.dpi": 150,
    "svg.hashsalt": "cs-keras",  # reproducible ids
}
METADATA = {"png": {"Software": None}, "svg": {"Date": None}}  # nothing that changes from run to run


def plain(text: str) -> str:
    """Escape dollar signs, so that matplotlib does not typeset mathematics."""
    return text.replace("$", r"\$")


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in this style, independent of the user's matplotlib settings."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def save_figures(figures: Iterable[tuple[str, Figure]], folder: Path) -> list[Path]:
    """Draw named figures in this style and save each as PNG and SVG; the same figure gives the same bytes."""
    written = []
    with style():
        for name, figure in figures:
            for kind, metadata in METADATA.items():
                written.append(folder / f"{name}.{kind}")
                with atomic_write(written[-1]) as file:
                    figure.savefig(file, format=kind, metadata=metadata)
    return written
