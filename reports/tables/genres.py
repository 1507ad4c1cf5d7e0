"""The tables of genres told: how many are right, what is taken for what, and what a track is made of."""

from collections.abc import Iterator, Sequence

import numpy as np

from cs_keras.evaluation.labels.genre_accuracy import Composition, GenreAccuracy, GenreFindings
from reports.tables.numbers import format_share
from reports.tables.table import Cell, Column, Row, Section, Table

CLASSIFIER, MAJORITY, SINGLE = "classifier", "commonest genre", "best single genre"
BAR_WIDTH = 40  # characters of a genre that is all there is
SHOWN_UNMATCHED = 10


def make_genres_section(findings: GenreFindings) -> Section:
    """Return all tables."""
    accuracy = findings.accuracy
    tables = [_accuracy_table(accuracy), _confusion_table(accuracy)]
    if findings.compositions:
        tables.append(_composition_table(accuracy, findings.compositions))
    return Section("Genres told by sound", tuple(_notes(findings)), tuple(tables))


def composition_bars(accuracy: GenreAccuracy, composition: Composition) -> list[str]:
    """Return a track's composition as lines of text, the largest share first."""
    order = np.argsort(-composition.probabilities, kind="stable").tolist()
    width = max(map(len, accuracy.genres))
    own = ", ".join(composition.labels) or "none known"
    lines = [f"{composition.track_id} (its genres: {own})"]
    for column in order:
        share = float(composition.probabilities[column])
        bar = "█" * round(BAR_WIDTH * share)
        lines.append(f"  {accuracy.genres[column]:<{width}}  {format_share(share):>5} %  {bar}".rstrip())
    return lines


def _accuracy_table(accuracy: GenreAccuracy) -> Table:
    detail = f"[{format_share(accuracy.low)}, {format_share(accuracy.high)}]"
    own = Cell(
        format_share(accuracy.accuracy),
        accuracy.accuracy,
        detail=detail,
        low=accuracy.low,
        high=accuracy.high,
    )
    singles = [
        (f"{MAJORITY}: {accuracy.majority}", accuracy.majority_accuracy),
        (f"{SINGLE}: {accuracy.best_single}", accuracy.best_single_accuracy),
    ]
    others = (Row(name, (), (Cell(format_share(share), share),)) for name, share in singles)
    rows = (*others, Row(CLASSIFIER, (), (own,), rule_above=True))
    notes = (
        "Share (%) of tracks whose most probable genre is one of their own, with its 95 % bootstrap interval over "
        "tracks; tracks of one artist are alike and drawn one by one all the same, so it is somewhat narrow. The "
        "commonest genre is that of the train tracks; the best single one, an oracle, that of the tracks judged.",
    )
    return Table("Accuracy", (Column("accuracy", "accuracy"),), rows, notes, stub="told by")


def _confusion_table(accuracy: GenreAccuracy) -> Table:
    columns = (
        Column("tracks", "tracks"),
        Column("recall", "recall"),
        *(Column(name.replace(" ", "\n"), f"told_{name}") for name in accuracy.genres),
    )
    rows = []
    for place, name in enumerate(accuracy.genres):
        counts = accuracy.confusion[place]
        n, n_right = int(counts.sum()), int(counts[place])
        recall = Cell(format_share(n_right / n), n_right / n) if n else None
        told = (Cell(f"{count:,}", count, strong=i == place) for i, count in enumerate(counts.tolist()))
        rows.append(Row(name, (), (Cell(f"{n:,}", n), recall, *told)))
    notes = (
        "Tracks of a genre (rows) by the genre they were told to be of (columns). A track of several genres stands "
        "in the row of the one that was told, if it is one of them, else of its first. Recall: share (%) of a row "
        "that is right; n/a: no such track.",
    )
    return Table("What is taken for what", columns, tuple(rows), notes, stub="genre")


def _composition_table(accuracy: GenreAccuracy, compositions: Sequence[Composition]) -> Table:
    columns = tuple(Column(name.replace(" ", "\n"), f"share_{name}") for name in accuracy.genres)
    rows = []
    for one in compositions:
        best = int(one.probabilities.argmax())
        shares = one.probabilities.tolist()
        cells = tuple(Cell(format_share(x), x, strong=i == best) for i, x in enumerate(shares))
        rows.append(Row(one.track_id, (), cells))
    notes = ("Probability (%) of each genre: the mean over the sequences of a track.",)
    return Table("What tracks are made of", columns, tuple(rows), notes, stub="track")


def _notes(findings: GenreFindings) -> Iterator[str]:
    accuracy = findings.accuracy
    yield (
        f"{accuracy.n_tracks:,} of {findings.subset} are judged; the classifier learnt {len(accuracy.genres)} "
        f"genres from {findings.n_train_tracks:,} train tracks."
    )
    if accuracy.n_without:
        yield f"Not judged: {accuracy.n_without:,} without a genre."
    if accuracy.unmatched:
        shown = list(accuracy.unmatched.items())
        named = ", ".join(f"{name} ({n:,})" for name, n in shown[:SHOWN_UNMATCHED])
        more = len(shown) - SHOWN_UNMATCHED
        yield (
            f"Not judged: {accuracy.n_unmatched:,} with no genre that the classifier knows. Genres that it does "
            f"not know, and tracks that have them: {named}{f' and {more:,} more genres' if more > 0 else ''}."
        )
