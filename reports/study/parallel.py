"""Plot of all parameters of a study at once: a line for each trial, through its values to its score."""

from collections.abc import Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from reports.formats.plot_style import RED, plain
from reports.study.records import Study, score_of
from reports.study.scales import (
    INACTIVE_PLACE,
    ParameterScale,
    ScoreScale,
    parameter_scale,
    score_scale,
    title,
)

MAX_AXES = 10  # of parameters side by side; others stand below
AXIS_WIDTH = 1.0  # inches between two axes
MIN_WIDTH = 6.0  # inches
HEIGHT = 4.5  # inches of a row, names included
PANEL_SHARE = 0.65  # of that, without the names
LIGHTEST = 0.9  # of the colour map: its yellow end is not seen on white
N_SCORE_TICKS = 5
CROWD = 100  # lines; more are thinner
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}


def parallel_figure(study: Study) -> Figure:
    """Draw a line for each completed trial through its parameters to its score, the better the darker."""
    scales = [parameter_scale(parameter, study) for parameter in study.varied]
    blocks = [scales[start : start + MAX_AXES] for start in range(0, len(scales), MAX_AXES)]
    width = max(MIN_WIDTH, AXIS_WIDTH * (len(blocks[0]) + 2))
    figure = Figure(figsize=(width, HEIGHT * len(blocks)))
    for number, block in enumerate(blocks, 1):
        bottom = 1 - number / len(blocks)
        axes = figure.add_axes((0.03, bottom, 0.94, PANEL_SHARE / len(blocks)))
        _draw_block(axes, block, study)
        axes.set_xlim(-0.1, len(blocks[0]) + 0.5)
        if number == 1:
            told = f"red: the best, trial {study.ranked[0].trial}; others: the better the darker"
            axes.set_title(f"{title(study, 'Parameters and score')}\n{told}", loc="left", pad=90)
    return figure


def _draw_block(axes: Axes, scales: Sequence[ParameterScale], study: Study) -> None:
    """Draw the lines of all trials through some parameters."""
    scale, crowded = score_scale(study), len(study.ranked) > CROWD
    shares = [scale.share(score_of(trial)) for trial in study.ranked]
    places = zip(*(own.places(study.ranked) for own in scales), shares, strict=True)
    best, *others = [list(enumerate(line)) for line in places]
    distances = [share if study.sign < 0 else 1 - share for share in shares[1:]]
    colours = [colormaps["viridis"](LIGHTEST * distance) for distance in distances]
    collection = LineCollection(
        others[::-1],  # the better above the worse
        colors=colours[::-1],
        linewidths=0.6 if crowded else 1.0,
        alpha=0.5 if crowded else 0.7,
    )
    axes.add_collection(collection)
    axes.plot(*zip(*best, strict=True), color=RED, linewidth=2)
    for x, own in enumerate(scales):
        name = own.parameter.name + (" (log)" if own.parameter.log else "")
        _draw_axis(axes, x, plain(name), own.ticks)
    _draw_axis(axes, len(scales), plain(study.settings.objective), _score_ticks(scale))
    axes.set_ylim(INACTIVE_PLACE - 0.05, 1.05)
    axes.set_axis_off()


def _draw_axis(axes: Axes, x: float, name: str, ticks: Sequence[tuple[float, str]]) -> None:
    """Draw a vertical axis with its name above and its ticks on the right."""
    axes.vlines(x, min(0.0, ticks[0][0]), 1.0, color="black", linewidth=1, zorder=3)
    for y, label in ticks:
        axes.plot([x, x + 0.04], [y, y], color="black", linewidth=1, zorder=3)
        axes.text(x + 0.07, y, label, va="center", fontsize="small", zorder=4, bbox=LABEL_BOX)
    axes.text(x, 1.07, name, rotation=30, ha="left", va="bottom", rotation_mode="anchor")


def _score_ticks(scale: ScoreScale) -> list[tuple[float, str]]:
    shares = [i / (N_SCORE_TICKS - 1) for i in range(N_SCORE_TICKS)]
    return [(share, f"{scale.low + share * (scale.high - scale.low):.3g}") for share in shares]
