"""Plots of the parameters of a study one by one: the score against each."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.formats.plot_style import BLUE, ORANGE, RED, plain
from reports.study.records import Parameter, Study, score_of
from reports.study.scales import ScoreScale, parameter_scale, score_scale, title

N_COLUMNS = 4
PANEL = (2.5, 2.2)  # inches
MAX_LABELS = 18  # characters of ticks side by side; longer ones are turned


def slices_figure(study: Study) -> Figure:
    """Draw the score against each parameter that varies, with the trials that failed below."""
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
    figure.suptitle(title(study, "Score by parameter"), fontsize="medium")
    figure.supylabel(scale.label, fontsize="medium")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=3)
    return figure


def _draw_slice(axes: Axes, parameter: Parameter, study: Study, scale: ScoreScale) -> None:
    own = parameter_scale(parameter, study)
    x, y = own.places(study.ranked), [scale.clip(score_of(trial)) for trial in study.ranked]
    axes.plot(x, y, "o", color=BLUE, markersize=3, alpha=0.6, markeredgewidth=0, label="trial")
    if study.failed:
        beyond = [scale.beyond] * len(study.failed)
        axes.plot(own.places(study.failed), beyond, "x", color=RED, markersize=4, label="failed")
    axes.plot(x[:1], y[:1], "o", color=ORANGE, markersize=6, label="best")
    axes.set_xticks(*zip(*own.ticks, strict=True))
    if sum(len(label) + 1 for _, label in own.ticks) > MAX_LABELS:
        axes.tick_params("x", rotation=30)
    axes.set_xlim(own.ticks[0][0] - 0.1 if own.ticks[0][0] < 0 else -0.1, 1.1)
    axes.set_title(plain(parameter.name) + (" (log)" if parameter.log else ""))
    scale.fit(axes)
