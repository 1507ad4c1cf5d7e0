"""Figures of genre classification: the confusion matrix, and genre probabilities of tracks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cs_keras.evaluation.labels.genre_accuracy import Composition, GenreAccuracy, GenreFindings
from reports.formats.plot_style import BLUE, ORANGE, Drawing, plain, save_drawings
from reports.tables.cells.numbers import format_share

CELL = 0.55  # inches for a genre
COLOURS = "cividis"  # perceptually uniform, also for colour-blind readers
MAX_NUMBERED = 20  # genres up to which cells show counts


def write_genre_figures(findings: GenreFindings, folder: Path) -> list[Path]:
    """Write all figures as PNG and SVG; genre probabilities are numbered in the order of `findings`."""
    return save_drawings(_drawings(findings), folder)


def _drawings(findings: GenreFindings) -> Iterator[Drawing]:
    accuracy = findings.accuracy
    yield Drawing(
        "confusion",
        confusion_figure(accuracy),
        f"Genres as classified: accuracy {format_share(accuracy.accuracy)} %, {accuracy.n_tracks:,} tracks",
        "Bright cells off the diagonal are genres (rows) that are classified as others (columns). Numbers: tracks; "
        f"white rows have none. For all {accuracy.majority}, the most frequent genre, accuracy would be "
        f"{format_share(accuracy.majority_accuracy)} %.",
    )
    for number, composition in enumerate(findings.compositions, 1):
        yield Drawing(
            f"composition-{number}",
            composition_figure(accuracy, composition),
            f"Genre probabilities of {composition.track_id}",
            "One long bar: a track that is typical of a genre; several: one between genres. Orange and *: its own.",
        )


def confusion_figure(accuracy: GenreAccuracy) -> Figure:
    """Draw the share of each genre that was classified as each genre, with counts in the cells."""
    counts, n = accuracy.confusion, len(accuracy.genres)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    figure = Figure(figsize=(2.5 + CELL * n, 1.8 + CELL * n), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap=COLOURS, vmin=0, vmax=1)
    names = [plain(name) for name in accuracy.genres]
    axes.set_xticks(range(n), names, rotation=45, ha="right")
    axes.set_yticks(range(n), names)
    axes.grid(False)
    for (row, column), count in np.ndenumerate(counts) if n <= MAX_NUMBERED else ():
        colour = "white" if shares[row, column] <= 0.5 else "black"  # black without tracks
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    axes.set(xlabel="predicted genre", ylabel="genre of the track")
    figure.colorbar(picture, ax=axes, label="share of the genre's tracks", shrink=0.8)
    return figure


def composition_figure(accuracy: GenreAccuracy, composition: Composition) -> Figure:
    """Draw the probability of each genre for a track, the largest at the top; its own genres are orange."""
    order = np.argsort(-composition.probabilities, kind="stable").tolist()
    own = {name.casefold() for name in composition.labels}
    figure = Figure(figsize=(6, 1.3 + 0.28 * len(order)), layout="constrained")
    axes = figure.add_subplot()
    y = np.arange(len(order))
    names = [accuracy.genres[column] for column in order]
    shares = 100 * composition.probabilities[order]
    axes.barh(y, shares, color=[ORANGE if name.casefold() in own else BLUE for name in names])
    axes.set_yticks(y, [plain(f"{name} *" if name.casefold() in own else name) for name in names])
    axes.set_ylim(len(order) - 0.5, -0.5)
    for position, share in zip(y, shares.tolist(), strict=True):
        axes.annotate(f"{share:.1f}", (share, position), (3, 0), textcoords="offset points", va="center")
    axes.set(xlim=(0, 110), xticks=range(0, 101, 20), xlabel="probability (%)")
    return figure
