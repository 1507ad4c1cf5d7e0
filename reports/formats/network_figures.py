"""Figures of a network: values after its front end, weights of its convolutions, and activations layer by layer."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cs_keras.run_files.inspection import NetworkView
from reports.formats.plot_style import BLUE, plain, save_figures
from reports.formats.text import shorten

Matrix = npt.NDArray[np.float32]

WIDTH = 8.0  # inches
N_BINS = 60
N_ACROSS = 8  # filters in a row, where they have one channel
DIVERGING, ACTIVATION = "PuOr_r", "viridis"
IMAGE: dict[str, Any] = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}

VALUES_CAPTION = (
    "Values after each layer of the front end, in a sample of windows. Silence is a spike at the left end, where "
    "the dynamic range cuts decibels off; values far from 0 or in a narrow range make training slower."
)
ACTIVATIONS_CAPTION = (
    "Activations layer by layer, each panel on its own scale, time from left to right where the layer has steps. "
    "Feature maps are those that vary most: early ones still resemble the spectrogram, later ones are coarser. A "
    "map without any structure does not respond to this track."
)


def weights_caption(name: str, kernels: Matrix) -> str:
    """Return what the weights of a convolution show."""
    n_filters, n_channels, first, second = kernels.shape
    return (
        f"{name}: {n_filters} filters (rows) by {n_channels} input channels (columns), those of the largest norms; "
        f"each kernel has {first} × {second} weights, its first axis from left to right. Kernels that look like "
        "edges or stripes were learned; those like noise are near their initial values."
    )


def write_network_figures(network: NetworkView, folder: Path) -> list[Path]:
    """Write all figures as PNG and SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    return save_figures(_figures(network), folder)


def _figures(network: NetworkView) -> Iterator[tuple[str, Figure]]:
    if network.values:
        yield "values", values_figure(network.values)
    for name, kernels in network.weights.items():
        yield f"weights-{name.replace('/', '-')}", weights_figure(kernels)
    if network.activations:
        yield "activations", activations_figure(network.activations)


def values_figure(values: Mapping[str, Matrix], colour: str = BLUE) -> Figure:
    """Draw a histogram of the values of each layer."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    panels = figure.subplots(1, len(values), squeeze=False).ravel().tolist()
    for axes, (name, own) in zip(panels, values.items(), strict=True):
        axes.hist(own, N_BINS, color=colour, density=True)
        axes.set(title=_title(name), xlabel="value", yticks=[])
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
    width = min(WIDTH, 1.5 + 0.42 * n_across)
    height = (width - 1.2) * np.clip(table.shape[0] / table.shape[1], 0.2, 1.2) + 0.6
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(table[:-1, :-1], cmap=DIVERGING, vmin=-limit, vmax=limit, **IMAGE)
    axes.set(xticks=[], yticks=[], **labels)
    axes.grid(visible=False)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, label="weight")
    bar.ax.tick_params(labelsize="x-small")
    return figure


def activations_figure(activations: Mapping[str, Matrix], colour: str = BLUE) -> Figure:
    """Draw a row for each layer: its feature maps, its steps, or its units as bars."""
    heights = [1.1 if one.ndim > 1 else 0.8 for one in activations.values()]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.3 * len(heights)), layout="constrained")
    rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).ravel().tolist()
    for row, (name, output) in zip(rows, activations.items(), strict=True):
        row.suptitle(f"{_title(name)}, {' × '.join(map(str, output.shape[:2]))}", fontsize="small")
        if output.ndim == 1:
            axes = row.subplots()
            axes.fill_between(np.arange(len(output)), output, step="mid", color=colour, linewidth=0)
            axes.tick_params(labelsize="x-small")
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
