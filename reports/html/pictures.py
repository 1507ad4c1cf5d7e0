"""The pictures of a group of runs, each with the sentence that says what it shows."""

from collections.abc import Iterator, Mapping

from reports.formats.html_markup import Markup
from reports.html.charts import ladder_figure, losses_figure, overlap_figure
from reports.html.factors import r2_figure, spread_figure
from reports.html.figures import figure_html
from reports.html.runs import Folders, Predictions, folders_of, read_history
from reports.html.spaces import Space
from reports.html.summary import find_standing
from reports.runs.collect import Group
from reports.tables.overlap import TITLES

UNSCALABLE = "unit_norm"  # takes the lengths away, and with them R²


def overlap_pictures(group: Group, name: str) -> Iterator[Markup]:
    """Yield for each kind of list the ladder and overlap against list length; `name` begins their ids."""
    for kind, title in TITLES.items():
        standing = find_standing(group, kind)
        ladder = ladder_figure(group, kind, standing.best.k) if standing else None
        if ladder:
            caption = (
                f"{title}: from chance (dashed) up to the ceiling, where one was measured. Hatched: predictors "
                "that hear nothing. Lines: 95% interval or, of several seeds, one standard deviation."
            )
            yield figure_html(ladder, f"{name}-{kind}-ladder", caption)
        lengths = overlap_figure(group, kind)
        if lengths:
            caption = (
                f"{title} against list length. Bands: chance with two standard deviations, and the ceiling with "
                "its interval, where one was measured. Thin grey lines: other models."
            )
            yield figure_html(lengths, f"{name}-{kind}-lengths", caption)


def losses_picture(group: Group, folders: Folders, name: str) -> Iterator[Markup]:
    """Yield the losses of the models by epoch, if any run kept them."""
    histories = {run.label: [read_history(path) for path in folders_of(run, folders)] for run in group.runs}
    losses = losses_figure(histories)
    if losses:
        yield figure_html(
            losses, f"{name}-losses", "Loss by epoch, as it was minimised; one line for each seed."
        )


def factor_pictures(models: Mapping[str, Predictions], space: Space, name: str) -> Iterator[Markup]:
    """Yield R² by factor, and how values are spread; of at least one model, the best first."""
    if space.factors.scaler.kind != UNSCALABLE:
        caption = "R² of each factor on test tracks; below the dashed line a factor's mean would do better."
        yield figure_html(r2_figure(models, space), f"{name}-r2", caption)
    best = next(iter(models))
    caption = (
        "Values of all factors before and after scaling, of all tracks that have factors, and predictions."
    )
    yield figure_html(spread_figure(best, models[best], space), f"{name}-spread", caption)
