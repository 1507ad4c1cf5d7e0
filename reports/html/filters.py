"""Filters and units of a network on a page: first-layer filters, feature maps, tracks that activate units most."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cs_keras.run_files.inspection import Inspection, Units
from reports.formats.network_figures import ACTIVATION, DIVERGING, IMAGE, network_drawings
from reports.formats.plot_style import NARROW, Drawing
from reports.formats.text import shorten
from reports.html.figures import draw_pictures
from reports.html.parts import RESPONSES, Part
from reports.html.spaces import Space, brief, describe_tracks
from reports.tables.cells.table import Cell, Column, Row, Table

N_KERNELS = 64  # filters that are drawn
N_ROWS = 16  # units in a table
LONG = 16  # frames or mel bands from which on a kernel gets more room on that axis
SHORT_SIDE, LONG_SIDE = 0.48, 1.0  # inches
MAP_COLUMNS = 3
INPUT = "magma"
COLUMNS = (
    Column("highest at one moment", "moment", align="left"),
    Column("highest on average", "mean", align="left"),
)
SOURCE_NOTE = "After Dieleman 2014. Validation and test tracks only: the network was not trained on them."


def describe_inspection(model: str, inspection: Inspection, space: Space | None, name: str) -> Part:
    """Return the figures and tables of a network; without a space, tracks are shown by their ids."""
    ids = inspection.track_ids
    tracks = describe_tracks(space, space.rows(ids)) if space else [brief(one) for one in ids.tolist()]
    drawings: list[Drawing] = []
    tables, folded = [], None
    if len(inspection.filters):
        ranked, layer = inspection.filters.order.tolist(), inspection.filters.layer
        title = f"Tracks with the highest activations of filters of {layer}"
        notes = _filter_notes(inspection)
        tables.append(_table(title, inspection, inspection.filters, ranked[:N_ROWS], tracks, "filter", notes))
        drawings += _filter_drawings(inspection, tracks)
        if len(ranked) > N_ROWS:
            title = f"The other {len(ranked) - N_ROWS} filters"
            folded = _table(title, inspection, inspection.filters, ranked[N_ROWS:], tracks, "filter")
    drawings += network_drawings(inspection.network, (inspection.filters.layer,))
    if len(inspection.units):
        ranked, layer = inspection.units.order[:N_ROWS].tolist(), inspection.units.layer
        title = f"Tracks with the highest activations of units of the last hidden layer ({layer})"
        notes = _unit_notes(inspection)
        tables.append(_table(title, inspection, inspection.units, ranked, tracks, "unit", notes))
    about = (f"What activates {shorten(model)}.",)
    notes = (_tracks_note(inspection), SOURCE_NOTE)
    return Part(RESPONSES, (), draw_pictures(drawings, name), tuple(tables), folded, notes, about)


def kernels_figure(inspection: Inspection) -> Figure:
    """Draw filters of the first layer on one colour scale, time from left to right and frequency upwards.

    At most `N_KERNELS` are drawn, those that distinguish tracks best.
    """
    chosen = sorted(inspection.filters.order[:N_KERNELS].tolist())
    _, n_frames, n_mels = inspection.kernels.shape
    cell = [LONG_SIDE if n >= LONG else SHORT_SIDE for n in (n_frames, n_mels)]
    n_across = min(len(chosen), int(NARROW / (cell[0] + 0.06)))
    n_down = -(-len(chosen) // n_across)
    figure = Figure(figsize=(NARROW, n_down * (cell[1] + 0.2) + 0.7), layout="constrained")
    panels = figure.subplots(n_down, n_across, squeeze=False).ravel().tolist()
    limit = float(np.abs(inspection.kernels[chosen]).max()) or 1.0
    for axes, number in zip(panels, chosen, strict=False):
        picture = axes.imshow(inspection.kernels[number].T, cmap=DIVERGING, vmin=-limit, vmax=limit, **IMAGE)
        _set_title(axes, str(number + 1))
        axes.set(xticks=[], yticks=[])
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    figure.colorbar(
        picture, ax=panels, location="bottom", shrink=0.6, aspect=40, label="weight", ticks=MaxNLocator(5)
    )
    return figure


def maps_figure(inspection: Inspection) -> Figure:
    """Draw an input spectrogram next to the feature maps of some filters, each on its own colour scale."""
    example = inspection.example
    n_panels = 1 + len(example.filters)
    n_down = -(-n_panels // MAP_COLUMNS)
    figure = Figure(figsize=(NARROW, 1.25 * n_down + 0.4), layout="constrained")
    grid = figure.subplots(n_down, MAP_COLUMNS, squeeze=False, sharex=True, sharey=True)
    panels = grid.ravel().tolist()
    area = (0, inspection.window_s, 0, example.mel.shape[1])
    panels[0].imshow(example.mel.T, cmap=INPUT, extent=area, **IMAGE)
    _set_title(panels[0], "input (dB)")
    for i, (axes, number) in enumerate(zip(panels[1:], example.filters.tolist(), strict=False)):
        axes.imshow(example.maps[..., i].T, cmap=ACTIVATION, extent=area, **IMAGE)
        _set_title(axes, f"filter {number + 1}")
    for axes in panels:
        axes.tick_params(labelsize="small")
        axes.grid(visible=False)
    for axes in panels[n_panels:]:
        axes.set_axis_off()
    figure.supxlabel("time (s)", fontsize="medium")
    figure.supylabel("mel band", fontsize="medium")
    return figure


def _set_title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize="small", pad=2)
    axes.grid(visible=False)


def _filter_drawings(inspection: Inspection, tracks: Sequence[str]) -> Iterator[Drawing]:
    n, n_frames, n_mels = inspection.kernels.shape
    drawn = (
        "All filters" if n <= N_KERNELS else f"The {N_KERNELS} of {n:,} filters that distinguish tracks best"
    )
    yield Drawing(
        "kernels",
        kernels_figure(inspection),
        f"Filters of the first convolution, {shorten(inspection.filters.layer)}",
        "A filter whose weights change from left to right (time) responds to onsets, one whose weights change from "
        f"bottom to top (frequency) to pitches. {drawn}, {n_frames} frames × {n_mels} mel bands each.",
    )
    example = inspection.example
    shown = tracks[inspection.track_ids.tolist().index(example.track_id)]
    yield Drawing(
        "feature-maps",
        maps_figure(inspection),
        "Responses of filters to one track",
        "A filter responds where its map is bright: compare with the spectrogram at the top left, whose "
        f"vertical lines are onsets and whose horizontal lines are pitches. {shown}, {inspection.window_s:.1f} "
        f"s from {_format_time(example.start_s)}; the filters that distinguish tracks best, each on a scale of "
        "its own.",
    )


def _table(
    title: str,
    inspection: Inspection,
    units: Units,
    chosen: Sequence[int],
    tracks: Sequence[str],
    stub: str,
    notes: tuple[str, ...] = (),
) -> Table:
    ids = inspection.track_ids.tolist()
    rows = []
    for unit in chosen:
        moments = [*zip(units.moment_track[unit].tolist(), units.moment_s[unit].tolist(), strict=True)]
        on_average = units.mean_track[unit].tolist()
        cells = (
            _tracks_cell(
                [f"{tracks[row]}, {_format_time(seconds)}" for row, seconds in moments],
                [(ids[row], float(seconds)) for row, seconds in moments],
            ),
            _tracks_cell([tracks[row] for row in on_average], [(ids[row], 0.0) for row in on_average]),
        )
        rows.append(Row(f"{stub} {unit + 1}", (), cells))
    return Table(title, COLUMNS, tuple(rows), notes, stub)


def _tracks_cell(names: Sequence[str], tracks: Sequence[tuple[str, float]]) -> Cell:
    return Cell(names[0], None, detail="\n".join(names[1:]), tracks=tuple(tracks))


def _tracks_note(inspection: Inspection) -> str:
    n, windows = len(inspection.track_ids), inspection.n_windows
    which = f"all {n:,}" if n == inspection.n_tracks else f"a random {n:,} of {inspection.n_tracks:,}"
    parts = f"{windows} windows" if windows > 1 else "one window"
    return (
        f"Over {which} validation and test tracks, at most {parts} of {inspection.window_s:.1f} s per track."
    )


def _filter_notes(inspection: Inspection) -> tuple[str, ...]:
    return (
        "Filters are ordered by how well they distinguish tracks: the first has the largest variance of its mean "
        "activation, each next one adds most to those before it. Listed are the "
        f"{inspection.filters.mean_track.shape[1]} tracks with the highest activation, and its time.",
        "Positions where a filter extends over the edge of a window are not counted.",
    )


def _unit_notes(inspection: Inspection) -> tuple[str, ...]:
    n = len(inspection.units)
    window = f"A moment is a window of {inspection.window_s:.1f} s; its start is shown."
    if n <= N_ROWS:
        return (f"All units. {window}",)
    return (
        f"{N_ROWS} of {n:,} units, those that distinguish tracks best. {window} inspection.npz of the run has all.",
    )


def _format_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds * 10), 600)
    return f"{minutes}:{rest / 10:04.1f}"
