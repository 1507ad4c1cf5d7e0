"""Charts of a page: overlap by list length, losses by epoch, confidence, R² and values of the factors."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, ScalarFormatter

from cs_keras.run_files.evaluation import ConfidenceRecord
from cs_keras.run_files.predictions import Predictions
from cs_keras.run_files.training import EpochLosses, read_metrics
from reports.commands.best_model import Point, list_lengths, read_points
from reports.html.factors import UNSCALABLE, Matrix, evaluated_factors, factor_r2
from reports.html.figures import COLOURS, INK, MARKERS, Picture, draw_picture, label
from reports.html.spaces import Space
from reports.runs.collect import Group
from reports.tables.cells.notes import available_kinds
from reports.tables.cells.table import Table
from reports.tables.overlap import TITLES, overlap_table

PANEL = (2.3, 1.7)  # inches for the losses of one model
N_ACROSS = 4
N_COLOURED = len(COLOURS) - 1  # models with a colour of their own; others are grey
GREY = COLOURS[-1]
CEILING = COLOURS[1]
N_BINS = 60
TAIL = 0.1  # percent of the values at each end that a histogram leaves out


def length_pictures(group: Group, name: str) -> Iterator[Picture]:
    """Yield overlap against list length for each kind of list; `name` starts their ids."""
    for kind in available_kinds(group):
        lengths = overlap_figure(overlap_table(group, kind, {}))
        if lengths:
            caption = (
                f"{TITLES[kind]} against list length. Bands: chance with two standard deviations, and the refit "
                "ceiling with its interval, where it was measured. Thin grey lines: other models."
            )
            yield draw_picture(lengths, f"{name}-{kind}-lengths", caption)


def losses_pictures(group: Group, name: str) -> Iterator[Picture]:
    """Yield the losses of the models by epoch, if any run recorded them."""
    histories = {run.label: [read_metrics(folder) for folder in run.folders] for run in group.runs}
    n_losses = len({run.settings.get("training.loss") for run in group.runs})
    losses = losses_figure(histories, n_losses == 1)
    if losses:
        scale = "All on one scale" if n_losses == 1 else "Models minimise different losses: scales differ"
        caption = f"Training and validation loss by epoch; one line per seed. {scale}."
        yield draw_picture(losses, f"{name}-losses", caption)


def confidence_pictures(group: Group, name: str) -> Iterator[Picture]:
    """Yield calibration, and errors against expected ones, of models that predict standard deviations, if any."""
    records = {run.label: run.evaluations[0].confidence for run in group.runs}
    known = {label: record for label, record in records.items() if record is not None}
    if known:
        caption = (
            "Left: share of test tracks' factors inside the central intervals of the predicted distributions, "
            "against their nominal level; band: 95% interval for other artists. On the dashed line predictions are "
            "calibrated, below it too certain, above it too cautious. Right: error of fifths of the tracks, from "
            "the most certain to the least, against the error that was expected; a rising line separates easy "
            "tracks from hard ones."
        )
        yield draw_picture(confidence_figure(known), f"{name}-confidence", caption)


def factor_pictures(models: Mapping[str, Predictions], space: Space, name: str) -> Iterator[Picture]:
    """Yield R² by factor and the distribution of values, for at least one model, the best first."""
    if not models:
        return
    if space.factors.scaler.kind != UNSCALABLE:
        caption = "R² of each factor on test tracks; below the dashed line the factor's mean would be better."
        yield draw_picture(r2_figure(models, space), f"{name}-r2", caption)
    best = next(iter(models))
    caption = (
        "Values of all factors before and after scaling, of all tracks with factors, and predicted values."
    )
    yield draw_picture(spread_figure(best, models[best], space), f"{name}-spread", caption)


def overlap_figure(table: Table) -> Figure | None:
    """Draw an overlap table against list length; None if only one length was measured."""
    by_k = {k: read_points(table, k) for k in list_lengths(table)}
    ks = [k for k, points in by_k.items() if any(point.is_model for point in points)]
    if len(ks) < 2:
        return None
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    _draw_bands(axes, table, {k: by_k[k] for k in ks})
    ranked = [point.name for point in by_k[ks[0]] if point.is_model]
    for rank, name in reversed(list(enumerate(ranked))):
        points = [point for k in ks for point in by_k[k] if point.is_model and point.name == name]
        x, values = [point.k for point in points], [point.value for point in points]
        if rank < N_COLOURED:
            (line,) = axes.plot(x, values, marker=MARKERS[rank], markersize=5, label=label(name))
            line.set(color=COLOURS[rank], zorder=3)
        else:
            axes.plot(x, values, color=GREY, linewidth=0.8, alpha=0.6)
    axes.set_xscale("log")
    axes.set_xticks(ks)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="list length k", ylabel="overlap", ylim=(0, 1.02))
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside right upper", fontsize="small")
    return figure


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

    Panels share their axes, except that of the loss if models minimise different ones.
    """
    saved = {name: [seed for seed in seeds if seed] for name, seeds in histories.items() if any(seeds)}
    if not saved:
        return None
    n_across = min(N_ACROSS, len(saved))
    n_down = -(-len(saved) // n_across)
    size = (max(4.0, PANEL[0] * n_across), PANEL[1] * n_down + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(n_down, n_across, squeeze=False, sharex=True, sharey=one_loss)
    panels = grid.ravel().tolist()
    for axes, (name, seeds) in zip(panels, saved.items(), strict=False):
        _draw_losses(axes, seeds)
        axes.set_title(label(name), fontsize="small")
        axes.set_xlabel("epoch", fontsize="small")
    for axes in panels[::n_across]:
        axes.set_ylabel("loss", fontsize="small")
    for axes in panels[len(saved) :]:
        axes.set_axis_off()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _draw_losses(axes: Axes, seeds: Sequence[Sequence[EpochLosses]]) -> None:
    for number, history in enumerate(seeds):
        x = [epoch.epoch for epoch in history]
        style: dict[str, Any] = {"marker": "o" if len(x) == 1 else "", "linewidth": 1.2}
        train, validation = ("train", "validation") if not number else ("", "")
        axes.plot(x, [epoch.loss for epoch in history], color=COLOURS[0], label=train, **style)
        values = [epoch.val_loss for epoch in history if epoch.val_loss is not None]
        if len(values) == len(x):
            axes.plot(x, values, color=COLOURS[4], linestyle="--", label=validation, **style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize="x-small")


def confidence_figure(models: Mapping[str, ConfidenceRecord]) -> Figure:
    """Draw coverage against nominal level, and errors of fifths of the tracks against expected errors."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    calibration, errors = figure.subplots(1, 2)
    for (name, record), marker, colour in zip(models.items(), MARKERS, COLOURS, strict=False):
        style: dict[str, Any] = {"marker": marker, "color": colour, "markersize": 4}
        calibration.plot(record.levels, [one.mean for one in record.coverage], label=label(name), **style)
        bounds = [
            (one.low, one.high) for one in record.coverage if one.low is not None and one.high is not None
        ]
        if len(bounds) == len(record.levels):
            lows, highs = zip(*bounds, strict=True)
            calibration.fill_between(record.levels, lows, highs, color=colour, alpha=0.2, linewidth=0)
        expected = [one.expected_error for one in record.groups]
        errors.plot(expected, [one.error for one in record.groups], **style)
    calibration.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
    errors.axline((1, 1), slope=1, color=INK, linewidth=1, linestyle="--")
    calibration.set(xlabel="nominal level", ylabel="share of factors inside", xlim=(0, 1), ylim=(0, 1))
    for axis in (calibration.xaxis, calibration.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    errors.set(xlabel="expected error", ylabel="error (test)")
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure


def r2_figure(models: Mapping[str, Predictions], space: Space) -> Figure:
    """Draw the R² of each factor on test tracks, the best models first; factors by decreasing variance."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    axes = figure.add_subplot()
    spread = space.factors.item_factors[space.factors.has_factors].var(axis=0)
    order = np.argsort(-spread, kind="stable")
    for (name, predictions), marker, colour in zip(models.items(), MARKERS, COLOURS, strict=False):
        values = factor_r2(*evaluated_factors(predictions, space))[order]
        x = np.arange(1, len(values) + 1)
        axes.plot(x, values, marker, color=colour, markersize=4, label=label(name))
    axes.axhline(0, color=INK, linewidth=1, linestyle="--")
    axes.set(xlabel="factor, by decreasing variance", ylabel="R² (test)")
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def spread_figure(name: str, predictions: Predictions, space: Space) -> Figure:
    """Draw histograms of all factors before and after scaling, and of a model's predictions for test tracks."""
    scaler = space.factors.scaler
    true = space.factors.item_factors[space.factors.has_factors]
    rows = space.rows(predictions.track_ids)
    predicted = predictions.scaled_factors[space.tracks.in_split("test")[rows]]
    figure = Figure(figsize=(8, 3), layout="constrained")
    before, after = figure.subplots(1, 2)
    targets = scaler.transform(true)
    before.hist(true.ravel(), _bins(true), color=COLOURS[0], density=True)
    bins = _bins(targets)
    after.hist(targets.ravel(), bins, color=COLOURS[0], density=True, label="targets")
    inside = np.clip(predicted.ravel(), bins[0], bins[-1])
    after.hist(inside, bins, histtype="step", color=COLOURS[4], density=True, label=f"{label(name)}, test")
    before.set(title="before scaling", xlabel="factor value", ylabel="density", yticks=[])
    after.set(title=f"after scaling ({scaler.kind})", xlabel="target", yticks=[])
    figure.legend(*after.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _bins(values: Matrix) -> npt.NDArray[np.float64]:
    """Return the edges of bins without the tails, or of a single bin for values that are all equal."""
    low, high = np.percentile(values, [TAIL, 100 - TAIL])
    return np.linspace(low, high, N_BINS + 1) if low < high else np.array([low - 0.5, low + 0.5])
