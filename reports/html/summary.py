"""The best model of a group of runs, compared with chance, the refit ceiling and the reference predictors."""

from dataclasses import dataclass

from cs_keras.run_files.evaluation import REFIT_CEILING
from reports.runs.collect import Group, Run
from reports.runs.labels import name_predictor
from reports.tables.notes import Kind
from reports.tables.numbers import format_p
from reports.tables.overlap import TITLES, overlap_table
from reports.tables.table import TIED, Table

ALPHA = 0.05  # significance level, after correction for the number of models
LISTS: dict[Kind, str] = {"similarity": "a track's nearest tracks", "dot": "a playlist's best tracks"}


@dataclass(frozen=True)
class Point:
    """The overlap of one predictor at one list length, as shares from 0 to 1."""

    name: str
    k: int
    value: float
    low: float  # of the bootstrap interval or, of several seeds, one standard deviation below
    high: float
    chance: float
    p: float | None  # the largest over seeds
    tied: bool  # whether the lists of any seed depend on the order of ties
    is_model: bool
    is_ceiling: bool


def list_lengths(table: Table) -> list[int]:
    """Return the list lengths of an overlap table, the shortest first."""
    keys = [column.key.partition("@") for column in table.columns]
    return sorted(int(k) for name, _, k in keys if name == "overlap")


def read_points(table: Table, k: int) -> list[Point]:
    """Return the predictors of an overlap table that have an overlap at length `k`, the best first."""
    column = [column.key for column in table.columns].index(f"overlap@{k}")
    chance, *rows = ((row, row.cells[column]) for row in table.rows)
    ceiling = name_predictor(REFIT_CEILING)
    points = []
    for row, cell in rows:
        if cell and cell.value is not None and chance[1] and chance[1].value is not None:
            low, high = cell.low or 0.0, cell.high or 0.0
            if cell.sd is not None:
                low, high = cell.value - cell.sd, cell.value + cell.sd
            is_model, tied = bool(row.family), TIED in cell.marks
            is_ceiling = not is_model and row.name == ceiling
            values = (cell.value, low, high, chance[1].value)
            points.append(Point(row.name, k, *values, cell.p, tied, is_model, is_ceiling))
    return sorted(points, key=lambda point: -point.value)


@dataclass(frozen=True)
class BestModel:
    """The best model of a group by one kind of list: the highest overlap of lists that are not tied."""

    kind: Kind
    best: Point
    n_models: int  # that it was chosen from
    ceiling: Point | None  # None if it was not measured
    rival: Point | None  # best reference predictor, if it reaches the interval of `best`

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
    if not group.first.overlap.get(kind):
        return None
    table = overlap_table(group, kind, {})
    for k in list_lengths(table):
        points = read_points(table, k)
        models = [point for point in points if point.is_model]
        best = next((point for point in models if not point.tied), None)
        if best:
            ceiling = next((point for point in points if point.is_ceiling), None)
            rivals = (point for point in points if not (point.is_model or point.is_ceiling))
            rival = next((point for point in rivals if point.value >= best.low), None)
            return BestModel(kind, best, len(models), ceiling, rival)
    return None


def best_models(group: Group) -> list[BestModel]:
    """Return the best model by each kind of list that was evaluated."""
    return [best for kind in TITLES if (best := find_best_model(group, kind))]


def rank_runs(group: Group) -> list[Run]:
    """Return the runs of a group, the best by each kind of list first."""
    best = [one.best.name for one in best_models(group)]
    return sorted(group.runs, key=lambda run: best.index(run.label) if run.label in best else len(best))
