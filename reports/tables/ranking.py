"""The tables of ranking metrics on held-out interactions, and of coverage, popularity, hubness and cohesion."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from cs_keras.messages import count
from cs_keras.run_files.evaluation import LIKED_ABOVE_DISLIKED, MODEL, MeanRecord, RankingRecord
from reports.runs.collect import Group
from reports.tables import published
from reports.tables.cells.comparison import PairedComparisons, emphasise
from reports.tables.cells.notes import PROTOCOLS, UNKNOWN_PROTOCOL, sample_note
from reports.tables.cells.numbers import bare_cell, format_share, share_cell
from reports.tables.cells.rows import predictor_rows
from reports.tables.cells.table import Cell, Column, Table

Cells = tuple[Cell | None, ...]
Shown = Mapping[str, tuple[str, Callable[[float], str]]]  # header and format of each metric

METRICS = {"ndcg": "nDCG", "map": "mAP", "auc": "AUC", LIKED_ABOVE_DISLIKED: "AUC of\ndislikes"}
BEYOND: Shown = {
    "coverage": ("coverage", format_share),
    "gini": ("Gini", "{:.2f}".format),
    "popularity": ("popu-\nlarity", "{:.2f}".format),
    "artist_repetition": ("artist\nrepeti-\ntion", format_share),
    "hubness": ("hubness", "{:z.2f}".format),
    "never_reached": ("never\nreached", format_share),
}
COHESION: Shown = {
    "shared_genre": ("shared\ngenre", format_share),
    "same_artist": ("same\nartist", format_share),
    "genre_entropy": ("genre\nentropy", "{:.2f}".format),
    "diversity": ("diver-\nsity", "{:z.2f}".format),
}
SEEN = {  # by protocol, what playlist factors know of the interactions to be ranked
    "strict": ", so these are held out from playlist factors.",
    "given": "; if playlist factors are fitted on these, the metrics are too good.",
    "": ", so playlist factors are fitted on these too: the metrics are too good.",
}


def ranking_table(group: Group, comparisons: PairedComparisons) -> Table | None:
    """Return how well the test tracks of a playlist are ranked; None without interactions."""
    first = group.first.ranking
    if first is None:
        return None
    lengths = tuple(dict.fromkeys(group.evaluation_config.ks))
    metrics = (
        *(f"ndcg@{k}" for k in lengths),
        *(f"recall@{k}" for k in lengths),
        "map@500",
        "auc",
        LIKED_ABOVE_DISLIKED,
    )
    names = [name for name in metrics if name in first.predictors[MODEL]]
    columns = tuple(Column(_header(name), name) for name in names)

    def cells(seeds: Sequence[Mapping[str, MeanRecord | None]]) -> Cells:
        return tuple(share_cell([own.get(name) for own in seeds]) for name in names)

    rows = predictor_rows(
        group,
        columns,
        first.predictors,
        lambda one: one.ranking.predictors[MODEL] if one.ranking else None,
        cells,
    )
    rows = tuple(emphasise(row, names, comparisons) if row.family else row for row in rows)
    title = "Ranking metrics on held-out interactions"
    table = Table(title, columns, rows, tuple(_ranking_notes(group, first)))
    runs = {run.label: run for run in group.runs}
    theirs = [published.ranking_cells(row.name, runs.get(row.name)) for row in rows]
    return published.add_columns(table, published.RANKING_COLUMNS, theirs, published.RANKING_NOTE)


def beyond_table(group: Group) -> Table | None:
    """Return coverage, popularity and hubness of lists; None for runs of earlier releases."""
    record = group.first.beyond_accuracy
    if record is None:
        return None
    notes = (
        f"Of each playlist's {record.k} best test tracks: coverage, share (%) of the test tracks in any list; Gini "
        "coefficient of how often tracks are listed, 0 if equally often; popularity, mean number of playlists "
        "with a listed track, relative to all test tracks; artist repetition, share (%) of a list whose artist "
        "has a higher rank in it too.",
        f"Of each test track's {record.k} nearest: hubness, skewness of how often a track is listed, 0 without "
        "hubs; never reached, share (%) of the tracks in no list. None is good or bad by itself: compare with the "
        "reference.",
        *sample_note(group, "dot", "similarity"),
    )
    return _table_of(group, "Beyond accuracy", BEYOND, notes)


def cohesion_table(group: Group) -> Table | None:
    """Return how similar the tracks of a list are; None for runs of earlier releases."""
    record = group.first.beyond_accuracy
    if record is None:
        return None
    notes = (
        f"Of each test track's {record.k} nearest: shared genre, share (%) of the list with a genre of that track; "
        "same artist, share (%) by its artist; genre entropy in bits, 0 if a list has one genre; diversity, "
        "mean of 1 - cosine over the pairs of a list, by reference factors.",
        "A more cohesive list is not a better one: listeners often like diverse styles. Compare with the "
        "reference.",
        *sample_note(group, "similarity"),
    )
    return _table_of(group, "Cohesion and diversity", COHESION, notes)


def _table_of(group: Group, title: str, shown: Shown, notes: tuple[str, ...]) -> Table | None:
    """Return the metrics in `shown` that any predictor of the first run has; None if none has one."""
    first = group.first.beyond_accuracy
    names = [name for name in shown if first and any(name in own for own in first.predictors.values())]
    if first is None or not names:
        return None
    columns = tuple(Column(shown[name][0], name) for name in names)

    def cells(seeds: Sequence[Mapping[str, float | None]]) -> Cells:
        return tuple(bare_cell([own.get(name) for own in seeds], shown[name][1]) for name in names)

    rows = predictor_rows(
        group,
        columns,
        first.predictors,
        lambda one: one.beyond_accuracy.predictors[MODEL] if one.beyond_accuracy else None,
        cells,
    )
    return Table(f"{title}, k = {first.k}", columns, rows, notes)


def _header(name: str) -> str:
    metric, _, k = name.partition("@")
    shown = METRICS.get(metric, metric)
    return f"{shown}\n@{k}" if k else shown


def _ranking_notes(group: Group, ranking: RankingRecord) -> Iterator[str]:
    protocol, n_rotations = group.first.factors.protocol, group.first.n_rotations
    tracks = f"{count(ranking.n_candidates, 'test track')}"
    if n_rotations:
        tracks = f"test tracks of a rotation, at most {ranking.n_candidates:,},"
    yield (
        f"In %: mean over the {count(ranking.n_playlists, 'playlist')} with any test track; {ranking.n_left_out:,} "
        f"other query playlists have none. Each ranks all {tracks} by dot product with its "
        "reference factors; its own tracks are relevant."
    )
    yield (
        "recall@k: found / relevant. nDCG@k: gain 1 / log2(rank + 1), relative to the best list. mAP@500: mean "
        "of the precision at each relevant track, over min(500, relevant). AUC: share of pairs in the right "
        "order, 50 by chance. Intervals, of nDCG and recall: in tables.csv."
    )
    if LIKED_ABOVE_DISLIKED in ranking.predictors[MODEL]:
        yield (
            "AUC of dislikes: share of pairs of a relevant track and one that the same listener dislikes in the "
            "right order, mean over listeners with both."
        )
    yield (
        f"Interactions with test tracks, protocol {protocol}: factors are "
        f"{PROTOCOLS.get(protocol, UNKNOWN_PROTOCOL)}{SEEN.get(protocol, SEEN[''])}"
    )
    yield "Reference and refit ceiling include the test tracks' own interactions by fold-in: nothing is held out."
    yield from sample_note(group, "dot")
