"""Plots of the trials of a study: their history, what parameters matter, and what time buys."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports.formats.plot_style import BLUE, GREY, ORANGE, RED, plain
from reports.study.importance import Importance
from reports.study.records import Study, Trial, score_of
from reports.study.scales import ScoreScale, score_scale, title

BAR_HEIGHT = 0.28  # inches for a parameter
NAME_SIZE = (36.0, 14.0)  # pixels that the number of a trial takes, across and up
UNITS = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))  # from so many seconds on, of so many
LOG_FROM = 10.0  # ratio of the longest time to the shortest


def history_figure(study: Study) -> Figure:
    """Draw the score of each trial in order, the best so far, and which failed."""
    scale, figure = score_scale(study), Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    places = {trial.trial: place for place, trial in enumerate(study.trials)}
    completed = sorted(study.ranked, key=lambda trial: places[trial.trial])
    x = [places[trial.trial] for trial in completed]
    scores = study.sign * np.array([score_of(trial) for trial in completed])
    best = [scale.clip(score) for score in study.sign * np.maximum.accumulate(scores)]
    axes.plot(
        [*x, len(places) - 1], [*best, best[-1]], drawstyle="steps-post", color=ORANGE, label="best so far"
    )
    _draw_spread(axes, completed, places, scale)
    y = [scale.clip(score_of(trial)) for trial in completed]
    axes.plot(x, y, "o", color=BLUE, markersize=4, alpha=0.8, label="trial")
    if study.failed:
        failed = [places[trial.trial] for trial in study.failed]
        axes.plot(failed, [scale.beyond] * len(failed), "x", color=RED, markersize=5, label="failed")
    names = list(places)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: names[int(x)] if 0 <= x < len(names) else ""))
    axes.set(xlabel="trial", ylabel=scale.label, title=title(study, "Score by trial"))
    scale.fit(axes)
    figure.legend(loc="outside lower right", ncols=3)
    return figure


def _draw_spread(axes: Axes, trials: Sequence[Trial], places: dict[str, int], scale: ScoreScale) -> None:
    """Draw a line over one standard deviation on either side of each score of several executions."""
    for trial in trials:
        if trial.spread is not None:
            ends = (score_of(trial) - trial.spread, score_of(trial) + trial.spread)
            low, high = map(scale.clip, ends)
            axes.vlines(places[trial.trial], low, high, color=BLUE, alpha=0.4, linewidth=1)


def importance_figure(study: Study, importance: Importance) -> Figure:
    """Draw how much each parameter matters, the most important at the top, with its interval."""
    estimates = importance.by_parameter
    height = 1.4 + BAR_HEIGHT * len(estimates)
    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.add_subplot()
    y = np.arange(len(estimates))
    means = np.array([estimate.mean for estimate in estimates.values()])
    low, high = np.array([(estimate.low, estimate.high) for estimate in estimates.values()]).T
    axes.hlines(y, low, high, color=BLUE, alpha=0.4, linewidth=4)
    axes.plot(means, y, "o", color=BLUE, markersize=5)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(y, [plain(name) for name in estimates])
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    explained = importance.explained
    axes.set(
        xlabel="share of the score's variance lost when shuffled; mean and 95% interval",
        title=f"{title(study, 'Importance')}\nexplained out of bag: R² = {explained.mean:.2f} "
        f"[{explained.low:.2f}, {explained.high:.2f}] of {importance.n_settings} settings",
    )
    return figure


def time_figure(study: Study) -> Figure:
    """Draw the time of one training against the score, and the front of trials that none beats in both."""
    scale, figure = score_scale(study), Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    size, unit = _unit(max(trial.seconds for trial in study.ranked))
    front = pareto_front(study)
    for trials, colour, label in ((study.ranked, BLUE, "trial"), (front, ORANGE, "best for its time")):
        x = [trial.seconds / size for trial in trials]
        y = [scale.clip(score_of(trial)) for trial in trials]
        line = "o-" if trials is front else "o"
        axes.plot(x, y, line, drawstyle="steps-post", color=colour, markersize=4, label=label)
    times = [trial.seconds for trial in study.ranked]
    if min(times) > 0 and max(times) / min(times) > LOG_FROM:
        axes.set_xscale("log")
    axes.set(
        xlabel=f"time of one training ({unit})", ylabel=scale.label, title=title(study, "Time against score")
    )
    scale.fit(axes)
    _name_front(axes, front, scale, size)
    figure.legend(loc="outside lower right", ncols=2)
    return figure


def pareto_front(study: Study) -> list[Trial]:
    """Return the completed trials that no other beats in time without losing score, the fastest first."""
    front: list[Trial] = []
    for trial in sorted(study.ranked, key=lambda trial: trial.seconds):  # of equal times the best first
        if not front or study.sign * score_of(trial) > study.sign * score_of(front[-1]):
            front.append(trial)
    return front


def _name_front(axes: Axes, front: Sequence[Trial], scale: ScoreScale, size: float) -> None:
    """Write the numbers of the trials of the front beside them, the best first, where they do not collide."""
    named: list[tuple[float, float]] = []
    for trial in reversed(front):
        place = (trial.seconds / size, scale.clip(score_of(trial)))
        x, y = axes.transData.transform(place)
        if all(abs(x - at[0]) > NAME_SIZE[0] or abs(y - at[1]) > NAME_SIZE[1] for at in named):
            named.append((x, y))
            axes.annotate(
                trial.trial,
                place,
                (-4, 3 * scale.sign),  # on the side where no trial can lie
                textcoords="offset points",
                fontsize="small",
                horizontalalignment="right",
                verticalalignment="bottom" if scale.sign > 0 else "top",
            )


def _unit(seconds: float) -> tuple[float, str]:
    """Return the seconds of a unit that suits a time, and its name."""
    return next((size, name) for least, size, name in UNITS if seconds >= least)
