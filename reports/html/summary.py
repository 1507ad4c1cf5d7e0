"""The best model of a group of runs, compared with chance, the refit ceiling and the reference predictors."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cs_keras.run_files.evaluation import REFIT_CEILING, OverlapAtK
from reports.runs.collect import Group, Run
from reports.runs.labels import name_predictor
from reports.tables.notes import Kind
from reports.tables.numbers import format_p
from reports.tables.overlap import TITLES

ALPHA = 0.05  # significance level, after correction for the number of models
LISTS: dict[Kind, str] = {"similarity": "a track's nearest tracks", "dot": "a playlist's best tracks"}


@dataclass(frozen=True)
class Point:
    """The overlap of one predictor at one list length, a share from 0 to 1.

    Attributes
    ----------
    low, high : float
        Bootstrap interval or, of several seeds, one standard deviation on either side.
    chance : float
        Expected overlap of random lists.
    p : float or None
        Largest p-value over seeds.
    tied : bool
        Whether the lists of any seed depend on the order of ties.
    is_model, is_ceiling : bool
        Whether it is a trained model, and whether it is the refit ceiling.
    """

    name: str
    k: int
    value: float
    low: float
    high: float
    chance: float
    p: float | None
    tied: bool
    is_model: bool = False
    is_ceiling: bool = False


def model_points(group: Group, kind: Kind, k: int) -> list[Point]:
    """Return the overlap of each model that has one at `k`, the best first."""
    points = (_point(run.label, _overlaps_at(run, kind, k)) for run in group.runs)
    models = [replace(point, is_model=True) for point in points if point]
    return sorted(models, key=lambda point: -point.value)


def reference_points(group: Group, kind: Kind, k: int) -> list[Point]:
    """Return the overlap of the reference predictors, the refit ceiling included if it was measured."""
    points = []
    for name, overlaps in group.first.references.items():
        point = _point(name_predictor(name), [one for one in overlaps.get(kind, ()) if one.k == k])
        if point:
            points.append(replace(point, is_ceiling=name == REFIT_CEILING))
    return points


def ceiling_point(group: Group, kind: Kind, k: int) -> Point | None:
    """Return the overlap of the refit ceiling; None if it was not measured."""
    return next((point for point in reference_points(group, kind, k) if point.is_ceiling), None)


def _overlaps_at(run: Run, kind: Kind, k: int) -> list[OverlapAtK]:
    """Return the overlap of each seed; an empty list if any seed lacks it."""
    own = [one for evaluation in run.evaluations for one in evaluation.overlap.get(kind, ()) if one.k == k]
    return own if len(own) == len(run.evaluations) else []


def _point(name: str, seeds: Sequence[OverlapAtK]) -> Point | None:
    shares = [one.overlap for one in seeds if one.overlap is not None]
    if not shares or len(shares) < len(seeds):
        return None
    first, value = seeds[0], statistics.fmean(shares)
    if first.chance is None or first.low is None or first.high is None:
        return None
    low, high = first.low, first.high
    if len(shares) > 1:
        spread = statistics.stdev(shares)
        low, high = value - spread, value + spread
    p_values = [one.p_value for one in seeds if one.p_value is not None]
    p = max(p_values) if len(p_values) == len(seeds) else None
    tied = any(one.flagged for one in seeds)
    return Point(name, first.k, value, low, high, first.chance, p, tied)


@dataclass(frozen=True)
class BestModel:
    """The best model of a group by one kind of list.

    Attributes
    ----------
    kind : {"similarity", "dot"}
    best : Point
        The model with the highest overlap whose lists are not tied.
    n_models : int
        Number of models that it was chosen from.
    ceiling : Point or None
        Refit ceiling; None if it was not measured.
    rival : Point or None
        Best reference predictor without audio, if it reaches the interval of `best`.
    """

    kind: Kind
    best: Point
    n_models: int
    ceiling: Point | None
    rival: Point | None

    @property
    def p(self) -> float | None:
        """Bonferroni-corrected p-value: times the number of models, at most 1."""
        return None if self.best.p is None else min(1.0, self.best.p * self.n_models)

    @property
    def is_significant(self) -> bool:
        """Whether the overlap is significantly above chance."""
        return self.p is not None and self.p < ALPHA

    @property
    def gap_closed(self) -> float | None:
        """Share of the gap from chance to the ceiling that is closed; None without such a gap."""
        if self.ceiling is None or self.ceiling.value <= self.best.chance:
            return None
        return (self.best.value - self.best.chance) / (self.ceiling.value - self.best.chance)

    @property
    def title(self) -> str:
        """Title of the kind of list."""
        return TITLES[self.kind]

    @property
    def facts(self) -> dict[str, str]:
        """Formatted metrics by name."""
        best, ceiling = self.best, self.ceiling
        return {
            "best model": best.name,
            f"overlap@{best.k}": f"{best.value:.1%}",
            "times chance": f"{best.value / best.chance:.2f} ×",
            "ceiling": f"{ceiling.value:.1%}" if ceiling else "n/a",
            "gap closed": "n/a" if self.gap_closed is None else f"{self.gap_closed:.0%}",
            "p": "n/a" if self.p is None else format_p(self.p),
            "significant": "yes" if self.is_significant else "no",
        }

    @property
    def sentence(self) -> str:
        """The same metrics as sentences."""
        best, n = self.best, self.n_models
        among = f"the best of {n:,} models" if n > 1 else "the only model"
        found = f"{best.name}, {among}, finds {best.value:.1%} of {LISTS[self.kind]} (top {best.k})."
        return " ".join(
            (found, self._compare_with_chance(), self._compare_with_ceiling(), *self._name_rival())
        )

    def _compare_with_chance(self) -> str:
        best = self.best
        times = f"That is {best.value / best.chance:.2f} × chance ({best.chance:.1%})"
        if self.p is None:
            return f"{times}; it was not tested against chance."
        corrected = f", after correction for {self.n_models:,} models" if self.n_models > 1 else ""
        verdict = "significantly above chance" if self.is_significant else "not significantly above chance"
        return f"{times}: {verdict} (p = {format_p(self.p)}{corrected})."

    def _compare_with_ceiling(self) -> str:
        if self.ceiling is None:
            return "No ceiling was measured: the factors were not refitted."
        ceiling = "The refit ceiling, the same interactions fitted with another seed,"
        reached = f"{ceiling} finds {self.ceiling.value:.1%}"
        if self.gap_closed is None:
            return f"{reached}: no more than chance, so there is no gap to close."
        return f"{reached}: the model closes {self.gap_closed:.0%} of the gap between chance and it."

    def _name_rival(self) -> list[str]:
        if self.rival is None:
            return []
        how = "better" if self.rival.value > self.best.value else "about as well"
        return [f"Note: a predictor without audio does {how}: {self.rival.name}, {self.rival.value:.1%}."]


def find_best_model(group: Group, kind: Kind) -> BestModel | None:
    """Return the best model at the shortest list length that was measured; None if none was."""
    for k in sorted(set(group.evaluation_config.ks)):
        points = model_points(group, kind, k)
        best = next((point for point in points if not point.tied), None)
        if best:
            references = [point for point in reference_points(group, kind, k) if not point.is_ceiling]
            rivals = [point for point in references if point.value >= best.low]
            rival = max(rivals, key=lambda point: point.value, default=None)
            return BestModel(kind, best, len(points), ceiling_point(group, kind, k), rival)
    return None


def best_models(group: Group) -> list[BestModel]:
    """Return the best model by each kind of list that was evaluated."""
    return [best for kind in TITLES if (best := find_best_model(group, kind))]


def rank_runs(group: Group) -> list[Run]:
    """Return the runs of a group, the best by each kind of list first."""
    best = [one.best.name for one in best_models(group)]
    return sorted(group.runs, key=lambda run: best.index(run.label) if run.label in best else len(best))
