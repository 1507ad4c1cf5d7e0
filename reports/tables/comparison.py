"""Whether models differ: each against the best, by what was found query by query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.statistics.comparison import Comparison, compare_all
from cs_keras.evaluation.statistics.resampling import Resampling
from cs_keras.run_files.evaluation import MODEL
from cs_keras.run_files.queries import NDCG
from reports.runs.collect import Group, Run
from reports.runs.labels import family_of
from reports.tables.table import (
    PAIRED_P,
    SIGNIFICANT,
    SIGNIFICANT_P,
    Cell,
    Column,
    Row,
    Table,
    arrange,
    contends,
)

PERMUTATIONS_PER_PAIR = 100  # and 9,999 at least: the smallest p-value must outlive its correction
MEASURES = {"similarity": "overlap by\nsimilarity", "dot": "overlap by\ndot product", NDCG: "nDCG"}

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairedComparison:
    """The best model by one measure, and how it differs from each of the others, by label: best less other."""

    best: str
    against: Mapping[str, Comparison]

    @property
    def undefeated(self) -> frozenset[str]:
        """The best, and the models that are not told from it."""
        alike = (label for label, one in self.against.items() if one.p_holm >= PAIRED_P)
        return frozenset((self.best, *alike))


PairedComparisons = Mapping[str, PairedComparison]  # by measure, such as dot@10 or ndcg@10


def compare_models(group: Group) -> PairedComparisons:
    """Return a contest for each measure that all runs of a group have query by query; none for a single run."""
    if len(group.runs) < 2:
        return {}
    measures = {measure: None for queries in group.runs[0].queries if queries for measure in queries.values}
    values = {measure: query_values(group, measure) for measure in measures}
    contests = {measure: _contest(group, measure, own) for measure, own in values.items()}
    return {measure: contest for measure, contest in contests.items() if contest}


def query_values(group: Group, measure: str) -> dict[str, Values]:
    """Return by label, shape (n_seeds, n_queries), the values of runs that have them and share their queries."""
    kind, shared, values = measure.partition("@")[0], None, {}
    for run in group.runs:
        found = [own for own in run.queries if own and MODEL in own.values.get(measure, {})]
        if not found or len(found) < len(run.evaluations):
            continue
        shared = found[0].rows[kind] if shared is None else shared
        if all(np.array_equal(own.rows[kind], shared) for own in found):
            values[run.label] = np.array([own.values[measure][MODEL] for own in found])
    return values


def _contest(group: Group, measure: str, values: Mapping[str, Values]) -> PairedComparison | None:
    """Compare all runs by one measure; None if some lack it, or none is fit to be the best."""
    fit = [run.label for run in group.runs if _is_fit(run, measure)]
    if len(values) < len(group.runs) or not fit:
        return None
    n_pairs = len(values) * (len(values) - 1) // 2
    permutations = max(Resampling.n_permutations, PERMUTATIONS_PER_PAIR * n_pairs)
    compared = compare_all(values, Resampling(group.evaluation_config.n_bootstrap, permutations))
    best = max(fit, key=lambda label: values[label].mean())
    against = [_from(best, one) for one in compared if best in (one.model, one.other)]
    return PairedComparison(best, {one.other: one for one in against})


def _from(best: str, one: Comparison) -> Comparison:
    """Return a comparison as the best less the other."""
    if one.model == best:
        return one
    return replace(one, model=best, other=one.model, difference=-one.difference, low=-one.high, high=-one.low)


def _is_fit(run: Run, measure: str) -> bool:
    """Tell whether a run may be the best: not if its lists are tied, nor where chance does as well."""
    kind, _, k = measure.partition("@")
    rows = [row for own in run.evaluations for row in own.overlap.get(kind, ()) if row.k == int(k)]
    return all(not row.flagged and row.p_value is not None and row.p_value < SIGNIFICANT_P for row in rows)


def emphasise(row: Row, measures: Sequence[str], contests: PairedComparisons) -> Row:
    """Return a model's row, its cells by `measures` strong where no model is told to be better.

    The first cells of the row are those of `measures`, in order; some may have no contest.
    """
    cells = list(row.cells)
    for i, measure in enumerate(measures):
        cell = cells[i]
        if cell and contends(cell) and measure in contests and row.name in contests[measure].undefeated:
            cells[i] = replace(cell, strong=True)
    return replace(row, cells=tuple(cells))


def comparison_table(group: Group, contests: PairedComparisons) -> Table | None:
    """Return how far each model is below the best in overlap and nDCG of the first list length, and the p-values.

    None where there is nothing to compare.
    """
    k = group.evaluation_config.ks[0]
    told = {kind: contests[f"{kind}@{k}"] for kind in MEASURES if f"{kind}@{k}" in contests}
    if not told:
        return None
    columns = tuple(Column(f"{MEASURES[kind]}\nk = {k}", f"less_best_{kind}@{k}") for kind in told)
    rows = []
    for run in group.runs:
        cells = tuple(_cell(contest, run.label) for contest in told.values())
        rows.append(Row(run.label, run.seeds, cells, family_of(run.model)))
    return Table("Against the best model", columns, arrange(columns, rows), comparison_notes(group))


def _cell(contest: PairedComparison, label: str) -> Cell:
    if label == contest.best:
        return Cell("best", None, strong=True, remark="best")
    one = contest.against[label]
    low, high = -one.high, -one.low
    detail = f"[{100 * low:+.1f}, {100 * high:+.1f}]"
    mark = SIGNIFICANT if one.p_holm < PAIRED_P else ""
    text = f"{-100 * one.difference:+.1f}"
    return Cell(text, -one.difference, mark, detail, low=low, high=high, p=one.p_holm)


def comparison_notes(group: Group) -> tuple[str, ...]:
    """Return what the differences are, and how they were tested."""
    return (
        "Difference in points of percent: each model less the best by that measure, of the same test tracks or "
        "playlists and the mean over seeds. In brackets: 95% bootstrap interval over both "
        f"({group.evaluation_config.n_bootstrap:,} resamples).",
        f"* p < {PAIRED_P}: two-sided sign-flip test of the differences, query by query, with Holm's correction "
        "for all pairs of models; tables.csv has the p-values. They speak of these trainings; the interval, with "
        "several seeds, of others too.",
    )
