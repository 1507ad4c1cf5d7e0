"""The tables of held-out listening found, and of what lists do to the catalogue."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from cs_keras.run_files.evaluation import MODEL, BeyondRecord, Evaluation, RankingRecord
from reports.runs.collect import Group
from reports.runs.labels import family_of, name_predictor
from reports.tables import published_ranking as reported_ranking
from reports.tables.comparison import PairedComparisons, emphasise
from reports.tables.notes import PROTOCOLS, n_queries_note
from reports.tables.numbers import bare_cell, format_share, share_cell
from reports.tables.published import beside
from reports.tables.table import Cell, Column, Row, Table, arrange

Record = TypeVar("Record")
Cells = tuple[Cell | None, ...]

BEYOND: dict[str, tuple[str, Callable[[float], str]]] = {
    "coverage": ("coverage", format_share),
    "gini": ("Gini", lambda value: f"{value:.2f}"),
    "popularity": ("popu-\nlarity", lambda value: f"{value:.2f}"),
    "artist_repetition": ("artist\nrepeti-\ntion", format_share),
    "hubness": ("hubness", lambda value: f"{value:z.2f}"),
    "never_reached": ("never\nreached", format_share),
}
COHESION: dict[str, tuple[str, Callable[[float], str]]] = {
    "shared_genre": ("shared\ngenre", format_share),
    "same_artist": ("same\nartist", format_share),
    "genre_entropy": ("genre\nentropy", lambda value: f"{value:.2f}"),
    "diversity": ("diver-\nsity", lambda value: f"{value:z.2f}"),
}


def ranking_table(group: Group, contests: PairedComparisons) -> Table | None:
    """Return how well playlists find the test tracks they hold; None without listening."""
    first = group.first.ranking
    if first is None:
        return None
    names = [name for name in _metrics(group.evaluation_config.ks) if name in first.predictors[MODEL]]
    columns = tuple(Column(_header(name), name) for name in names)

    def cells(seeds: Sequence[RankingRecord], predictor: str) -> Cells:
        return tuple(share_cell([own.predictors[predictor].get(name) for own in seeds]) for name in names)

    rows = _rows(group, columns, lambda one: one.ranking, first.predictors, cells)
    rows = tuple(emphasise(row, names, contests) if row.family else row for row in rows)
    table = Table("Held-out listening found", columns, rows, ranking_notes(group, first))
    runs = {run.label: run for run in group.runs}
    theirs = [reported_ranking.ranking_cells(row.name, runs.get(row.name)) for row in rows]
    return beside(table, reported_ranking.COLUMNS, theirs, reported_ranking.NOTE)


def beyond_table(group: Group) -> Table | None:
    """Return what lists do to the catalogue of test tracks; None for runs of earlier releases."""
    return _table_of(group, "Beyond accuracy", BEYOND, beyond_notes)


def cohesion_table(group: Group) -> Table | None:
    """Return how much the lists of tracks are of one kind; None for runs of earlier releases."""
    return _table_of(group, "Cohesion and diversity", COHESION, cohesion_notes)


def _table_of(
    group: Group,
    title: str,
    shown: Mapping[str, tuple[str, Callable[[float], str]]],
    notes_of: Callable[[Group, BeyondRecord], tuple[str, ...]],
) -> Table | None:
    """Return those of the numbers `shown` that any predictor of the first run has; None if none has one."""
    first = group.first.beyond_accuracy
    if first is None:
        return None
    names = [name for name in shown if any(name in own for own in first.predictors.values())]
    if not names:
        return None
    columns = tuple(Column(shown[name][0], name) for name in names)

    def cells(seeds: Sequence[BeyondRecord], predictor: str) -> Cells:
        values = {name: [own.predictors[predictor].get(name) for own in seeds] for name in names}
        return tuple(bare_cell(own, shown[name][1]) for name, own in values.items())

    rows = _rows(group, columns, lambda one: one.beyond_accuracy, first.predictors, cells)
    return Table(f"{title}, k = {first.k}", columns, rows, notes_of(group, first))


def _rows(
    group: Group,
    columns: Sequence[Column],
    record_of: Callable[[Evaluation], Record | None],
    predictors: Mapping[str, object],
    cells: Callable[[Sequence[Record], str], Cells],
) -> tuple[Row, ...]:
    """Return the rows of what every model is held beside, then those of the models that have such a record."""
    of_first = [record for record in [record_of(group.first)] if record is not None]
    others = [
        Row(name_predictor(name), (group.first.seed,), cells(of_first, name))
        for name in predictors
        if name != MODEL
    ]
    models = []
    for run in group.runs:
        records = [record for own in run.evaluations if (record := record_of(own)) is not None]
        if len(records) == len(run.evaluations):
            models.append(Row(run.label, run.seeds, cells(records, MODEL), family_of(run.model)))
    return (*others, *arrange(columns, models))


def _metrics(ks: Sequence[int]) -> tuple[str, ...]:
    """Return the metrics to show, of all that were measured."""
    lengths = tuple(dict.fromkeys(ks))
    return (*(f"ndcg@{k}" for k in lengths), *(f"recall@{k}" for k in lengths), "map@500", "auc")


def _header(name: str) -> str:
    metric, _, k = name.partition("@")
    shown = {"ndcg": "nDCG", "map": "mAP", "auc": "AUC"}.get(metric, metric)
    return f"{shown}\n@{k}" if k else shown


def ranking_notes(group: Group, ranking: RankingRecord) -> tuple[str, ...]:
    """Return what is ranked, for whom, and whether playlists have heard of it."""
    protocol = group.first.factors.protocol
    return (
        f"In %: mean over the {ranking.n_playlists:,} playlists that hold any test track, those that find nothing "
        f"included; {ranking.n_left_out:,} others that ask hold none. Each ranks all {ranking.n_candidates:,} test "
        "tracks by dot product with its reference factors; relevant are those it holds.",
        "recall@k: found / held. nDCG@k: gain 1 / log2(place + 1) over that of the best list. mAP@500: mean of "
        "precision at each track found, over min(500, held). AUC: share of pairs in the right order, 50 by chance. "
        "n/a: fewer candidates than k. Intervals: in tables.csv.",
        f"Listening to test tracks under protocol {protocol}: {PROTOCOLS.get(protocol, 'what it saw is not known')}"
        f"{_seen(protocol)}",
        "Reference and second fit have the test tracks' own listening folded in: for them nothing is held out.",
        *n_queries_note(group, "dot"),
    )


def _seen(protocol: str) -> str:
    if protocol == "strict":
        return ", so it is held out from playlist factors."
    return (
        "; if playlist factors have seen it, these numbers are too good."
        if protocol == "given"
        else (", so playlist factors have seen what is to be found: these numbers are too good.")
    )


def beyond_notes(group: Group, beyond: BeyondRecord) -> tuple[str, ...]:
    """Return what the numbers are, and that none of them is good or bad by itself."""
    return (
        f"Of each playlist's {beyond.k} best test tracks: coverage, share (%) of the test tracks that any list "
        "holds; Gini of how often, 0 if all alike; popularity, mean number of playlists that hold a listed track, "
        "over that of all test tracks; artist repetition, share (%) of a list whose artist stands higher in it.",
        f"Of each test track's {beyond.k} nearest: hubness, skewness of how often a track is listed, 0 for none; "
        "never reached, share (%) of the tracks in no list. No such number is good or bad by itself: hold it "
        "beside the reference's.",
        *n_queries_note(group, "dot", "similarity"),
    )


def cohesion_notes(group: Group, beyond: BeyondRecord) -> tuple[str, ...]:
    """Return what the numbers are, and that cohesion is not quality."""
    return (
        f"Of each test track's {beyond.k} nearest: shared genre, share (%) of the list that has a genre of that "
        "track; same artist, share (%) by its artist; genre entropy, bits, 0 if a list is of one genre; diversity, "
        "mean of 1 - cosine over the pairs of a list, by reference factors. n/a: no genres known, or no such list.",
        "A cohesive list is not a better one: listeners often like what is diverse in style. Hold it beside the "
        "reference's.",
        *n_queries_note(group, "similarity"),
    )
