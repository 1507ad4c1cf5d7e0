"""The tables of genre classification: accuracy, confusion matrix, and genre probabilities of tracks."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from cs_keras.evaluation.labels.genre_accuracy import Composition, GenreAccuracy, GenreFindings
from cs_keras.messages import count
from reports.tables.cells.numbers import format_share, interval_cell
from reports.tables.cells.table import Cell, Column, Row, Section, Table

CLASSIFIER, MAJORITY, SINGLE = "classifier", "most frequent genre", "best single genre"
BAR_WIDTH = 40  # characters of a probability of 1
N_UNMATCHED = 10  # genres listed in a note


def make_genres_section(findings: GenreFindings) -> Section:
    """Return all tables."""
    accuracy = findings.accuracy
    tables = [_accuracy_table(accuracy), _confusion_table(accuracy)]
    if findings.compositions:
        tables.append(_composition_table(accuracy, findings.compositions))
    if findings.nearest:
        tables.append(_nearest_table(findings))
    conclusion = (
        f"The classifier finds a genre of {accuracy.accuracy:.1%} of {accuracy.n_tracks:,} tracks; the most "
        f"frequent genre, {accuracy.majority}, is right for {accuracy.majority_accuracy:.1%}."
    )
    heading = "Genre classification from audio"
    return Section(heading, tuple(_notes(findings)), tuple(tables), (conclusion,))


def composition_bars(accuracy: GenreAccuracy, composition: Composition) -> list[str]:
    """Return a track's genre probabilities as lines of text, the largest first."""
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
    singles = {
        f"{MAJORITY}: {accuracy.majority}": accuracy.majority_accuracy,
        f"{SINGLE}: {accuracy.best_single}": accuracy.best_single_accuracy,
    }
    others = (Row(name, (), (Cell(format_share(share), share),)) for name, share in singles.items())
    own = interval_cell(accuracy.accuracy, accuracy.low, accuracy.high)
    rows = (*others, Row(CLASSIFIER, (), (own,), rule_above=True))
    notes = (
        "Share (%) of tracks whose most probable genre is one of their own, with its 95 % bootstrap interval over "
        "tracks, which is somewhat too narrow because tracks of one artist are similar. Most frequent genre: among "
        "train tracks. Best single genre: an oracle, chosen on the evaluated tracks.",
    )
    return Table("Accuracy", (Column("accuracy", "accuracy"),), rows, notes, stub="predicted by")


def _confusion_table(accuracy: GenreAccuracy) -> Table:
    columns = (
        Column("tracks", "tracks"),
        Column("recall", "recall"),
        *(Column(name.replace(" ", "\n"), f"predicted_{name}") for name in accuracy.genres),
    )
    rows = []
    for genre, name in enumerate(accuracy.genres):
        counts = accuracy.confusion[genre]
        n, n_right = int(counts.sum()), int(counts[genre])
        recall = Cell(format_share(n_right / n), n_right / n) if n else None
        predicted = (Cell(f"{count:,}", count, strong=i == genre) for i, count in enumerate(counts.tolist()))
        rows.append(Row(name, (), (Cell(f"{n:,}", n), recall, *predicted)))
    notes = (
        "Tracks by genre (rows) and predicted genre (columns). A track of several genres is in the row of the "
        "predicted one, if it is among them, else of its first. Recall: share (%) of a row that is correct; n/a: "
        "no such track.",
    )
    return Table("Confusion matrix", columns, tuple(rows), notes, stub="genre")


def _composition_table(accuracy: GenreAccuracy, compositions: Sequence[Composition]) -> Table:
    columns = tuple(Column(name.replace(" ", "\n"), f"share_{name}") for name in accuracy.genres)
    rows = []
    for one in compositions:
        best, shares = int(one.probabilities.argmax()), one.probabilities.tolist()
        cells = tuple(Cell(format_share(x), x, strong=i == best) for i, x in enumerate(shares))
        rows.append(Row(one.track_id, (), cells))
    notes = ("Probability (%) of each genre: the mean over the sequences of a track.",)
    return Table("Genre probabilities", columns, tuple(rows), notes, stub="track")


def _nearest_table(findings: GenreFindings) -> Table:
    table = _composition_table(findings.accuracy, findings.nearest)
    rows = tuple(
        dataclasses.replace(row, cells=(Cell(f"{distance:.3f}", distance), *row.cells))
        for row, distance in zip(table.rows, findings.distances, strict=True)
    )
    notes = (
        *table.notes,
        "Distance: Euclidean, from the composition; 0 is equal, 1.41 the largest possible.",
    )
    return Table(
        f"Tracks nearest to {findings.mix}",
        (Column("distance", "distance"), *table.columns),
        rows,
        notes,
        "track",
    )


def _notes(findings: GenreFindings) -> Iterator[str]:
    accuracy = findings.accuracy
    yield (
        f"{accuracy.n_tracks:,} of {findings.subset} are evaluated; the classifier has "
        f"{count(len(accuracy.genres), 'genre')} and was trained on {count(findings.n_train_tracks, 'track')}."
    )
    if accuracy.n_without:
        yield f"Not evaluated: {count(accuracy.n_without, 'track')} without a genre."
    if accuracy.unmatched:
        shown = list(accuracy.unmatched.items())
        named = ", ".join(f"{name} ({n:,})" for name, n in shown[:N_UNMATCHED])
        more = f" and {len(shown) - N_UNMATCHED:,} more genres" if len(shown) > N_UNMATCHED else ""
        yield (
            f"Not evaluated: {count(accuracy.n_unmatched, 'track')} without a genre of the classifier. Their "
            f"genres, with numbers of tracks: {named}{more}."
        )
