"""The style of all plots: colours, fonts, and saving them so that equal plots are equal files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from cs_keras.runs import atomic_write

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#999999"  # of Okabe and Ito's: clear to all eyes
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
    "svg.hashsalt": "cs-keras",  # else the same plot has other ids each time
}
METADATA = {"png": {"Software": None}, "svg": {"Date": None}}  # nothing that changes while the numbers do not


def plain(text: str) -> str:
    """Return text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in our style, whatever the user's own settings are."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format that its file name says: the same figure, the same bytes.

    Raises
    ------
    StorageError
        When the file cannot be written.
    """
    kind = path.suffix.removeprefix(".")
    with atomic_write(path) as file:
        figure.savefig(file, format=kind, metadata=METADATA[kind])
