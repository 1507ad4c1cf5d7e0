"""Figures of a network: values after its front end, weights of its convolutions, and activations layer by layer."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cs_keras.run_files.inspection import NetworkView
from reports.formats.plot_style import BLUE, NARROW, Drawing, plain
from reports.formats.text import shorten

Matrix = npt.NDArray[np.float32]

N_BINS = 60
N_ACROSS = 8  # filters in a row, where they have one channel
DIVERGING, ACTIVATION = "PuOr_r", "viridis"
IMAGE: dict[str, Any] = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}

VALUES_CAPTION = (
    "A spike at the left end is silence, where the dynamic range cuts decibels off; values far from 0 or in a "
    "narrow range make training slower. A sample of windows."
)
ACTIVATIONS_CAPTION = (
    "Early feature maps still resemble the spectrogram, later ones are coarser; a map without any structure "
    "does not respond to this track. Time from left to right, and frequency or units upwards, where a layer has "
    "steps; the maps are those that vary most, each on its own scale; of dense layers, the activation of each unit."
)


def network_drawings(network: NetworkView, layers_shown: Collection[str] = ()) -> Iterator[Drawing]:
    """Yield the figures of a network; weights only of convolutions that are not shown yet."""
    if network.values:
        figure = values_figure(network.values)
        yield Drawing(
            "values", figure, "Distribution of values after each layer of the front end", VALUES_CAPTION
        )
    for name, kernels in network.weights.items():
        if name not in layers_shown:
            figure = weights_figure(kernels)
            caption = _weights_caption(kernels)
            yield Drawing(f"weights-{name.replace('/', '-')}", figure, f"Weights of {shorten(name)}", caption)
    if network.activations:
        figure = activations_figure(network.activations)
        yield Drawing("activations", figure, "Activations layer by layer", ACTIVATIONS_CAPTION)


def _weights_caption(kernels: Matrix) -> str:
    n_filters, n_channels, first, second = kernels.shape
    rows = f"Rows: {n_filters} filters; columns: {n_channels} input channels; those of the largest norms."
    if n_channels == 1:
        rows = f"{n_filters} filters, those of the largest norms."
    return (
        f"Kernels with edges or stripes were learned; those like noise are near their initial values. {rows} Each "
        f"kernel has {first} × {second} weights, its first axis from left to right."
    )


def values_figure(values: Mapping[str, Matrix], colour: str = BLUE) -> Figure:
    """Draw a histogram of the values of each layer."""
    figure = Figure(figsize=(NARROW, 2.4), layout="constrained")
    panels = figure.subplots(1, len(values), squeeze=False).ravel().tolist()
    for axes, (name, own) in zip(panels, values.items(), strict=True):
        axes.hist(own, N_BINS, color=colour, density=True)
        axes.set(title=_title(name).replace("/", "/\n"), xlabel="value", yticks=[])
        axes.xaxis.set_major_locator(MaxNLocator(4))
    panels[0].set_ylabel("density")
    return figure


def weights_figure(kernels: Matrix) -> Figure:
    """Draw kernels, (n_filters, n_channels, n_first, n_second), as a table of filters by input channels.

    Filters with one channel are in rows of `N_ACROSS`.
    """
    if kernels.shape[1] == 1 and len(kernels) % N_ACROSS == 0:
        kernels = kernels.reshape(-1, N_ACROSS, *kernels.shape[2:])
        labels = {"xlabel": "filter, row after row"}
    else:
        labels = {"xlabel": "input channel", "ylabel": "filter"}
    n_down, n_across, first, second = kernels.shape
    framed = np.pad(kernels, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    table = framed.transpose(0, 3, 1, 2)[::-1].reshape(n_down * (second + 1), n_across * (first + 1))
    limit = float(np.abs(kernels).max()) or 1.0
    height = (NARROW - 0.4) * np.clip(table.shape[0] / table.shape[1], 0.2, 1.2) + 0.8
    figure = Figure(figsize=(NARROW, height), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(table[:-1, :-1], cmap=DIVERGING, vmin=-limit, vmax=limit, **IMAGE)
    axes.set(xticks=[], yticks=[], **labels)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.colorbar(
        picture, ax=axes, location="bottom", shrink=0.6, aspect=40, label="weight", ticks=MaxNLocator(5)
    )
    return figure


def activations_figure(activations: Mapping[str, Matrix], colour: str = BLUE) -> Figure:
    """Draw a row for each layer: its feature maps, its steps, or its units as bars."""
    heights = [0.8 if one.ndim > 1 else 0.9 for one in activations.values()]
    figure = Figure(figsize=(NARROW, sum(heights) + 0.3 * len(heights)), layout="constrained")
    rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).ravel().tolist()
    for row, (name, output) in zip(rows, activations.items(), strict=True):
        row.suptitle(f"{_title(name)}, {' × '.join(map(str, output.shape[:2]))}", fontsize="medium")
        if output.ndim == 1:
            axes = row.subplots()
            axes.stairs(output, np.arange(len(output) + 1) + 0.5, fill=True, color=colour)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.tick_params(labelsize="small")
            axes.set_xlabel("unit", fontsize="small")
            axes.margins(x=0)
            continue
        maps = np.moveaxis(output, -1, 0) if output.ndim == 3 else output[np.newaxis]
        panels = row.subplots(1, len(maps), squeeze=False).ravel().tolist()
        for axes, one in zip(panels, maps, strict=True):
            axes.imshow(one.T, cmap=ACTIVATION, **IMAGE)
            axes.set_axis_off()
    return figure


def _title(name: str) -> str:
    return plain(shorten(name))
