"""What a page says of one group of runs: its summary, tables, pictures and map."""

from collections.abc import Iterator
from dataclasses import dataclass

from reports.formats.html import notes_html, table_html
from reports.formats.html_markup import Markup, element
from reports.html.failures import failures_table
from reports.html.figures import figure_html
from reports.html.filters import inspection_html
from reports.html.inspection import read_inspection
from reports.html.map import TrackMap, make_map, map_figure
from reports.html.meanings import meanings_table
from reports.html.pictures import factor_pictures, losses_picture, overlap_pictures
from reports.html.runs import Folders, Predictions, folders_of, read_predictions
from reports.html.source import Source
from reports.html.summary import count_ranks, summary_html
from reports.runs.collect import Group, Run
from reports.tables.table import Section


@dataclass(frozen=True, eq=False)
class GroupPage:
    """A group's part of a page, and the map that a script is to show in it."""

    content: Markup
    track_map: TrackMap | None


def make_group_page(group: Group, section: Section, source: Source, folders: Folders, name: str) -> GroupPage:
    """Return a group's part of a page.

    Parameters
    ----------
    group, section
        Its runs and their tables.
    source
        What the page is made from.
    folders
        Where runs lie.
    name
        Id on the page, a word of its own.
    """
    space = source.spaces.get(group.data_digest)
    predicted = read_models(group, folders)
    best = next(iter(predicted), None)
    track_map = make_map(best, predicted[best], space, group.judging.metric) if best else None
    tables = [*section.tables]
    if space and best:
        failures = failures_table(predicted, space, min(group.judging.ks), group.judging.metric)
        tables += [failures] if failures else []
        tables.append(meanings_table(best, predicted[best], space))
    content = element(
        "section",
        element("h2", section.heading),
        summary_html(group),
        notes_html(section.notes),
        *(table_html(table, f"{name}-table{number}") for number, table in enumerate(tables, 1)),
        element("h3", "Pictures"),
        element(
            "div",
            *overlap_pictures(group, name),
            *losses_picture(group, folders, name),
            *(factor_pictures(predicted, space, name) if space and predicted else ()),
            class_="pictures",
        ),
        *_inspection(group, source, folders, name),
        *_map(track_map, name),
        id=name,
    )
    return GroupPage(content, track_map)


def rank_runs(group: Group) -> list[Run]:
    """Return the runs of a group, the best by each kind of list first."""
    best = [standing.best.name for standing in count_ranks(group)]
    return sorted(group.runs, key=lambda run: best.index(run.label) if run.label in best else len(best))


def read_models(group: Group, folders: Folders) -> dict[str, Predictions]:
    """Return the predictions of each model's first seed that kept any, those of the best model first."""
    read = {run.label: read_predictions(folders_of(run, folders)[0]) for run in rank_runs(group)}
    return {label: predictions for label, predictions in read.items() if predictions}


def _inspection(group: Group, source: Source, folders: Folders, name: str) -> Iterator[Markup]:
    """Yield what the best network that was inspected listens for, and why better ones were not."""
    reasons = []
    for run in rank_runs(group):
        folder = folders_of(run, folders)[0]
        if folder in source.uninspected:
            reasons.append(f"{run.label}: {source.uninspected[folder]}")
            continue
        inspection = read_inspection(folder)
        if inspection:
            space = source.spaces.get(group.data_digest)
            yield from inspection_html(run.label, inspection, space, f"{name}-inside")
            break
    if reasons:
        yield element("p", "Not shown is what these networks listen for:")
        yield notes_html(reasons)


def _map(track_map: TrackMap | None, name: str) -> Iterator[Markup]:
    """Yield the place of the map and, for who has no scripts, its picture."""
    if track_map is None:
        return
    yield element("h3", f"Map: {track_map.model}")
    yield notes_html(
        (
            "t-SNE of the factors that the model predicts for validation and test tracks: near on the map means "
            "near in the space, far means little. Neighbours are the nearest among the tracks of the map.",
            "Drag to move, scroll or pinch to zoom, click a track for its neighbours, or find it by name.",
        )
    )
    yield element("div", class_="map")
    caption = f"The {len(track_map):,} tracks as {track_map.model} places them."
    yield figure_html(map_figure(track_map), f"{name}-map", caption)
