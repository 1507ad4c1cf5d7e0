"""The best model of a group of runs, compared with chance, the refit ceiling and the reference predictors."""

from dataclasses import dataclass

from cs_keras.run_files.evaluation import BEST_FROM_SOUND, INFORMATION, REFIT_CEILING, Kind
from reports.runs.collect import Group, Run
from reports.runs.labels import name_predictor
from reports.tables.cells.notes import available_kinds
from reports.tables.cells.table import TIED, Table
from reports.tables.overlap import overlap_table

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
            low, high = cell.span or (0.0, 0.0)
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
