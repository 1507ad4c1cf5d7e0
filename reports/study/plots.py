"""Plots of a study: scores by trial, time and parameter, all parameters at once, and their importance."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cs_keras.run_files.study import TrialRecord
from reports.formats.plot_style import BLUE, GREY, ORANGE, RED, Drawing, plain
from reports.study.importance import Importance
from reports.study.records import Parameter, Study, score_of
from reports.study.scales import INACTIVE_POSITION, ParameterScale, ScoreScale, parameter_scale, score_scale

BAR_HEIGHT = 0.28  # inches for a parameter
NAME_SIZE = (36.0, 14.0)  # width and height of the number of a trial in pixels
UNITS = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))  # minimum in s, length in s, name
LOG_FROM = 10.0  # ratio of the longest to the shortest time from which on the axis is logarithmic
N_COLUMNS = 4  # of the plot by parameter
PANEL = (2.5, 2.2)  # inches
MAX_LABELS = 12  # characters of the ticks of a panel; longer ones are rotated
MAX_AXES = 10  # parallel axes next to each other; more continue below
AXIS_WIDTH, MIN_WIDTH = 1.0, 6.0  # inches
BLOCK_HEIGHT = 4.5  # inches of a block of parallel axes, names included
AXIS_SHARE = 0.65  # share of that height without the names
LIGHTEST = 0.9  # end of the colour map: its yellow is invisible on white
N_SCORE_TICKS = 5
ABOVE: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 3}  # of the axes: legends
NAME_ROOM = 0.08  # share of the width that is free on either side, for the numbers of trials
CROWD = 100  # lines from which on they are thinner
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}


def study_drawings(study: Study, importance: Importance | None) -> Iterator[Drawing]:
    """Yield the plots for which a study has enough trials."""
    if not study.ranked:
        return
    of = f": {study.settings.model} on {study.settings.dataset}"
    failed = " Crosses: failed trials." if study.failed else ""
    caption = (
        f"Where the best score so far (line) has been flat for long, more trials will hardly help.{failed}"
    )
    yield Drawing("history", history_figure(study), f"Score by trial{of}", caption)
    caption = "A trial off the line takes more time than one on the line that scores as well or better."
    yield Drawing("time", time_figure(study), f"Score by time{of}", caption)
    if study.varied:
        caption = (
            "Values through which only dark lines go are good ones: the better a trial, the darker its line. "
            f"Red: the best, trial {study.ranked[0].trial}."
        )
        yield Drawing("parallel", parallel_figure(study), f"Parameters and score{of}", caption)
        caption = (
            "A parameter matters where good scores crowd at some of its values; if the best (orange) is at an "
            f"end of the range, widen it.{failed}"
        )
        yield Drawing("slices", slices_figure(study), f"Score by parameter{of}", caption)
    if importance:
        r2, low, high = importance.explained
        caption = (
            "The farther right of zero, the more the score depends on a parameter; intervals that reach zero "
            f"may be chance. Held-out R² of the model of scores: {r2:.2f} [{low:.2f}, {high:.2f}], from "
            f"{importance.n_settings} settings."
        )
        title = f"Hyperparameter importance{of}"
        yield Drawing("importance", importance_figure(importance), title, caption)


def history_figure(study: Study) -> Figure:
    """Draw the score of each trial in order, the best so far, and failed trials."""
    scale, figure = score_scale(study), Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    numbers = {trial.trial: number for number, trial in enumerate(study.trials)}
    completed = sorted(study.ranked, key=lambda trial: numbers[trial.trial])
    x = [numbers[trial.trial] for trial in completed]
    scores = study.sign * np.array([score_of(trial) for trial in completed])
    best = [scale.clip(score) for score in study.sign * np.maximum.accumulate(scores)]
    x_best, y_best = [*x, len(numbers) - 1], [*best, best[-1]]
    axes.plot(x_best, y_best, drawstyle="steps-post", color=ORANGE, label="best so far")
    for trial in (one for one in completed if one.spread is not None):
        score, spread = score_of(trial), trial.spread or 0.0
        low, high = scale.clip(score - spread), scale.clip(score + spread)
        axes.vlines(numbers[trial.trial], low, high, color=BLUE, alpha=0.4, linewidth=1)
    y = [scale.clip(score_of(trial)) for trial in completed]
    axes.plot(x, y, "o", color=BLUE, markersize=4, alpha=0.8, label="trial")
    if study.failed:
        failed = [numbers[trial.trial] for trial in study.failed]
        axes.plot(failed, [scale.beyond] * len(failed), "x", color=RED, markersize=5, label="failed")
    names = list(numbers)
    axes.set_xticks(
        [x for x in MaxNLocator(integer=True).tick_values(0, len(names) - 1) if 0 <= x < len(names)]
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: names[int(x)] if 0 <= x < len(names) else ""))
    axes.set(xlabel="trial", ylabel=scale.label)
    scale.fit(axes)
    axes.legend(**ABOVE)
    return figure


def importance_figure(importance: Importance) -> Figure:
    """Draw the importance of each parameter with its interval, the most important at the top."""
    estimates = importance.by_parameter
    figure = Figure(figsize=(7, 1.4 + BAR_HEIGHT * len(estimates)), layout="constrained")
    axes = figure.add_subplot()
    y = np.arange(len(estimates))
    means, low, high = np.array(list(estimates.values())).T
    axes.hlines(y, low, high, color=BLUE, alpha=0.4, linewidth=4)
    axes.plot(means, y, "o", color=BLUE, markersize=5)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(y, [plain(name) for name in estimates])
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    axes.set_xlabel("decrease of R² when permuted; mean and 95% interval")
    return figure


def time_figure(study: Study) -> Figure:
    """Draw the time of one training against the score, with the Pareto front."""
    scale, figure = score_scale(study), Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    times = [trial.seconds for trial in study.ranked]
    size, unit = next((size, name) for least, size, name in UNITS if max(times) >= least)
    front = pareto_front(study)
    for trials, colour, label in ((study.ranked, BLUE, "trial"), (front, ORANGE, "best for its time")):
        x = [trial.seconds / size for trial in trials]
        y = [scale.clip(score_of(trial)) for trial in trials]
        line = "o-" if trials is front else "o"
        axes.plot(x, y, line, drawstyle="steps-post", color=colour, markersize=4, label=label)
    if min(times) > 0 and max(times) / min(times) > LOG_FROM:
        axes.set_xscale("log")
    axes.margins(x=NAME_ROOM)
    axes.set(xlabel=f"time of one training ({unit})", ylabel=scale.label)
    scale.fit(axes)
    _name_front(axes, front, scale, size)
    axes.legend(**ABOVE)
    return figure


def pareto_front(study: Study) -> list[TrialRecord]:
    """Return the completed trials with the best score for their time, the fastest first."""
    front: list[TrialRecord] = []
    for trial in sorted(study.ranked, key=lambda trial: trial.seconds):  # ties: the best score first
        if not front or study.sign * score_of(trial) > study.sign * score_of(front[-1]):
            front.append(trial)
    return front


def _name_front(axes: Axes, front: Sequence[TrialRecord], scale: ScoreScale, size: float) -> None:
    """Write the numbers of the trials of the front next to them, the best first, where they do not collide."""
    named: list[tuple[float, float]] = []
    for trial in reversed(front):
        position = (trial.seconds / size, scale.clip(score_of(trial)))
        x, y = axes.transData.transform(position)
        if all(abs(x - at[0]) > NAME_SIZE[0] or abs(y - at[1]) > NAME_SIZE[1] for at in named):
            named.append((x, y))
            axes.annotate(
                trial.trial,
                position,
                (-4, 3 * scale.sign),  # on the side where no trial can be
                textcoords="offset points",
                fontsize="small",
                horizontalalignment="right",
                verticalalignment="bottom" if scale.sign > 0 else "top",
            )


def slices_figure(study: Study) -> Figure:
    """Draw the score against each parameter that varies, with the failed trials below."""
    scale, n_panels = score_scale(study), len(study.varied)
    n_columns = min(N_COLUMNS, n_panels)
    n_rows = -(-n_panels // n_columns)
    size = (max(5.0, PANEL[0] * n_columns), 0.9 + PANEL[1] * n_rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
    for axes, parameter in zip(panels, study.varied, strict=False):
        _draw_slice(axes, parameter, study, scale)
    for axes in panels[n_panels:]:
        axes.remove()
    figure.supylabel(scale.label, fontsize="medium")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=ABOVE["ncols"])
    return figure


def _draw_slice(axes: Axes, parameter: Parameter, study: Study, scale: ScoreScale) -> None:
    own = parameter_scale(parameter, study)
    x, y = own.jitter(study.ranked), [scale.clip(score_of(trial)) for trial in study.ranked]
    axes.plot(x, y, "o", color=BLUE, markersize=3, alpha=0.6, markeredgewidth=0, label="trial")
    if study.failed:
        beyond = [scale.beyond] * len(study.failed)
        axes.plot(own.jitter(study.failed), beyond, "x", color=RED, markersize=4, label="failed")
    axes.plot(x[:1], y[:1], "o", color=ORANGE, markersize=6, label="best")
    axes.set_xticks(*zip(*own.ticks, strict=True))
    if sum(len(label) + 1 for _, label in own.ticks) > MAX_LABELS:
        axes.tick_params("x", rotation=30)
        for name in axes.get_xticklabels():
            name.set(ha="right", rotation_mode="anchor")
    axes.set_xlim(min(own.ticks[0][0], 0) - 0.1, 1.1)
    axes.set_title(plain(parameter.name) + (" (log)" if parameter.log else ""))
    scale.fit(axes)


def parallel_figure(study: Study) -> Figure:
    """Draw parallel coordinates: a line for each completed trial through its parameters to its score."""
    scales = [parameter_scale(parameter, study) for parameter in study.varied]
    blocks = [scales[start : start + MAX_AXES] for start in range(0, len(scales), MAX_AXES)]
    width = max(MIN_WIDTH, AXIS_WIDTH * (len(blocks[0]) + 2))
    figure = Figure(figsize=(width, BLOCK_HEIGHT * len(blocks)))
    for number, block in enumerate(blocks, 1):
        axes = figure.add_axes((0.03, 1 - number / len(blocks), 0.94, AXIS_SHARE / len(blocks)))
        _draw_block(axes, block, study)
        axes.set_xlim(-0.1, len(blocks[0]) + 0.5)
    return figure


def _draw_block(axes: Axes, scales: Sequence[ParameterScale], study: Study) -> None:
    """Draw the lines of all trials through some parameters."""
    scale, crowded = score_scale(study), len(study.ranked) > CROWD
    shares = [scale.share(score_of(trial)) for trial in study.ranked]
    positions = zip(*(own.jitter(study.ranked) for own in scales), shares, strict=True)
    best, *others = [list(enumerate(line)) for line in positions]
    distances = [share if study.sign < 0 else 1 - share for share in shares[1:]]
    colours = [colormaps["viridis"](LIGHTEST * distance) for distance in distances]
    collection = LineCollection(
        others[::-1],  # better trials above worse ones
        colors=colours[::-1],
        linewidths=0.6 if crowded else 1.0,
        alpha=0.5 if crowded else 0.7,
    )
    axes.add_collection(collection)
    axes.plot(*zip(*best, strict=True), color=RED, linewidth=2)
    for x, own in enumerate(scales):
        _draw_axis(axes, x, own.parameter.name + (" (log)" if own.parameter.log else ""), own.ticks)
    ends = np.linspace(scale.low, scale.high, N_SCORE_TICKS)
    ticks = [(i / (N_SCORE_TICKS - 1), f"{score:.3g}") for i, score in enumerate(ends.tolist())]
    _draw_axis(axes, len(scales), study.settings.objective, ticks)
    axes.set_ylim(INACTIVE_POSITION - 0.05, 1.05)
    axes.set_axis_off()


def _draw_axis(axes: Axes, x: float, name: str, ticks: Sequence[tuple[float, str]]) -> None:
    """Draw a vertical axis with its name above and its ticks on the right."""
    axes.vlines(x, min(0.0, ticks[0][0]), 1.0, color="black", linewidth=1, zorder=3)
    for y, label in ticks:
        axes.plot([x, x + 0.04], [y, y], color="black", linewidth=1, zorder=3)
        axes.text(x + 0.07, y, label, va="center", fontsize="small", zorder=4, bbox=LABEL_BOX)
    axes.text(x, 1.07, plain(name), rotation=30, ha="left", va="bottom", rotation_mode="anchor")
