"""Paired comparisons of all models, query by query, and the table of each model against the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cs_keras.errors import DataError
from cs_keras.evaluation.statistics.comparison import Comparison, compare_all
from cs_keras.evaluation.statistics.jackknife import (
    QuerySums,
    check_paired,
    cluster_artists,
    stack_seeds,
    sum_values,
)
from cs_keras.run_files.evaluation import MODEL, OverlapAtK
from cs_keras.run_files.names import QUERIES_FILE
from cs_keras.run_files.queries import NDCG, Queries
from reports.runs.collect import Group, Run
from reports.runs.labels import family_of
from reports.tables.cells.rows import arrange, may_be_best
from reports.tables.cells.table import PAIRED_P, SIGNIFICANT, SIGNIFICANT_P, Cell, Column, Row, Table

MEASURES = {
    "filtered": "similarity,\nartist-\nfiltered",
    "similarity": "overlap by\nsimilarity",
    "dot": "overlap by\ndot product",
    NDCG: "nDCG",
}


@dataclass(frozen=True)
class PairedComparison:
    """The best model by one measure, and its differences to the others (best minus other), by label."""

    best: str
    against: Mapping[str, Comparison]

    @property
    def not_different(self) -> frozenset[str]:
        """The best model, and those not significantly different from it."""
        return frozenset((self.best, *(name for name, one in self.against.items() if one.p_holm >= PAIRED_P)))


PairedComparisons = Mapping[str, PairedComparison]  # by measure, such as dot@10 or ndcg@10


def compare_models(group: Group) -> PairedComparisons:
    """Compare the runs of a group by each measure that all of them have query by query."""
    if len(group.runs) < 2:
        return {}
    measures = {measure: None for queries in group.runs[0].queries if queries for measure in queries.values}
    compared = {measure: _compare_by(group, measure) for measure in measures}
    return {measure: one for measure, one in compared.items() if one}


def stored_values(queries: Queries, measure: str, predictor: str) -> QuerySums | None:
    """Return a predictor's values summed by artist where artists are stored; None if there are none."""
    values, artists = queries.values.get(measure, {}).get(predictor), (queries.artists or {}).get(measure)
    if values is None:
        return None
    sums, clusters = (queries.sums or {}).get(measure, {}).get(predictor), queries.clusters
    if sums is not None and clusters is not None:
        by_similarity = measure.startswith(("similarity@", "filtered@"))
        return QuerySums(sums[np.newaxis], *clusters[measure], by_similarity)
    return sum_values(values, None if artists is None else cluster_artists(artists))


def query_values(group: Group, measure: str) -> dict[str, QuerySums]:
    """Return values of runs with the same queries, by label, all seeds of each.

    DataError when two of them were summed over different clusters, which versions of cs-keras differ in.
    """
    shared, values, first = None, {}, None
    for run in group.runs:
        found = [own for own in run.queries if own and MODEL in own.values.get(measure, {})]
        if not found or len(found) < len(run.evaluations):
            continue
        shared = found[0].rows[measure] if shared is None else shared
        if all(np.array_equal(own.rows[measure], shared) for own in found):
            seeds = [one for own in found if (one := stored_values(own, measure, MODEL))]
            for folder, one in zip(run.folders, seeds, strict=True):
                first = first or (folder, one)
                _require_paired(measure, first, (folder, one))
            values[run.label] = stack_seeds(seeds)
    return values


def _require_paired(measure: str, first: tuple[Path, QuerySums], second: tuple[Path, QuerySums]) -> None:
    """Raise DataError, which names both files, unless values are summed over the same clusters."""
    try:
        check_paired(first[1], second[1])
    except DataError as error:
        raise DataError(
            f"{first[0] / QUERIES_FILE} and {second[0] / QUERIES_FILE} cannot be compared by {measure}: expected "
            "values summed over the same groups of artists, as one version of cs-keras writes them. Remove the "
            "older run by `cs-keras runs rm` and train it again."
        ) from error


def _compare_by(group: Group, measure: str) -> PairedComparison | None:
    """Compare all runs by one measure; None if some lack it, or none can be the best."""
    values = query_values(group, measure)
    candidates = [run.label for run in group.runs if _may_be_best(run, measure)]
    if len(values) < len(group.runs) or not candidates:
        return None
    compared = compare_all(values)
    best = max(candidates, key=lambda label: values[label].seed_means.mean())
    against = {one.other: one for one in compared if one.model == best}
    for one in (one for one in compared if one.other == best):  # as best minus other
        against[one.model] = replace(
            one, model=best, other=one.model, difference=-one.difference, low=-one.high, high=-one.low
        )
    return PairedComparison(best, against)


def _may_be_best(run: Run, measure: str) -> bool:
    """Return whether a run's lists are not tied and its overlap is significantly above chance.

    A p-value of `SIGNIFICANT_P` suffices: 99 permutations give no lower one.
    """
    kind, _, k = measure.partition("@")
    rows = [row for own in run.evaluations for row in own.overlap.get(kind, ()) if row.k == int(k)]
    p_values = [p_of(row, kind) for row in rows]
    return all(not row.flagged for row in rows) and all(
        p is not None and p <= SIGNIFICANT_P for p in p_values
    )


def p_of(row: OverlapAtK, kind: str) -> float | None:
    """Return the p-value that an overlap is marked by: beyond artist recognition, if lists are artist-filtered."""
    is_beyond = kind == "filtered" and row.p_beyond_artist is not None
    return row.p_beyond_artist if is_beyond else row.p_value


def emphasise(row: Row, measures: Sequence[str], comparisons: PairedComparisons) -> Row:
    """Return a model's row with strong cells where no model is significantly better.

    The first cells of the row are those of `measures`, in order.
    """
    cells = list(row.cells)
    for i, measure in enumerate(measures):
        cell, compared = cells[i], comparisons.get(measure)
        if cell and compared and may_be_best(cell) and row.name in compared.not_different:
            cells[i] = replace(cell, strong=True)
    return replace(row, cells=tuple(cells))


def comparison_table(group: Group, comparisons: PairedComparisons) -> Table | None:
    """Return each model's difference to the best by overlap and nDCG at the first list length; None without one."""
    k = group.evaluation_config.ks[0]
    shown = {kind: comparisons[f"{kind}@{k}"] for kind in MEASURES if f"{kind}@{k}" in comparisons}
    if not shown:
        return None
    columns = tuple(Column(f"{MEASURES[kind]}\nk = {k}", f"less_best_{kind}@{k}") for kind in shown)
    rows = []
    for run in group.runs:
        cells = tuple(_difference_cell(compared, run.label) for compared in shown.values())
        rows.append(Row(run.label, run.seeds, cells, family_of(run.model)))
    notes = (
        "Difference in percentage points: each model minus the best by that measure, on the same test tracks or "
        "playlists, mean over seeds. In brackets: 95% interval, which respects artists where runs recorded them.",
        f"* p < {PAIRED_P}: two-sided t test by the same standard error, with Holm's correction for all pairs of "
        "models; tables.csv has the p-values.",
    )
    return Table("Against the best model", columns, arrange(columns, rows), notes)


def _difference_cell(compared: PairedComparison, label: str) -> Cell:
    if label == compared.best:
        return Cell("best", None, strong=True, remark="best")
    one = compared.against[label]
    low, high = -one.high, -one.low
    detail = f"[{100 * low:+.1f}, {100 * high:+.1f}]"
    mark = SIGNIFICANT if one.p_holm < PAIRED_P else ""
    text = f"{-100 * one.difference:+.1f}"
    return Cell(text, -one.difference, mark, detail, low=low, high=high, p=one.p_holm)
