"""The charts of a page: the ladder from chance to ceiling, overlap against k, and how training went."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, ScalarFormatter

from reports.html.figures import COLOURS, INK, MARKERS, label
from reports.html.points import Point, ceiling_point, model_points, reference_points
from reports.html.runs import Epoch
from reports.runs.collect import Group
from reports.tables.notes import Kind

BAR_HEIGHT = 0.24  # inches
PANEL = (2.3, 1.7)  # inches, of one model's losses
N_ACROSS = 4
N_TOLD = len(COLOURS) - 1  # models that overlap against k tells apart; the others are grey
GREY = COLOURS[-1]
MODEL, YARDSTICK, CEILING = COLOURS[0], GREY, COLOURS[1]


def ladder_figure(group: Group, kind: Kind, k: int) -> Figure | None:
    """Draw each predictor's overlap as a bar from chance: what is below it points left. None if there are none."""
    points = sorted(
        (*model_points(group, kind, k), *reference_points(group, kind, k)), key=lambda point: point.value
    )
    if not points:
        return None
    figure = Figure(figsize=(8, 1.2 + BAR_HEIGHT * len(points)), layout="constrained")
    axes = figure.add_subplot()
    chance = points[0].chance
    y = range(len(points))
    errors = [[max(0.0, p.value - p.low) for p in points], [max(0.0, p.high - p.value) for p in points]]
    axes.barh(
        y,
        [point.value - chance for point in points],
        left=chance,
        xerr=errors,
        color=[_bar_colour(point) for point in points],
        hatch=["" if point.is_model else "///" for point in points],
        ecolor=INK,
        edgecolor=INK,
        linewidth=0.3,
        error_kw={"linewidth": 1, "capsize": 2},
    )
    axes.axvline(chance, color=INK, linewidth=1, linestyle="--")
    axes.set_yticks(y, [label(point.name) for point in points])
    axes.set_ylim(-0.6, len(points) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel=f"overlap@{k}; dashed: chance")
    return figure


def _bar_colour(point: Point) -> str:
    if point.is_ceiling:
        return CEILING
    return MODEL if point.is_model else YARDSTICK


def overlap_figure(group: Group, kind: Kind) -> Figure | None:
    """Draw overlap against list length with chance and the ceiling; None if only one length was measured."""
    by_k = {k: model_points(group, kind, k) for k in sorted(set(group.judging.ks))}
    ks = [k for k, points in by_k.items() if points]
    if len(ks) < 2:
        return None
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    _draw_bands(axes, group, kind, {k: by_k[k][0].chance for k in ks})
    ranked = [point.name for point in by_k[ks[0]]]
    for place, name in reversed(list(enumerate(ranked))):
        points = [point for k in ks for point in by_k[k] if point.name == name]
        x, values = [point.k for point in points], [point.value for point in points]
        if place < N_TOLD:
            (line,) = axes.plot(x, values, marker=MARKERS[place], markersize=5, label=label(name))
            line.set(color=COLOURS[place], zorder=3)
        else:
            axes.plot(x, values, color=GREY, linewidth=0.8, alpha=0.6)
    axes.set_xscale("log")
    axes.set_xticks(ks)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="list length k", ylabel="overlap")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside right upper", fontsize="small")
    return figure


def _draw_bands(axes: Axes, group: Group, kind: Kind, chance: Mapping[int, float]) -> None:
    """Draw chance with two standard deviations on either side, and the ceiling with its interval."""
    ks = list(chance)
    spread = {one.k: one.chance_sd or 0.0 for one in group.first.overlap[kind]}
    low, high = ([chance[k] + sign * 2 * spread.get(k, 0.0) for k in ks] for sign in (-1, 1))
    axes.fill_between(ks, low, high, color=GREY, alpha=0.3, linewidth=0)
    axes.plot(ks, list(chance.values()), color=INK, linestyle="--", linewidth=1, label="chance")
    ceilings = [point for k in ks if (point := ceiling_point(group, kind, k))]
    if ceilings:
        x = [point.k for point in ceilings]
        lows, highs = [point.low for point in ceilings], [point.high for point in ceilings]
        axes.fill_between(x, lows, highs, color=CEILING, alpha=0.25, linewidth=0)
        values = [point.value for point in ceilings]
        axes.plot(x, values, color=CEILING, linestyle=":", linewidth=1.5, label=ceilings[0].name)


def losses_figure(histories: Mapping[str, Sequence[Sequence[Epoch]]]) -> Figure | None:
    """Draw the train and validation loss of each model, one line a seed; None where no run kept its epochs."""
    kept = {name: [seed for seed in seeds if seed] for name, seeds in histories.items()}
    kept = {name: seeds for name, seeds in kept.items() if seeds}
    if not kept:
        return None
    n_across = min(N_ACROSS, len(kept))
    n_down = -(-len(kept) // n_across)
    size = (max(4.0, PANEL[0] * n_across), PANEL[1] * n_down + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_down, n_across, squeeze=False).ravel().tolist()
    for axes, (name, seeds) in zip(panels, kept.items(), strict=False):
        _draw_losses(axes, seeds)
        axes.set_title(label(name), fontsize="small")
    for axes in panels[len(kept) :]:
        axes.set_axis_off()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _draw_losses(axes: Axes, seeds: Sequence[Sequence[Epoch]]) -> None:
    for number, history in enumerate(seeds):
        x = [epoch.epoch for epoch in history]
        marker = "o" if len(x) == 1 else ""
        train, validation = ("train", "validation") if not number else ("", "")
        loss = [epoch.loss for epoch in history]
        axes.plot(x, loss, marker=marker, color=COLOURS[0], linewidth=1.2, label=train)
        if all(epoch.val_loss is not None for epoch in history):
            val = [epoch.val_loss or 0.0 for epoch in history]
            axes.plot(
                x, val, marker=marker, color=COLOURS[4], linestyle="--", linewidth=1.2, label=validation
            )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize="x-small")
