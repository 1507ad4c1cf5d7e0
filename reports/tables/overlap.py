"""The tables of overlap with the reference's lists, as in the thesis's tables 6.6 and 6.7, and of chance."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from cs_keras.evaluation.overlap import FLAGGED_TIED_SHARE
from cs_keras.run_files.evaluation import POPULARITY_ORACLE, RANDOM, REFIT_CEILING, OverlapAtK
from reports.runs.collect import Group
from reports.tables import published
from reports.tables.comparison import PairedComparisons, emphasise
from reports.tables.notes import (
    METRICS,
    SEEDS,
    UNPAIRED,
    Kind,
    count_queries,
    has_several_seeds,
    unpaired_labels,
)
from reports.tables.numbers import format_p, format_share, interval_cell
from reports.tables.rows import predictor_rows
from reports.tables.table import PAIRED_P, SIGNIFICANT, SIGNIFICANT_P, TIED, Cell, Column, Row, Table

TITLES: dict[Kind, str] = {"similarity": "Overlap by similarity", "dot": "Overlap by dot product"}
REFERENCE_NOTES = {
    RANDOM: "Random factors: normal, with the reference's mean and standard deviation in each factor.",
    POPULARITY_ORACLE: "Popularity ranking (oracle): one list for all playlists, by the mean playlist's dot "
    "product with the reference factors.",
    REFIT_CEILING: "Refit ceiling: the same interactions factorised with another seed, queried with its own "
    "playlists; hardly any model of one fit can do better.",
}

Measured = Mapping[int, OverlapAtK]  # by list length


def overlap_table(group: Group, kind: Kind, comparisons: PairedComparisons) -> Table:
    """Return the overlap of chance, reference predictors and models at each list length.

    Models that are the best by `comparisons`, or not significantly different from it, are strong.
    """
    first = group.first
    ks = tuple(dict.fromkeys(group.evaluation_config.ks))
    chance = _by_k(first.overlap[kind])
    decimals = {k: _decimals(chance.get(k)) for k in ks}
    columns = (
        *(Column(f"k = {k}", f"overlap@{k}") for k in ks),
        Column(f"p\n(k = {ks[0]})", f"p@{ks[0]}"),
    )
    references = {name: _by_k(own[kind]) for name, own in first.references.items() if kind in own}
    found = predictor_rows(
        group,
        columns,
        references,
        lambda evaluation: _by_k(evaluation.overlap.get(kind, ())),
        lambda seeds: _cells(seeds, decimals),
    )
    measures = [f"{kind}@{k}" for k in ks]
    models = [emphasise(row, measures, comparisons) if row.family else row for row in found]
    chances = Row("chance", (), (*(_chance_cell(chance.get(k), decimals[k]) for k in ks), None))
    rows = (chances, *models)
    tied = any(TIED in cell.marks for row in rows for cell in row.cells if cell)
    table = Table(TITLES[kind], columns, rows, tuple(_notes(group, kind, tied)))
    theirs = [
        published.chance_cells(kind, ks),
        *((),) * len(references),
        *(published.overlap_cells(run.model, kind, ks) for run in group.runs),
    ]
    return published.add_columns(table, published.overlap_columns(ks), theirs, published.overlap_note(kind))


def _by_k(overlaps: Sequence[OverlapAtK]) -> Measured:
    return {measured.k: measured for measured in overlaps}


def _cells(seeds: Sequence[Measured], decimals: Mapping[int, int]) -> tuple[Cell | None, ...]:
    """Return the overlap at each list length and the p-value of the shortest list, of one or several seeds."""
    overlaps = [_overlap_cell([measured.get(k) for measured in seeds], decimals[k]) for k in decimals]
    p = _largest_p([measured.get(next(iter(decimals))) for measured in seeds])
    return (*overlaps, None if p is None else Cell(format_p(p), p))


def _overlap_cell(seeds: Sequence[OverlapAtK | None], decimals: int) -> Cell | None:
    """Return an overlap with its interval or, of several seeds, the mean with the spread over seeds."""
    known = [one for one in seeds if one and one.overlap is not None]
    shares = [one.overlap for one in known if one.overlap is not None]
    if not known or len(known) < len(seeds):
        return None
    p, first = _largest_p(seeds), known[0]
    marks = SIGNIFICANT if p is not None and p < SIGNIFICANT_P else ""
    marks += TIED if any(one.flagged for one in known) else ""
    if len(known) > 1:
        mean, sd = statistics.fmean(shares), statistics.stdev(shares)
        detail = f"± {format_share(sd, decimals)}"
        return Cell(format_share(mean, decimals), mean, marks, detail, sd=sd, p=p)
    if first.low is None or first.high is None:
        return None
    return interval_cell(shares[0], first.low, first.high, marks, p, decimals)


def _largest_p(seeds: Sequence[OverlapAtK | None]) -> float | None:
    """Return the largest p-value of the seeds; None if one has none."""
    values = [one.p_value for one in seeds if one and one.p_value is not None]
    return max(values) if values and len(values) == len(seeds) else None


def _chance_cell(measured: OverlapAtK | None, decimals: int) -> Cell | None:
    if measured is None or measured.chance is None or measured.chance_sd is None:
        return None
    text, spread = format_share(measured.chance, decimals), format_share(measured.chance_sd, decimals)
    return Cell(text, measured.chance, detail=f"± {spread}", sd=measured.chance_sd)


def _decimals(measured: OverlapAtK | None) -> int:
    """Return the decimals of a percentage that show chance with two digits."""
    if measured is None or not measured.chance:
        return 1
    return max(1, 1 - math.floor(math.log10(100 * measured.chance)))


def _notes(group: Group, kind: Kind, tied: bool) -> Iterator[str]:
    """Yield the notes; `tied` if a cell has the mark of tied lists."""
    first, settings = group.first, group.evaluation_config
    n_queries, n_all, queries = count_queries(group, kind)
    n_candidates = first.overlap[kind][0].n_candidates
    if kind == "dot":
        yield (
            "Overlap in %: share of a playlist's k best test tracks by dot product with the reference factors that "
            "are also among its k best by the predicted factors."
        )
    else:
        yield (
            f"Overlap in %: share of the k test tracks nearest to a test track by "
            f"{METRICS.get(settings.metric, settings.metric)} of the reference factors that are also among the k "
            "nearest by the predicted factors."
        )
    yield (
        f"Mean over {n_queries:,} of {n_all:,} {queries}; {n_candidates:,} candidate tracks per list. In brackets: "
        f"95% bootstrap interval over {queries} ({settings.n_bootstrap:,} resamples)."
    )
    yield (
        f"p: (1 + permutations that reach the overlap) / (1 + {settings.n_permutations:,}); a permutation assigns "
        f"predictions to random tracks. * p < {SIGNIFICANT_P}, not corrected for the number of comparisons."
    )
    yield "Chance: k / candidate tracks, ± its standard deviation if lists were drawn independently."
    yield from (text for name, text in REFERENCE_NOTES.items() if kind in first.references.get(name, {}))
    known, n_test = first.n_known_artists, first.n_tracks.test
    if known:
        yield (
            f"Artist mean: the mean factors of the artist's train tracks; {n_test - known:,} of {n_test:,} test "
            "tracks are by artists without train tracks and get the mean of all train tracks."
        )
    elif known is not None:
        yield "No artist mean: no artist of a test track has train tracks, so it would be equal for all tracks."
    if has_several_seeds(group):
        yield f"{SEEDS}, in place of the interval; p: the largest."
    if len(group.runs) > 1:
        unpaired = unpaired_labels(group)
        yield (
            f"Nothing is bold: {UNPAIRED}: {unpaired}."
            if unpaired
            else "Bold: the best of several models, and those not significantly different from it (paired "
            f"t test, Holm's correction, p ≥ {PAIRED_P}), if p < {SIGNIFICANT_P} and lists are not tied."
        )
    if tied:
        yield (
            f"{TIED} More than {FLAGGED_TIED_SHARE:.0%} of the lists depend on the order of ties: part of this "
            "overlap is an artefact."
        )
    if any(k > n_candidates for k in settings.ks):
        yield f"n/a: a list of k tracks needs k candidates; there are {n_candidates:,}."
