"""What a network listens for: its first filters, what they make of a track, and the tracks they answer to."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.formats.html import notes_html, table_html
from reports.formats.html_markup import Markup, element, shorten
from reports.html.figures import figure_html
from reports.html.inspection import Inspection, Units
from reports.html.spaces import Space, brief, describe_tracks
from reports.tables.table import Cell, Column, Row, Table

N_KERNELS = 64  # drawn
N_ROWS = 16  # units in a table
LONG = 16  # frames or mel bands from which on a kernel takes more room on that axis
SHORT_SIDE, LONG_SIDE = 0.42, 1.7  # inches
WIDTH = 8.0
MAP_COLUMNS = 3
DIVERGING, INPUT, ACTIVATION = "PuOr_r", "magma", "viridis"

COLUMNS = (
    Column("most at one moment", "moment", align="left"),
    Column("most on average", "mean", align="left"),
)
TELLING = (
    "first the one whose mean activation differs most, then always the one that adds most to those before"
)
GLIMPSE = (
    "After Dieleman 2014. Only validation and test tracks were heard: the network was not trained on them."
)


def inspection_html(model: str, inspection: Inspection, space: Space | None, name: str) -> Iterator[Markup]:
    """Yield the part of a page that shows what a network listens for.

    Parameters
    ----------
    model
        Label of the run.
    inspection
        Of its first seed.
    space
        What a dataset knows of the tracks; without it they are shown by their ids.
    name
        Begins the ids on the page.
    """
    ids = inspection.track_ids
    tracks = describe_tracks(space, space.rows(ids)) if space else [brief(one) for one in ids.tolist()]
    yield element("h3", f"What {shorten(model)} listens for")
    yield notes_html((_heard(inspection), GLIMPSE))
    if len(inspection.filters):
        yield element("div", *_pictures(inspection, tracks, name), class_="pictures")
        ranked = inspection.filters.order.tolist()
        title = f"Tracks that filters of {inspection.filters.layer} answer to most"
        table = _table(title, inspection.filters, ranked[:N_ROWS], tracks, "filter")
        yield table_html(_with_notes(table, _filter_notes(inspection)), f"{name}-filters")
        if len(ranked) > N_ROWS:
            others = _table("The other filters", inspection.filters, ranked[N_ROWS:], tracks, "filter")
            summary = element("summary", f"The other {len(ranked) - N_ROWS} filters")
            yield element("details", summary, table_html(others, f"{name}-other-filters"))
    if len(inspection.units):
        title = f"Tracks that units of the last hidden layer ({inspection.units.layer}) answer to most"
        table = _table(title, inspection.units, inspection.units.order[:N_ROWS].tolist(), tracks, "unit")
        yield table_html(_with_notes(table, _unit_notes(inspection)), f"{name}-units")


def kernels_figure(inspection: Inspection) -> Figure:
    """Draw filters of the first layer, time from left to right and pitch upwards, all on one scale of colours.

    Of more than there is room for, those that tell most about tracks.
    """
    chosen = sorted(inspection.filters.order[:N_KERNELS].tolist())
    _, n_frames, n_mels = inspection.kernels.shape
    cell = [LONG_SIDE if n >= LONG else SHORT_SIDE for n in (n_frames, n_mels)]
    n_across = min(len(chosen), int(WIDTH / (cell[0] + 0.06)))
    n_down = -(-len(chosen) // n_across)
    figure = Figure(figsize=(WIDTH, n_down * (cell[1] + 0.2) + 0.55), layout="constrained")
    panels = figure.subplots(n_down, n_across, squeeze=False).ravel().tolist()
    limit = float(np.abs(inspection.kernels[chosen]).max()) or 1.0
    for axes, number in zip(panels, chosen, strict=False):
        picture = axes.imshow(inspection.kernels[number].T, cmap=DIVERGING, vmin=-limit, vmax=limit, **_IMAGE)
        _title(axes, str(number + 1))
        axes.set(xticks=[], yticks=[])
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    bar = figure.colorbar(picture, ax=panels, location="bottom", shrink=0.4, aspect=40)
    bar.set_label("weight", fontsize="small")
    bar.ax.tick_params(labelsize="x-small")
    return figure


def maps_figure(inspection: Inspection) -> Figure:
    """Draw the spectrogram that a network was given beside what some filters make of it, each on its own scale."""
    example = inspection.example
    n_panels = 1 + len(example.filters)
    n_down = -(-n_panels // MAP_COLUMNS)
    figure = Figure(figsize=(WIDTH, 1.75 * n_down + 0.3), layout="constrained")
    grid = figure.subplots(n_down, MAP_COLUMNS, squeeze=False, sharex=True, sharey=True)
    panels = grid.ravel().tolist()
    area = (0, inspection.window_s, 0, example.mel.shape[1])
    panels[0].imshow(example.mel.T, cmap=INPUT, extent=area, **_IMAGE)
    _title(panels[0], "input (dB)")
    for place, (axes, number) in enumerate(zip(panels[1:], example.filters.tolist(), strict=False)):
        axes.imshow(example.maps[..., place].T, cmap=ACTIVATION, extent=area, **_IMAGE)
        _title(axes, f"filter {number + 1}")
    for axes in panels:
        axes.tick_params(labelsize="x-small")
        axes.grid(visible=False)
    for axes in panels[n_panels:]:
        axes.set_axis_off()
    figure.supxlabel("s", fontsize="small")
    figure.supylabel("mel band", fontsize="small")
    return figure


_IMAGE = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize="x-small", pad=2)
    axes.grid(visible=False)


def _pictures(inspection: Inspection, tracks: Sequence[str], name: str) -> Iterator[Markup]:
    n, n_frames, n_mels = inspection.kernels.shape
    drawn = (
        "the filters" if n <= N_KERNELS else f"the {N_KERNELS} of {n:,} filters that tell most about tracks"
    )
    yield figure_html(
        kernels_figure(inspection),
        f"{name}-kernels",
        f"The first convolution, {inspection.filters.layer}: {drawn}, {n_frames} frames × {n_mels} mel bands each. "
        "Time runs to the right, pitch upwards; what is multiplied by positive weights excites a filter.",
    )
    example = inspection.example
    shown = tracks[inspection.track_ids.tolist().index(example.track_id)]
    yield figure_html(
        maps_figure(inspection),
        f"{name}-activations",
        f"{shown}, {inspection.window_s:.1f} s from {_time(example.start_s)}: the spectrogram, and what "
        "filters make of it, each on its own scale: those that tell most about tracks.",
    )


def _table(title: str, units: Units, chosen: Sequence[int], tracks: Sequence[str], stub: str) -> Table:
    rows = []
    for unit in chosen:
        moments = [
            f"{tracks[row]}, {_time(seconds)}"
            for row, seconds in zip(
                units.moment_track[unit].tolist(), units.moment_s[unit].tolist(), strict=True
            )
        ]
        means = [tracks[row] for row in units.mean_track[unit].tolist()]
        rows.append(Row(f"{stub} {unit + 1}", (), tuple(_cell(names) for names in (moments, means))))
    return Table(title, COLUMNS, tuple(rows), (), stub)


def _cell(names: Sequence[str]) -> Cell:
    """Return a cell of several tracks, one a line."""
    return Cell(names[0], None, detail="\n".join(names[1:]))


def _with_notes(table: Table, notes: tuple[str, ...]) -> Table:
    return Table(table.title, table.columns, table.rows, notes, table.stub)


def _heard(inspection: Inspection) -> str:
    n, windows = len(inspection.track_ids), inspection.n_windows
    which = (
        f"all {n:,}" if n == inspection.n_tracks else f"{n:,} of {inspection.n_tracks:,}, drawn at random,"
    )
    parts = f"{windows} windows" if windows > 1 else "a window"
    return f"Over {which} validation and test tracks, at most {parts} of {inspection.window_s:.1f} s of each."


def _filter_notes(inspection: Inspection) -> tuple[str, ...]:
    return (
        f"Filters in the order of what they tell about tracks: {TELLING}. Of each the "
        f"{inspection.filters.mean_track.shape[1]} tracks that activate it most, with the second at which they do.",
        "Where a filter reaches over the edge of a window it is not counted.",
    )


def _unit_notes(inspection: Inspection) -> tuple[str, ...]:
    n = len(inspection.units)
    shown = f"{N_ROWS} of {n:,} units, those that tell most about tracks" if n > N_ROWS else "All units"
    others = " All units: inspection.npz of the run." if n > N_ROWS else ""
    return (
        f"{shown}. A unit's moment is a window of {inspection.window_s:.1f} s; told is where it begins.{others}",
    )


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds * 10), 600)
    return f"{minutes}:{rest / 10:04.1f}"
