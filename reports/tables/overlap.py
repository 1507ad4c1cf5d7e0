"""The tables of overlap with the reference's lists, as in the thesis's tables 6.6 and 6.7, and of chance."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from cs_keras.evaluation.overlap import FLAGGED_TIED_SHARE
from cs_keras.run_files.evaluation import (
    ARTIST_MEAN,
    BEST_FROM_SOUND,
    HALF_DATA_CEILING,
    POPULARITY_ORACLE,
    RANDOM,
    REFIT_CEILING,
    SINGLE_RANKING,
    Evaluation,
    Kind,
    OverlapAtK,
    Overlaps,
)
from reports.runs.collect import Group
from reports.tables import published
from reports.tables.cells.comparison import PairedComparisons, emphasise, p_of
from reports.tables.cells.notes import (
    METRICS,
    SEEDS,
    UNPAIRED,
    count_queries,
    has_several_seeds,
    of_tracks,
    unpaired_labels,
)
from reports.tables.cells.numbers import format_p, format_share, interval_cell
from reports.tables.cells.rows import predictor_rows
from reports.tables.cells.table import PAIRED_P, SIGNIFICANT, SIGNIFICANT_P, TIED, Cell, Column, Row, Table

TITLES: dict[Kind, str] = {
    "filtered": "Overlap by similarity, artist-filtered",
    "similarity": "Overlap by similarity",
    "dot": "Overlap by dot product",
    "dot_per_artist": "Overlap by dot product, one track per artist",
    "dot_centred": "Overlap by dot product, popularity-centred",
}
DEFINITIONS: dict[Kind, str] = {
    "filtered": "as by similarity, but without tracks of the query's own artist in either list, because "
    "recognising an artist is not predicting similarity",
    "similarity": "share of the k test tracks nearest to a test track by {metric} of the reference factors "
    "that are also among the k nearest by the predicted factors",
    "dot": "share of a playlist's k best test tracks by dot product with the reference factors that are also "
    "among its k best by the predicted factors",
    "dot_per_artist": "as by dot product, over one random test track of each known artist; mean of 20 draws",
    "dot_centred": "as by dot product, after subtracting the mean of the playlist factors, which removes "
    "what popularity explains",
}
REFERENCE_NOTES = {
    RANDOM: "Random factors: normal, with the reference's mean and standard deviation in each factor.",
    POPULARITY_ORACLE: "Popularity ranking (oracle): the same list for all playlists, by the mean of their "
    "dot products with the reference factors, which are unknown for a new track.",
    BEST_FROM_SOUND: "Best from sound (oracle): regression on the style that the audio was generated from.",
    HALF_DATA_CEILING: "Half-data ceiling: overlap of two fits, each to a random half of the playlists.",
    REFIT_CEILING: "Refit ceiling: the same interactions factorised with another seed, with its own playlist "
    "factors; a model that predicts one fit can hardly exceed it.",
}

Measured = Mapping[int, OverlapAtK]  # by list length


def overlap_table(group: Group, kind: Kind, comparisons: PairedComparisons) -> Table:
    """Return the overlap of chance, reference predictors and models at each list length.

    Models that are the best by `comparisons`, or not significantly different from it, are strong.
    """
    first = group.first
    ks = tuple(dict.fromkeys(group.evaluation_config.ks))
    chance = by_k(first.overlap[kind])
    decimals = {k: show_decimals(chance.get(k)) for k in ks}
    columns = (
        *(Column(f"k = {k}", f"overlap@{k}") for k in ks),
        Column(f"p\n(k = {ks[0]})", f"p@{ks[0]}"),
        Column("p\nbeyond\nartist", f"p_beyond_artist@{ks[0]}", optional=True),
        Column("its null\nmean", f"null_mean_beyond_artist@{ks[0]}", optional=True),
        Column("own single\nranking", f"single_ranking@{ks[0]}", optional=True),
    )
    references = reference_overlaps(first, kind)
    singles = {
        run.label: [_single_ranking(own, kind, ks[0]) for own in run.evaluations] for run in group.runs
    }
    found = predictor_rows(
        group,
        columns,
        references,
        lambda evaluation: by_k(evaluation.overlap.get(kind, ())),
        lambda seeds: (*_cells(seeds, kind, decimals), None),
    )
    measures = [f"{kind}@{k}" for k in ks]
    models = [
        emphasise(_with_single_ranking(row, singles[row.name], kind, decimals[ks[0]]), measures, comparisons)
        if row.family
        else row
        for row in found
    ]
    nothing = (None,) * (len(columns) - len(ks))
    chances = Row("chance", (), (*(chance_cell(chance.get(k), decimals[k]) for k in ks), *nothing))
    rows = (chances, *models)
    tied = any(TIED in cell.marks for row in rows for cell in row.cells if cell)
    table = Table(TITLES[kind], columns, rows, tuple(_notes(group, kind, tied)))
    theirs = [
        published.chance_cells(kind, ks),
        *((),) * len(references),
        *(published.overlap_cells(run.model, kind, ks) for run in group.runs),
    ]
    return published.add_columns(table, published.overlap_columns(ks), theirs, published.overlap_note(kind))


def reference_overlaps(evaluation: Evaluation, kind: Kind) -> dict[str, Measured]:
    """Return the overlaps by one kind of list of the predictors that all models are compared with."""
    return {
        name: by_k(own[kind])
        for name, own in evaluation.references.items()
        if kind in own and name != SINGLE_RANKING  # which is the model's own
    }


def by_k(overlaps: Sequence[OverlapAtK]) -> Measured:
    """Return overlaps by list length."""
    return {measured.k: measured for measured in overlaps}


def seeds_cell(seeds: Sequence[OverlapAtK | None], kind: Kind, decimals: int) -> Cell | None:
    """Return an overlap with its interval or, of several seeds, the mean with the spread over seeds."""
    known = [one for one in seeds if one and one.overlap is not None]
    shares = [one.overlap for one in known if one.overlap is not None]
    if not known or len(known) < len(seeds):
        return None
    p, first = largest([p_of(one, kind) if one else None for one in seeds]), known[0]
    marks = SIGNIFICANT if p is not None and p <= SIGNIFICANT_P else ""
    marks += TIED if any(one.flagged for one in known) else ""
    if len(known) > 1:
        mean, sd = statistics.fmean(shares), statistics.stdev(shares)
        detail = f"± {format_share(sd, decimals)}"
        return Cell(format_share(mean, decimals), mean, marks, detail, sd=sd, p=p)
    if first.low is None or first.high is None:
        return None
    return interval_cell(shares[0], first.low, first.high, marks, p, decimals)


def p_cell(p_values: Sequence[float | None]) -> Cell | None:
    """Return the largest p-value of the seeds; None if one has none."""
    p = largest(p_values)
    return None if p is None else Cell(format_p(p), p)


def largest(p_values: Sequence[float | None]) -> float | None:
    """Return the largest p-value; None if one is missing."""
    values = [p for p in p_values if p is not None]
    return max(values) if values and len(values) == len(p_values) else None


def chance_cell(measured: OverlapAtK | None, decimals: int) -> Cell | None:
    """Return the overlap of random lists with its spread; None if there are too few candidates."""
    if measured is None or measured.chance is None or measured.chance_sd is None:
        return None
    text, spread = format_share(measured.chance, decimals), format_share(measured.chance_sd, decimals)
    return Cell(text, measured.chance, detail=f"± {spread}", sd=measured.chance_sd)


def show_decimals(measured: OverlapAtK | None) -> int:
    """Return the decimals of a percentage that show chance with two digits."""
    if measured is None or not measured.chance:
        return 1
    return max(1, 1 - math.floor(math.log10(100 * measured.chance)))


def _cells(seeds: Sequence[Measured], kind: Kind, decimals: Mapping[int, int]) -> tuple[Cell | None, ...]:
    """Return the overlap at each list length, and p-values and null mean of the shortest list, of the seeds."""
    first = [measured.get(next(iter(decimals))) for measured in seeds]
    null_means = [one.null_mean_beyond_artist if one else None for one in first]
    known = [mean for mean in null_means if mean is not None]
    mean = statistics.fmean(known) if known and len(known) == len(seeds) else None
    return (
        *(seeds_cell([measured.get(k) for measured in seeds], kind, decimals[k]) for k in decimals),
        p_cell([one.p_value if one else None for one in first]),
        p_cell([one.p_beyond_artist if one else None for one in first]),
        None if mean is None else Cell(format_share(mean, next(iter(decimals.values()))), mean),
    )


def _single_ranking(evaluation: Evaluation, kind: Kind, k: int) -> OverlapAtK | None:
    return by_k(evaluation.references.get(SINGLE_RANKING, Overlaps()).get(kind, ())).get(k)


def _with_single_ranking(row: Row, seeds: Sequence[OverlapAtK | None], kind: Kind, decimals: int) -> Row:
    """Return a model's row with the overlap of its own single ranking, without interval, in the last cell."""
    cell = seeds_cell(seeds, kind, decimals)
    shown = None if cell is None else Cell(cell.text, cell.value, sd=cell.sd, low=cell.low, high=cell.high)
    return Row(row.name, row.seeds, (*row.cells[:-1], shown), row.family, row.heading, row.rule_above)


def _notes(group: Group, kind: Kind, tied: bool) -> Iterator[str]:
    """Yield the notes; `tied` if a cell has the mark of tied lists."""
    first, settings = group.first, group.evaluation_config
    rows = first.overlap[kind]
    n_candidates = rows[0].n_candidates
    metric = METRICS.get(settings.metric, settings.metric)
    yield f"Overlap in %: {DEFINITIONS[kind].format(metric=metric)}."
    n_queries, n_all, queries = count_queries(group, kind)
    left_out = f" ({rows[0].n_left_out:,} others have fewer than {rows[0].k})" if rows[0].n_left_out else ""
    of_all = f" of {n_all:,}" if kind != "dot_per_artist" else ""
    at_most = "at most " if first.n_rotations else ""
    yield (
        f"Mean over {n_queries:,}{of_all} {queries}{left_out}; {at_most}{n_candidates:,} candidate tracks per list."
    )
    yield interval_note(group, kind)
    share = f"(1 + permutations that reach the overlap) / (1 + {settings.n_permutations:,}); "
    yield (
        f"p: {'' if first.n_rotations else share}permutations "
        f"assign predictions to random tracks, a test for any information. * {marked_by(kind, rows[0])} at most "
        f"{SIGNIFICANT_P}, not corrected for the number of comparisons."
    )
    yield from beyond_artist_notes(rows[0])
    yield "Chance: k / candidate tracks, ± its standard deviation if lists were drawn independently."
    yield from same_artist_notes(first)
    if SINGLE_RANKING in first.references and kind in first.references[SINGLE_RANKING]:
        yield (
            f"Own single ranking: overlap at k = {rows[0].k} if all playlists get one list, by the mean of the "
            "model's scores; this part of the overlap is not specific to a playlist."
        )
    yield from (text for name, text in REFERENCE_NOTES.items() if kind in first.references.get(name, {}))
    yield from _artist_mean_notes(first)
    if has_several_seeds(group):
        yield f"{SEEDS}, in place of the interval; p: the largest."
    if len(group.runs) > 1:
        yield bold_note(group)
    if tied:
        yield (
            f"{TIED} More than {FLAGGED_TIED_SHARE:.0%} of the lists depend on the order of ties, so part of this "
            "overlap is an artefact."
        )
    if any(k > n_candidates for k in settings.ks):
        yield f"A list of k tracks needs k candidates; there are {n_candidates:,}."


def marked_by(kind: Kind, row: OverlapAtK) -> str:
    """Return the name of the p-value that overlaps of a kind are marked by; see `p_of`."""
    return "p beyond artist" if kind == "filtered" and row.p_beyond_artist is not None else "p"


def interval_note(group: Group, *kinds: Kind) -> str:
    """Return a note that explains the intervals of some kinds of lists."""
    if group.first.n_unknown_artists is None:
        n_bootstrap = group.evaluation_config.n_bootstrap
        queries = " or ".join(
            dict.fromkeys("test tracks" if of_tracks(kind) else "playlists" for kind in kinds)
        )
        return f"In brackets: 95% bootstrap interval over {queries} ({n_bootstrap:,} resamples)."
    units = "artists" if all(map(of_tracks, kinds)) else "artists and playlists"
    return f"In brackets: 95% interval over {units} (jackknife, Student's t)."


def beyond_artist_notes(row: OverlapAtK) -> Iterator[str]:
    """Yield a note that explains the test beyond artist recognition, if there was one."""
    if row.p_beyond_artist is None or row.n_arrangements is None:
        return
    yield (
        "p beyond artist: as p, but permutations exchange whole artists with equal numbers of test tracks, and "
        "shuffle tracks within artists. The null mean is the overlap that artist recognition alone explains. "
        f"Distinct arrangements: {format_count(row.n_arrangements)}."
    )


def format_count(n: float) -> str:
    """Return a count, a very large one as a power of ten."""
    if n < 1e6:
        return f"{n:,.0f}"
    return f"More than 10^{math.floor(math.log10(n))}" if math.isfinite(n) else "Countless"


def same_artist_notes(evaluation: Evaluation) -> Iterator[str]:
    """Yield the share of the reference's lists by the query's own artist, if known."""
    row = next(iter(evaluation.overlap.get("similarity", ())), None)
    if row and row.same_artist_share is not None:
        yield (
            f"{row.same_artist_share:.1%} of the reference's {row.k} nearest tracks are by the query's own artist; "
            "unfiltered overlap includes the gain from recognising artists."
        )


def bold_note(group: Group) -> str:
    """Return a note that explains bold numbers, or why there are none."""
    unpaired = unpaired_labels(group)
    if unpaired:
        return f"Nothing is bold: {UNPAIRED}: {unpaired}."
    return (
        "Bold: the best of several models, and those not significantly different from it (paired test, Holm's "
        f"correction, p ≥ {PAIRED_P}), if marked {SIGNIFICANT} and lists are not tied."
    )


def _artist_mean_notes(evaluation: Evaluation) -> Iterator[str]:
    known, n_test = evaluation.n_known_artists, evaluation.n_tracks.test
    if ARTIST_MEAN in evaluation.references:
        yield (
            f"Artist mean: the mean factors of the artist's train tracks; {n_test - (known or 0):,} of {n_test:,} "
            "test tracks are by artists without train tracks and get the mean of all train tracks."
        )
    elif known == 0:
        n_unknown = evaluation.n_unknown_artists or 0
        among = f" that is known ({n_unknown:,} tracks have none)" if n_unknown else ""
        yield (
            f"No artist mean: no artist of a test track{among} has train tracks, so all predictions would be equal."
        )
