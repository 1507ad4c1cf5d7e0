"""The HTML report: one folder that a browser opens from disk, with summary, tables, figures and a map of tracks."""

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cs_keras.run_files.inspection import read_inspection
from cs_keras.run_files.names import PREDICTIONS_FILE
from cs_keras.run_files.predictions import Predictions, read_predictions
from cs_keras.runs import atomic_write
from reports.commands.best_model import best_models, rank_runs
from reports.html.charts import confidence_pictures, factor_pictures, losses_pictures, overlap_pictures
from reports.html.factors import factors_table, failures_table
from reports.html.figures import draw_picture, page_style
from reports.html.filters import describe_inspection
from reports.html.map import make_map, map_figure, map_script
from reports.html.spaces import Spaces
from reports.html.templates import ENVIRONMENT
from reports.runs.collect import Collected, Group
from reports.tables.table import Section

PAGE_FILE = "index.html"
ASSETS = ("report.css", "report.js")
MAP_ASSET = "map.js"
PLOTLY = "plotly.min.js"
TITLE = "How well audio alone predicts the factors of a new track"
MAP_NOTES = (
    "t-SNE of the factors that the model predicts for validation and test tracks: small distances are meaningful, "
    "large ones are not. Neighbours are the nearest among the tracks of the map.",
    "Drag to move, scroll or pinch to zoom, click a track for its neighbours, or find it by name.",
)


@dataclass(frozen=True)
class Source:
    """Runs, as `reports.runs.collect.collect_runs` returns them, and what is known of their tracks."""

    collected: Collected
    spaces: Spaces  # may be empty
    uninspected: Mapping[Path, str] = field(default_factory=dict)  # reasons, by run folder


def write_page(sections: tuple[Section, ...], source: Source, out: Path) -> list[Path]:
    """Write a page and its assets to `out`; the same runs give the same bytes. Return the files, the page first."""
    with page_style():
        groups = [
            _describe_group(group, section, source, f"g{number}")
            for number, (group, section) in enumerate(zip(source.collected.groups, sections, strict=True), 1)
        ]
    maps = [group["map"] for group in groups if group["map"]]
    scripts = {f"map-{number}.js": map_script(track_map) for number, track_map in enumerate(maps, 1)}
    page = ENVIRONMENT.get_template("page.html.j2").render(
        title=TITLE,
        scripts=[ASSETS[1], *((PLOTLY, *scripts, MAP_ASSET) if maps else ())],
        groups=groups,
        map_notes=MAP_NOTES,
        left_out=source.collected.left_out,
    )
    assets = (*ASSETS, MAP_ASSET, PLOTLY) if maps else ASSETS
    files = {PAGE_FILE: page, **{name: read_asset(name) for name in assets}, **scripts}
    for stale in out.glob("map-*.js"):  # of an earlier page with more groups
        if stale.name not in files:
            stale.unlink()
    for name, text in files.items():
        with atomic_write(out / name, "w") as file:
            file.write(text)
    return [out / name for name in files]


def read_asset(name: str) -> str:
    """Read one of our style sheets and scripts, or Plotly's script."""
    package, folder = ("plotly", "package_data") if name == PLOTLY else ("reports", "assets")
    return (importlib.resources.files(package) / folder / name).read_text(encoding="utf-8")


def _describe_group(group: Group, section: Section, source: Source, name: str) -> dict[str, Any]:
    """Return a group of runs as the template needs it; `name` is its id on the page."""
    space = source.spaces.get(group.data_digest)
    predicted = read_models(group)
    best = next(iter(predicted), None)
    track_map = make_map(best, predicted[best], space, group.evaluation_config.metric) if best else None
    tables = list(section.tables)
    pictures = [
        *overlap_pictures(group, name),
        *losses_pictures(group, name),
        *confidence_pictures(group, name),
    ]
    if space and best:
        failures = failures_table(
            predicted, space, min(group.evaluation_config.ks), group.evaluation_config.metric
        )
        tables += [failures] if failures else []
        tables.append(factors_table(best, predicted[best], space))
        pictures += factor_pictures(predicted, space, name)
    described = {
        "id": name,
        "section": section,
        "best": best_models(group),
        "tables": tables,
        "pictures": pictures,
        "map": track_map,
        **_describe_best_inspection(group, source, f"{name}-inside"),
    }
    if track_map:
        caption = f"Positions of {len(track_map['x']):,} tracks as predicted by {best}."
        described["map_picture"] = draw_picture(map_figure(track_map), f"{name}-map", caption)
    return described


def read_models(group: Group) -> dict[str, Predictions]:
    """Read the saved predictions of each model's first seed, those of the best model first."""
    first = {run.label: run.folders[0] for run in rank_runs(group)}
    return {label: read_predictions(one) for label, one in first.items() if (one / PREDICTIONS_FILE).exists()}


def _describe_best_inspection(group: Group, source: Source, name: str) -> dict[str, Any]:
    """Return the inspection of the best network that has one, and the reasons why better ones have none."""
    reasons: list[str] = []
    for run in rank_runs(group):
        folder = run.folders[0]
        if folder in source.uninspected:
            reasons.append(f"{run.label}: {source.uninspected[folder]}")
        elif inspection := read_inspection(folder):
            space = source.spaces.get(group.data_digest)
            part = describe_inspection(run.label, inspection, space, name)
            return {"inspection": part, "uninspected": reasons}
    return {"inspection": None, "uninspected": reasons}
