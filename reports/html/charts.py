"""Charts of a page: overlap by list length, losses by epoch, confidence, R² and values of the factors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter, ScalarFormatter

from cs_keras.run_files.evaluation import ConfidenceRecord
from cs_keras.run_files.predictions import Predictions
from cs_keras.run_files.training import EpochLosses, read_metrics
from reports.commands.best_model import Point, list_lengths, read_points
from reports.formats.plot_style import NARROW, Drawing
from reports.html.factors import UNSCALABLE, Matrix, evaluated_factors, factor_r2
from reports.html.figures import COLOURS, INK, MARKERS, label
from reports.html.spaces import Space
from reports.runs.collect import Group
from reports.tables.cells.notes import available_kinds
from reports.tables.cells.table import Table
from reports.tables.overlap import TITLES, overlap_table

PANEL_HEIGHT = 1.6  # inches for the losses of one model
N_ACROSS = 2
SHORT = 22  # characters of which two names fit next to each other
ROW = 0.21  # inches of a row of a legend
BLUE, CEILING, *_, GREY = COLOURS
RED = COLOURS[4]
MODEL_COLOURS = tuple(one for one in COLOURS if one not in (CEILING, GREY))
DASHES = ("-", "--", "-.", ":")  # of models that share a colour
N_BANDS = 3  # models up to which a chart shows intervals
N_BINS = 60
TAIL = 0.1  # percent of the values at each end that a histogram leaves out

Styles = Mapping[str, Mapping[str, Any]]  # arguments of `Axes.plot`, by model


def model_styles(group: Group) -> Styles:
    """Return colour, marker and dashes of each model, the same in all charts, in the order of the first lists."""
    tables = (overlap_table(group, kind, {}) for kind in available_kinds(group))
    points = next((read_points(table, list_lengths(table)[0]) for table in tables), [])
    ranked = [point.name for point in points if point.is_model]
    return assign_styles(dict.fromkeys([*ranked, *(run.label for run in group.runs)]))


def assign_styles(names: Iterable[str]) -> Styles:
    """Return the styles of models; colours repeat with other dashes."""
    styles = {}
    for i, name in enumerate(names):
        n_times, colour = divmod(i, len(MODEL_COLOURS))
        styles[name] = {
            "color": MODEL_COLOURS[colour],
            "marker": MARKERS[colour],
            "linestyle": DASHES[n_times % len(DASHES)],
            "markersize": 4,
            "label": label(name),
        }
    return styles


def length_drawings(group: Group, styles: Styles) -> Iterator[Drawing]:
    """Yield overlap against list length for each kind of list."""
    for kind in available_kinds(group):
        table = overlap_table(group, kind, {})
        lengths = overlap_figure(table, styles)
        if lengths:
            points = (point for k in list_lengths(table) for point in read_points(table, k))
            limit = ", up to the refit ceiling (dotted)" if any(one.is_ceiling for one in points) else ""
            caption = (
                "The higher a line above chance (dashed; band: two standard deviations), the more of the true "
                f"lists a model finds{limit}. Long lists overlap by chance alone: compare models at one length."
            )
            yield Drawing(f"{kind}-lengths", lengths, f"{TITLES[kind]}, by list length", caption)


def losses_drawings(group: Group) -> Iterator[Drawing]:
    """Yield the losses of the models by epoch, if any run recorded them."""
    histories = {run.label: [read_metrics(folder) for folder in run.folders] for run in group.runs}
    n_losses = len({run.settings.get("training.loss") for run in group.runs})
    losses = losses_figure(histories, n_losses == 1)
    if losses:
        scale = (
            "All losses on one scale" if n_losses == 1 else "Models minimise different losses: scales differ"
        )
        seeds = "; one line per seed" if any(len(run.folders) > 1 for run in group.runs) else ""
        caption = (
            "A model overfits from the epoch at which its validation loss rises while its train loss falls; "
            f"one whose lines still fall at the end may gain from more epochs. {scale}{seeds}."
        )
        yield Drawing("losses", losses, "Loss by epoch", caption)


def confidence_drawings(group: Group, styles: Styles) -> Iterator[Drawing]:
    """Yield calibration, and errors against expected ones, of models that predict standard deviations, if any."""
    records = {run.label: run.evaluations[0].confidence for run in group.runs}
    known = {name: record for name in styles if (record := records.get(name)) is not None}
    if not known:
        return
    bands = " Bands: 95% intervals for other artists." if len(known) <= N_BANDS else ""
    caption = (
        "On the dashed line predictions are calibrated, below it too certain, above it too cautious. Shares of "
        "test tracks' factors inside the central intervals of the predicted distributions, by their nominal "
        f"level.{bands}"
    )
    title = "Calibration of predicted distributions"
    yield Drawing("calibration", calibration_figure(known, styles), title, caption)
    caption = (
        "A line that rises from left to right separates easy tracks from hard ones; on the dashed line errors "
        "are as large as expected. Points: fifths of the test tracks, from the most certain to the least."
    )
    yield Drawing("errors", errors_figure(known, styles), "Error against expected error", caption)


def factor_drawings(models: Mapping[str, Predictions], space: Space, styles: Styles) -> Iterator[Drawing]:
    """Yield R² of the factors and the distribution of values, for at least one model, the best first."""
    if not models:
        return
    if space.factors.scaler.kind != UNSCALABLE:
        caption = (
            "The farther right a curve falls below the dashed line, the more factors the model predicts better "
            "than by their mean. Test tracks; each curve has its own order of factors."
        )
        yield Drawing(
            "r2", r2_figure(models, space, styles), "R² of the factors, best predicted first", caption
        )
    best = next(iter(models))
    caption = (
        "The narrower the outline of the predictions within the filled targets, the closer to the mean the model "
        "predicts, for lack of evidence in its input. Left: these targets, of all tracks and factors, before "
        "scaling."
    )
    figure = spread_figure(best, models[best], space)
    yield Drawing("spread", figure, "Distribution of factor values", caption)


def overlap_figure(table: Table, styles: Styles) -> Figure | None:
    """Draw an overlap table against list length; None if only one length was measured.

    Models beyond the first that have a colour of their own are grey.
    """
    by_k = {k: read_points(table, k) for k in list_lengths(table)}
    ks = [k for k, points in by_k.items() if any(point.is_model for point in points)]
    if len(ks) < 2:
        return None
    figure = Figure(figsize=(NARROW, 2.9), layout="constrained")
    axes = figure.add_subplot()
    _draw_bands(axes, table, {k: by_k[k] for k in ks})
    models = {point.name for k in ks for point in by_k[k] if point.is_model}
    ranked = [name for name in styles if name in models]
    for rank, name in reversed(list(enumerate(ranked))):
        points = [point for k in ks for point in by_k[k] if point.is_model and point.name == name]
        style = styles[name]
        if rank >= len(MODEL_COLOURS):
            others = "other models" if rank == len(MODEL_COLOURS) else ""
            style = {"color": GREY, "linewidth": 0.8, "alpha": 0.6, "label": others}
        axes.plot([point.k for point in points], [point.value for point in points], **style)
    axes.set_xscale("log")
    axes.set_xticks(ks)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="list length k", ylabel="overlap", ylim=(0, 1.02))
    add_legend(figure, reverse=True)
    return figure


def add_legend(figure: Figure, reverse: bool = False) -> None:
    """Add a legend below the axes, which keep their height."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    n_across = 2 if max(map(len, names), default=0) <= SHORT else 1
    figure.set_figheight(
        figure.get_figheight() + ROW * -(-sum(name.count("\n") + 1 for name in names) // n_across)
    )
    step = -1 if reverse else 1
    figure.legend(handles[::step], names[::step], loc="outside lower center", ncols=n_across)


def _draw_bands(axes: Axes, table: Table, by_k: Mapping[int, Sequence[Point]]) -> None:
    """Draw chance with two standard deviations on either side, and the ceiling with its interval."""
    cells = dict(zip((column.key for column in table.columns), table.rows[0].cells, strict=True))
    spread = {k: cell.sd or 0.0 for k in by_k if (cell := cells[f"overlap@{k}"])}
    chance = {k: points[0].chance for k, points in by_k.items()}
    low, high = ([chance[k] + sign * 2 * spread[k] for k in by_k] for sign in (-1, 1))
    axes.fill_between(list(by_k), low, high, color=GREY, alpha=0.3, linewidth=0)
    axes.plot(list(by_k), list(chance.values()), color=INK, linestyle="--", linewidth=1, label="chance")
    ceilings = [point for points in by_k.values() for point in points if point.is_ceiling]
    if ceilings:
        x = [point.k for point in ceilings]
        lows, highs = [point.low for point in ceilings], [point.high for point in ceilings]
        axes.fill_between(x, lows, highs, color=CEILING, alpha=0.25, linewidth=0)
        values = [point.value for point in ceilings]
        axes.plot(x, values, color=CEILING, linestyle=":", linewidth=1.5, label=ceilings[0].name)


def losses_figure(
    histories: Mapping[str, Sequence[Sequence[EpochLosses]]], one_loss: bool = True
) -> Figure | None:
    """Draw the train and validation loss of each model, one line per seed; None if no run recorded epochs.

    Panels share the axis of the loss, unless models minimise different ones; the numbers of epochs differ.
    """
    saved = {name: [seed for seed in seeds if seed] for name, seeds in histories.items() if any(seeds)}
    if not saved:
        return None
    n_across = min(N_ACROSS, len(saved))
    n_down = -(-len(saved) // n_across)
    figure = Figure(figsize=(NARROW, PANEL_HEIGHT * n_down + 0.6), layout="constrained")
    grid = figure.subplots(n_down, n_across, squeeze=False, sharey=one_loss)
    panels = grid.ravel().tolist()
    for axes, (name, seeds) in zip(panels, saved.items(), strict=False):
        _draw_losses(axes, seeds)
        axes.set_title(label(name, SHORT))
    for axes in panels[len(saved) - n_across : len(saved)]:  # the lowest of each column
        axes.set_xlabel("epoch")
    for axes in panels[::n_across]:
        axes.set_ylabel("loss")
    for axes in panels[len(saved) :]:
        axes.set_axis_off()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _draw_losses(axes: Axes, seeds: Sequence[Sequence[EpochLosses]]) -> None:
    for number, history in enumerate(seeds):
        x = [epoch.epoch for epoch in history]
        style: dict[str, Any] = {"marker": "o" if len(x) == 1 else "", "linewidth": 1.2}
        train, validation = ("train", "validation") if not number else ("", "")
        axes.plot(x, [epoch.loss for epoch in history], color=BLUE, label=train, **style)
        values = [epoch.val_loss for epoch in history if epoch.val_loss is not None]
        if len(values) == len(x):
            axes.plot(x, values, color=RED, linestyle="--", label=validation, **style)
    axes.set_xlim(0.5, max(epoch.epoch for history in seeds for epoch in history) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def calibration_figure(models: Mapping[str, ConfidenceRecord], styles: Styles) -> Figure:
    """Draw coverage against nominal level; the intervals of a few models only."""
    figure = Figure(figsize=(NARROW, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, record in models.items():
        axes.plot(record.levels, [one.mean for one in record.coverage], **styles[name])
        bounds = [
            (one.low, one.high) for one in record.coverage if one.low is not None and one.high is not None
        ]
        if len(bounds) == len(record.levels) and len(models) <= N_BANDS:
            lows, highs = zip(*bounds, strict=True)
            axes.fill_between(record.levels, lows, highs, color=styles[name]["color"], alpha=0.2, linewidth=0)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
    axes.set(xlabel="nominal level", ylabel="share of factors inside", xlim=(0, 1), ylim=(0, 1))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    add_legend(figure)
    return figure


def errors_figure(models: Mapping[str, ConfidenceRecord], styles: Styles) -> Figure:
    """Draw errors of fifths of the tracks against expected errors."""
    figure = Figure(figsize=(NARROW, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, record in models.items():
        expected = [one.expected_error for one in record.groups]
        axes.plot(expected, [one.error for one in record.groups], **styles[name])
    axes.axline((expected[0], expected[0]), slope=1, color=INK, linewidth=1, linestyle="--")
    axes.set(xlabel="expected error (RMS, scaled factors)", ylabel="error (RMS, scaled factors)")
    add_legend(figure)
    return figure


def r2_figure(models: Mapping[str, Predictions], space: Space, styles: Styles) -> Figure:
    """Draw the R² of the factors on test tracks, in decreasing order for each model."""
    figure = Figure(figsize=(NARROW, 2.8), layout="constrained")
    axes = figure.add_subplot()
    for name, predictions in models.items():
        values = -np.sort(-factor_r2(*evaluated_factors(predictions, space)))  # NaN last
        x = np.arange(1, len(values) + 1)
        axes.plot(x, values, **styles[name], markevery=max(1, len(x) // 8), linewidth=1.2)
    axes.axhline(0, color=INK, linewidth=1, linestyle="--")
    axes.set(xlabel="number of factors", ylabel="R² (test)")
    add_legend(figure)
    return figure


def spread_figure(name: str, predictions: Predictions, space: Space) -> Figure:
    """Draw histograms of all factors before and after scaling, and of a model's predictions for test tracks."""
    scaler = space.factors.scaler
    true = space.factors.item_factors[space.factors.has_factors]
    rows = space.rows(predictions.track_ids)
    predicted = predictions.scaled_factors[space.tracks.in_split("test")[rows]]
    figure = Figure(figsize=(NARROW, 2.6), layout="constrained")
    before, after = figure.subplots(1, 2)
    targets = scaler.transform(true)
    before.hist(true.ravel(), _bins(true), color=BLUE, density=True)
    bins = _bins(targets)
    after.hist(targets.ravel(), bins, color=BLUE, density=True, label="targets")
    inside = np.clip(predicted.ravel(), bins[0], bins[-1])
    after.hist(inside, bins, histtype="step", color=RED, density=True, label=f"{label(name)}, test")
    before.set(title="before scaling", xlabel="factor value", ylabel="density", yticks=[])
    after.set(title=f"after scaling ({scaler.kind})", xlabel="target", yticks=[])
    for axes in (before, after):
        axes.xaxis.set_major_locator(MaxNLocator(4))
    figure.legend(*after.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _bins(values: Matrix) -> npt.NDArray[np.float64]:
    """Return the edges of bins without the tails, or of a single bin for values that are all equal."""
    low, high = np.percentile(values, [TAIL, 100 - TAIL])
    return np.linspace(low, high, N_BINS + 1) if low < high else np.array([low - 0.5, low + 0.5])
