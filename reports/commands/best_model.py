"""The best model of a group of runs, compared with chance, the refit ceiling and the reference predictors."""

from dataclasses import dataclass

from cs_keras.run_files.evaluation import BEST_FROM_SOUND, INFORMATION, REFIT_CEILING, Kind
from reports.runs.collect import Group, Run
from reports.runs.labels import name_predictor
from reports.tables.notes import available_kinds
from reports.tables.numbers import format_p
from reports.tables.overlap import TITLES, overlap_table
from reports.tables.table import TIED, Table

ALPHA = 0.05  # significance level, after correction for the number of models
LISTS: dict[Kind, str] = {
    "filtered": "a track's nearest tracks by other artists",
    "similarity": "a track's nearest tracks",
    "dot": "a playlist's best tracks",
    "dot_per_artist": "a playlist's best tracks among one track per artist",
    "dot_centred": "a playlist's best tracks beyond popularity",
}
NOT_FOR_NEW_TRACKS = {
    name_predictor(name) for name, text in INFORMATION.items() if "of the test tracks" in text
} | {name_predictor(BEST_FROM_SOUND)}


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
    best_from_sound: Point | None  # None unless the truth of the data is known
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
        """Formatted metrics by name, those that are available."""
        best, ceiling, sound = self.best, self.ceiling, self.best_from_sound
        facts: dict[str, str | None] = {
            "best model": best.name,
            f"overlap@{best.k}": f"{best.value:.1%}",
            "times chance": f"{best.value / best.chance:.2f} ×",
            "ceiling": None if ceiling is None else f"{ceiling.value:.1%}",
            "gap closed": None if self.gap_closed is None else f"{self.gap_closed:.0%}",
            "best from sound": None if sound is None else f"{sound.value:.1%}",
            "p": None if self.p is None else format_p(self.p),
            "significant": "yes" if self.is_significant else "no",
        }
        return {name: text for name, text in facts.items() if text is not None}

    @property
    def sentence(self) -> str:
        """The same metrics as sentences."""
        best, n = self.best, self.n_models
        among = f"the best of {n:,} models" if n > 1 else "the only model"
        found = f"{best.name}, {among}, finds {best.value:.1%} of {LISTS[self.kind]} (top {best.k})."
        return " ".join(
            (
                found,
                self._compare_with_chance(),
                self._compare_with_ceiling(),
                *self._name_bound(),
                *self._name_rival(),
            )
        )

    def _compare_with_chance(self) -> str:
        best = self.best
        times = f"That is {best.value / best.chance:.2f} × chance ({best.chance:.1%})"
        if self.p is None:
            return f"{times}; it was not tested against chance."
        corrected = f", after correction for {self.n_models:,} models" if self.n_models > 1 else ""
        above = "beyond artist recognition" if self.kind == "filtered" else "above chance"
        verdict = f"significantly {above}" if self.is_significant else f"not significantly {above}"
        return f"{times}: {verdict} (p = {format_p(self.p)}{corrected})."

    def _compare_with_ceiling(self) -> str:
        if self.ceiling is None:
            return "No ceiling was measured: the factors were not refitted."
        ceiling = "The refit ceiling (the same interactions factorised with another seed)"
        reached = f"{ceiling} reaches {self.ceiling.value:.1%}"
        if self.gap_closed is None:
            return f"{reached}, no more than chance, so there is no gap to close."
        return f"{reached}; the model closes {self.gap_closed:.0%} of the gap between chance and the ceiling."

    def _name_bound(self) -> list[str]:
        if self.best_from_sound is None:
            return []
        return [
            f"Best from sound (regression on the true style of the audio): {self.best_from_sound.value:.1%}."
        ]

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
            rivals = (one for one in points if not one.is_model and one.name not in NOT_FOR_NEW_TRACKS)
            rival = next((point for point in rivals if point.value >= best.low), None)
            sound = next((one for one in points if one.name == name_predictor(BEST_FROM_SOUND)), None)
            return BestModel(kind, best, len(models), ceiling, sound, rival)
    return None


def best_models(group: Group) -> list[BestModel]:
    """Return the best model by each kind of list that was evaluated, artist-filtered first."""
    return [best for kind in available_kinds(group) if (best := find_best_model(group, kind))]


def rank_runs(group: Group) -> list[Run]:
    """Return the runs of a group, the best by each kind of list first."""
    best = [one.best.name for one in best_models(group)]
    return sorted(group.runs, key=lambda run: best.index(run.label) if run.label in best else len(best))
