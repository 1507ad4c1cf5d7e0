"""The HTML report: one folder that a browser opens from disk, with summary, charts, tables and a map of tracks."""

import importlib.resources
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from cs_keras.run_files.inspection import read_inspection
from cs_keras.run_files.names import PREDICTIONS_FILE
from cs_keras.run_files.predictions import Predictions, read_predictions
from cs_keras.runs import atomic_write
from reports.commands.best_model import rank_runs
from reports.commands.conclusion import conclude
from reports.commands.runs import settings_tables
from reports.formats.plot_style import Drawing
from reports.html.bars import difference_bars, overlap_bars, ranking_bars
from reports.html.charts import (
    Styles,
    confidence_drawings,
    factor_drawings,
    length_drawings,
    losses_drawings,
    model_styles,
)
from reports.html.factors import factors_table, failures_table
from reports.html.figures import draw_pictures, page_style
from reports.html.filters import describe_inspection
from reports.html.map import make_map, map_figure, map_script
from reports.html.parts import MAP, MEANINGS, RESPONSES, SETTINGS, Part
from reports.html.recordings import Recordings, remove_copies
from reports.html.spaces import Space, Spaces
from reports.html.templates import ENVIRONMENT
from reports.runs.collect import Collected, Group
from reports.tables.all_tables import COMPARED, CONFIDENCE, FAILURES, OVERLAP, RANKING, TOPICS, TRAINING
from reports.tables.cells.table import Section, Table

PAGE_FILE = "index.html"
ASSETS = ("report.css", "report.js")
MAP_ASSETS = ("map.js", "plotly.min.js")
PLOTLY = MAP_ASSETS[1]
SUBJECT = "How well audio alone predicts the factors of a new track"
GENRES_ON_MAP = (
    ", so that islands of one genre are music that it recognises, and mixed regions music that it confuses"
)
MAP_NOTES = (
    "t-SNE of the factors that the model predicts for validation and test tracks: small distances are meaningful, "
    "large ones are not. Neighbours are the nearest among the tracks of the map.",
    "Drag to move, zoom by the buttons, click a track for its neighbours, or find it by name.",
)


@dataclass(frozen=True)
class Source:
    """Runs, as `reports.runs.collect.collect_runs` returns them, and what is known of their tracks."""

    collected: Collected
    spaces: Spaces  # may be empty
    uninspected: Mapping[Path, str] = field(default_factory=dict)  # reasons, by run folder
    dataset: str = ""  # name
    recordings: Recordings | None = None


def write_page(sections: tuple[Section, ...], source: Source, out: Path) -> list[Path]:
    """Write a page and its assets to `out`; the same runs give the same bytes. Return the files, the page first."""
    scripts: dict[str, str] = {}
    conclusions = conclude(source.collected, sections)
    groups = zip(source.collected.groups, sections, conclusions, strict=True)
    with page_style():
        described = [
            _describe_group(group, section, conclusion, source, f"g{number}", scripts)
            for number, (group, section, conclusion) in enumerate(groups, 1)
        ]
    page = ENVIRONMENT.get_template("page.html.j2").render(
        **_describe_page(source),
        groups=described,
        has_map=bool(scripts),
        recordings=source.recordings,
        left_out=source.collected.left_out,
    )
    assets = (*ASSETS, *MAP_ASSETS) if scripts else ASSETS
    files = {PAGE_FILE: page, **{name: read_asset(name) for name in assets}, **scripts}
    for stale in out.glob("map-*.js"):  # of an earlier page with more groups
        if stale.name not in files:
            stale.unlink()
    for name, text in files.items():
        with atomic_write(out / name, "w") as file:
            file.write(text)
    if source.recordings:
        source.recordings.write_copies()
    else:
        remove_copies(out)
    return [out / name for name in files]


def read_asset(name: str) -> str:
    """Read one of our style sheets and scripts, or Plotly's script."""
    package, folder = ("plotly", "package_data") if name == PLOTLY else ("reports", "assets")
    return (importlib.resources.files(package) / folder / name).read_text(encoding="utf-8")


def _describe_page(source: Source) -> dict[str, str]:
    """Return title, heading and subject of a page: the dataset, the days of the runs, the version."""
    groups = source.collected.groups
    name = source.dataset or ", ".join(f"data {group.data_digest[:10]}" for group in groups)
    folders = [folder.name for group in groups for run in group.runs for folder in run.folders]
    days = sorted(found[0] for folder in folders if (found := re.match(r"\d{4}-\d\d-\d\d(?=-)", folder)))
    dates = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""
    version = f"cs-keras {metadata.version('cs-keras')}"
    about = ", ".join(part for part in (f"runs of {dates}" if dates else "", version) if part)
    return {
        "title": " – ".join(part for part in (name, dates, version) if part),
        "heading": name[:1].upper() + name[1:] if not source.dataset else name,
        "about": f"{SUBJECT}: {about}",
    }


def _describe_group(
    group: Group, section: Section, conclusion: Section, source: Source, name: str, scripts: dict[str, str]
) -> dict[str, Any]:
    """Return a group of runs as the template needs it; `name` starts its ids. Its map's script joins `scripts`."""
    predicted, space = read_models(group), source.spaces.get(group.data_digest)
    by_topic = {topic: tuple(table for table in section.tables if table.topic == topic) for topic in TOPICS}
    ladders = tuple(overlap_bars(group, section.tables, name))
    styles = model_styles(group)
    lengths, losses, confidence = (
        draw_pictures(drawings, name)
        for drawings in (
            length_drawings(group, styles),
            losses_drawings(group),
            confidence_drawings(group, styles),
        )
    )
    failures, meanings = _describe_tracks(group, predicted, space, name, styles)
    parts = (
        Part(OVERLAP, ladders[1:], lengths, by_topic[OVERLAP]),
        Part(RANKING, tuple(ranking_bars(by_topic[RANKING], name)), (), by_topic[RANKING]),
        Part(TRAINING, (), losses, by_topic[TRAINING]),
        Part(CONFIDENCE, (), confidence, by_topic[CONFIDENCE]),
        Part(COMPARED, tuple(difference_bars(by_topic[COMPARED], name)), (), by_topic[COMPARED]),
        Part(FAILURES, tables=(*failures, *by_topic[FAILURES])),
        meanings,
        _describe_best_inspection(group, source, f"{name}-inside"),
        _describe_map(group, predicted, source, name, scripts),
        _describe_settings(group, section),
    )
    return {
        "id": name,
        "section": section,
        "conclusion": conclusion,
        "ladder": next(iter(ladders), None),
        "parts": [part for part in parts if not part.is_empty],
    }


def _describe_tracks(
    group: Group, predicted: Mapping[str, Predictions], space: Space | None, name: str, styles: Styles
) -> tuple[tuple[Table, ...], Part]:
    """Return the table of failures, if there is one, and what factors mean: of the best model, with a dataset."""
    if space is None or not predicted:
        return (), Part(MEANINGS)
    best, own = next(iter(predicted.items()))
    config = group.evaluation_config
    failures = failures_table(predicted, space, min(config.ks), config.metric)
    pictures = draw_pictures(factor_drawings(predicted, space, styles), name)
    return (failures,) if failures else (), Part(MEANINGS, (), pictures, (factors_table(best, own, space),))


def _describe_map(
    group: Group, predicted: Mapping[str, Predictions], source: Source, name: str, scripts: dict[str, str]
) -> Part:
    """Return the map of the best model with predictions, for which it adds a script to `scripts`."""
    if not predicted:
        return Part(MAP)
    best, own = next(iter(predicted.items()))
    track_map = make_map(
        best, own, source.spaces.get(group.data_digest), group.evaluation_config.metric, source.recordings
    )
    if track_map is None:
        return Part(MAP)
    script = f"map-{len(scripts) + 1}.js"
    scripts[script] = map_script(track_map, script)
    genres = GENRES_ON_MAP if "genre" in track_map["kinds"] else ""
    n = len(track_map["x"])
    about = (f"{n:,} tracks: those close together have similar factors as {best} predicts them{genres}.",)
    shown = (
        "Islands of one colour are music that the model recognises. Colours and symbols: the most frequent genres."
        if genres
        else "Points close together are tracks with similar predicted factors."
    )
    drawing = Drawing("tracks", map_figure(track_map), "Map of tracks", shown)
    pictures = draw_pictures((drawing,), name)
    return Part(MAP, (), pictures, notes=MAP_NOTES, about=about, map_script=script)


def _describe_settings(group: Group, section: Section) -> Part:
    """Return the data, and the settings of all runs: those in which models differ first."""
    differing, shared = settings_tables({run.label: run.settings for run in group.runs})
    tables = (differing,) if differing.rows and differing.columns else ()
    return Part(SETTINGS, tables=tables, folded=shared if shared.rows else None, about=section.notes)


def read_models(group: Group) -> dict[str, Predictions]:
    """Read the saved predictions of each model's first seed, those of the best model first."""
    first = {run.label: run.folders[0] for run in rank_runs(group)}
    return {label: read_predictions(one) for label, one in first.items() if (one / PREDICTIONS_FILE).exists()}


def _describe_best_inspection(group: Group, source: Source, name: str) -> Part:
    """Return the inspection of the best network that has one, and the reasons why better ones have none."""
    reasons: list[str] = []
    for run in rank_runs(group):
        folder = run.folders[0]
        if folder in source.uninspected:
            reasons.append(f"{run.label}: {source.uninspected[folder]}")
        elif inspection := read_inspection(folder):
            space = source.spaces.get(group.data_digest)
            part = describe_inspection(run.label, inspection, space, name)
            return replace(part, about=(*_uninspected(reasons), *part.about))
    return Part(RESPONSES, about=_uninspected(reasons))


def _uninspected(reasons: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"Filters and units are not shown of {reason}" for reason in reasons)
