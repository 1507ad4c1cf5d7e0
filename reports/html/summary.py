"""The answer before the tables: which model, how far above chance, how far below the ceiling, is it significant."""

from dataclasses import dataclass

from reports.formats.html_markup import Markup, element
from reports.html.points import Point, ceiling_point, model_points, reference_points
from reports.runs.collect import Group
from reports.tables.notes import Kind
from reports.tables.numbers import format_p
from reports.tables.overlap import TITLES

ALPHA = 0.05  # for a p-value that is corrected for the number of models

LISTS: dict[Kind, str] = {"similarity": "a track's nearest tracks", "dot": "a playlist's best tracks"}


@dataclass(frozen=True)
class Standing:
    """Where the best model of a group stands.

    Attributes
    ----------
    kind : {"similarity", "dot"}
    best : Point
        The model of the highest overlap whose lists are not tied.
    n_models : int
        Among how many it is the best.
    ceiling : Point or None
        None if no second fit was made.
    rival : Point or None
        The best predictor that hears nothing, if it does as well or is not clearly worse: within the interval.
    """

    kind: Kind
    best: Point
    n_models: int
    ceiling: Point | None
    rival: Point | None

    @property
    def p(self) -> float | None:
        """p-value of the best, times the number of models that it was chosen from (Bonferroni), at most 1."""
        return None if self.best.p is None else min(1.0, self.best.p * self.n_models)

    @property
    def is_significant(self) -> bool:
        """Whether the corrected p-value tells it from chance."""
        return self.p is not None and self.p < ALPHA

    @property
    def gap_closed(self) -> float | None:
        """Share of the gap from chance to the ceiling that is closed; None without such a gap."""
        if self.ceiling is None or self.ceiling.value <= self.best.chance:
            return None
        return (self.best.value - self.best.chance) / (self.ceiling.value - self.best.chance)


def find_standing(group: Group, kind: Kind) -> Standing | None:
    """Return where the best model stands at the shortest list length that was measured; None if none was."""
    for k in sorted(set(group.judging.ks)):
        points = model_points(group, kind, k)
        fair = [point for point in points if not point.tied]
        if fair:
            ceiling, rival = ceiling_point(group, kind, k), _find_rival(group, kind, fair[0])
            return Standing(kind, fair[0], len(points), ceiling, rival)
    return None


def _find_rival(group: Group, kind: Kind, best: Point) -> Point | None:
    deaf = [point for point in reference_points(group, kind, best.k) if not point.is_ceiling]
    rivals = [point for point in deaf if point.value >= best.low]
    return max(rivals, key=lambda point: point.value, default=None)


def count_ranks(group: Group) -> list[Standing]:
    """Return the standing by each kind of list that was judged."""
    found = (find_standing(group, kind) for kind in TITLES)
    return [standing for standing in found if standing]


def summary_html(group: Group) -> Markup:
    """Return the summary of a group: for each kind of list, the figures and a sentence that says them."""
    standings = count_ranks(group)
    if not standings:
        return element(
            "p", "No overlap that is free of ties was measured, so no model can be called the best."
        )
    return element("div", *map(_card, standings), class_="cards")


def sentence(standing: Standing) -> str:
    """Return what the figures say, in words."""
    best = standing.best
    among = f"the best of {standing.n_models:,} models" if standing.n_models > 1 else "the only model"
    return (
        f"{best.name}, {among}, finds {best.value:.1%} of {LISTS[standing.kind]} (top {best.k}). "
        f"{_above_chance(standing)} {_below_ceiling(standing)}{_beside_rival(standing)}"
    )


def _above_chance(standing: Standing) -> str:
    best = standing.best
    times = f"That is {best.value / best.chance:.2f} × chance ({best.chance:.1%})"
    if standing.p is None:
        return f"{times}; it was not tested against chance."
    corrected = f", after correction for {standing.n_models:,} models" if standing.n_models > 1 else ""
    verdict = "told from chance" if standing.is_significant else "not told from chance"
    return f"{times}: {verdict} (p = {format_p(standing.p)}{corrected})."


def _below_ceiling(standing: Standing) -> str:
    if standing.ceiling is None:
        return "No ceiling was measured: the factors hold no second fit."
    reached = f"A second fit of the same listening, the ceiling, finds {standing.ceiling.value:.1%}"
    if standing.gap_closed is None:
        return f"{reached}: no more than chance, so there is no gap to close."
    return f"{reached}: the model closes {standing.gap_closed:.0%} of the gap between chance and it."


def _beside_rival(standing: Standing) -> str:
    rival = standing.rival
    if rival is None:
        return ""
    how = "better" if rival.value > standing.best.value else "about as well"
    return f" Mind what hears nothing and does {how}: {rival.name}, {rival.value:.1%}."


def _card(standing: Standing) -> Markup:
    best, ceiling = standing.best, standing.ceiling
    closed = "n/a" if standing.gap_closed is None else f"{standing.gap_closed:.0%}"
    p = "n/a" if standing.p is None else format_p(standing.p)
    facts = {
        "best model": best.name,
        f"overlap@{best.k}": f"{best.value:.1%}",
        "times chance": f"{best.value / best.chance:.2f} ×",
        "ceiling": f"{ceiling.value:.1%}" if ceiling else "n/a",
        "gap closed": closed,
        "p": p,
        "significant": "yes" if standing.is_significant else "no",
    }
    pairs = (
        element("div", element("dt", term), element("dd", element("bdi", value)))
        for term, value in facts.items()
    )
    return element(
        "section",
        element("h3", TITLES[standing.kind]),
        element("p", sentence(standing), class_="verdict"),
        element("dl", *pairs),
        class_="card",
    )
