"""True and predicted factors: errors by track and factor, and the tables that show the largest of them."""

from collections import Counter
from collections.abc import Mapping
from typing import cast

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.losses import measure_cosine_distances
from cs_keras.evaluation.search.topk import Metric, top_k_similar
from cs_keras.run_files.predictions import Predictions
from reports.html.spaces import Space, brief, describe_tracks, text_column
from reports.tables.cells.table import Cell, Column, Row, Table

Matrix = npt.NDArray[np.float32]

UNSCALABLE = "unit_norm"  # scaling to unit norm removes lengths, so that R² is not defined
N_TRACKS = 20  # tracks in the table of failures
N_FACTORS = 20  # factors in the table of factors
N_NAMED = 3  # tracks named at each end of a factor
N_COUNTED = 20  # tracks at each end of a factor whose genres are counted
N_GENRES = 3
FAILURE_COLUMNS = (
    Column("artist", "artist", align="left"),
    Column("genre", "genre", align="left"),
    Column("neighbours\nfound", "n_found"),
    Column("by all models\n(mean)", "n_found_by_all"),
    Column("cosine\ndistance", "cosine_distance"),
)
FACTOR_COLUMNS = (
    Column("R²\n(test)", "r2"),
    Column("lowest", "lowest", align="left"),
    Column("highest", "highest", align="left"),
)


def factor_r2(true: Matrix, predicted: Matrix) -> npt.NDArray[np.float64]:
    """Return R² of each factor, 1 - squared error / variance, shape (n_factors,); NaN for constant factors."""
    reference = true.astype(np.float64)
    error = ((reference - predicted) ** 2).mean(axis=0)
    variance = reference.var(axis=0)
    return np.asarray(1 - np.divide(error, variance, out=np.full_like(error, np.nan), where=variance > 0))


def evaluated_rows(predictions: Predictions, space: Space) -> npt.NDArray[np.bool_]:
    """Return which predictions are of test tracks with factors, shape (n_predicted,)."""
    mask: npt.NDArray[np.bool_] = space.tracks.in_split("test") & space.factors.has_factors
    return mask[space.rows(predictions.track_ids)]


def evaluated_factors(predictions: Predictions, space: Space) -> tuple[Matrix, Matrix]:
    """Return true and predicted factors of the test tracks with factors, each float32 (n_tracks, n_factors)."""
    evaluated = evaluated_rows(predictions, space)
    rows = space.rows(predictions.track_ids)[evaluated]
    return space.factors.item_factors[rows], predictions.factors[evaluated]


def failures_table(models: Mapping[str, Predictions], space: Space, k: int, metric: str) -> Table | None:
    """Return the test tracks for which the first, the best, of `models` finds the fewest of its `k` neighbours.

    Models with predictions for other tracks are left out; None if fewer than k + 1 test tracks have factors.
    """
    name, first = next(iter(models.items()))
    models = {name: own for name, own in models.items() if np.array_equal(own.track_ids, first.track_ids)}
    true, predicted = evaluated_factors(first, space)
    if len(true) <= k:
        return None
    by_model = np.array([_count_found(own, space, k, metric) for own in models.values()])
    best, mean, distances = by_model[0], by_model.mean(axis=0), measure_cosine_distances(true, predicted)
    worst = np.lexsort((np.arange(len(best)), -distances, best))[:N_TRACKS]
    rows = space.rows(first.track_ids)[evaluated_rows(first, space)][worst]
    texts = (text_column(space, rows, column) for column in ("title", "artist", "genres"))
    table_rows = []
    ids = space.tracks.ids[rows].tolist()
    for track, track_id, title, artist, genre in zip(worst.tolist(), ids, *texts, strict=True):
        cells = (
            Cell(artist, None),
            Cell(genre, None),
            Cell(f"{best[track]} of {k}", int(best[track])),
            Cell(f"{mean[track]:.1f}", float(mean[track])),
            Cell(f"{distances[track]:.3f}", float(distances[track])),
        )
        table_rows.append(Row(title, (), cells, track=(track_id, 0.0)))
    notes = (
        f"The {min(N_TRACKS, len(best))} of {len(best):,} test tracks for which {name} finds the fewest of the {k} "
        "nearest test tracks; ties: by decreasing cosine distance. One seed of each model.",
        f"By all models: the mean of {len(models)}. Tracks that all models miss are hard to predict from audio, or "
        "have unusual interactions.",
    )
    return Table("Where the best model fails most", FAILURE_COLUMNS, tuple(table_rows), notes, stub="track")


def _count_found(predictions: Predictions, space: Space, k: int, metric: str) -> npt.NDArray[np.int64]:
    """Return how many of each track's k nearest by true factors are among those by predicted factors."""
    true, predicted = (
        top_k_similar(factors, k, metric=cast(Metric, metric)).indices
        for factors in evaluated_factors(predictions, space)
    )
    return np.asarray((true[:, :, np.newaxis] == predicted[:, np.newaxis, :]).any(axis=2).sum(axis=1))


def factors_table(model: str, predictions: Predictions, space: Space) -> Table:
    """Return the factors that a model predicts best, with the tracks and genres at their two ends.

    Factors without R² (unit-norm scaling, or fewer than two test tracks with factors): by decreasing variance.
    """
    true, predicted = evaluated_factors(predictions, space)
    known = np.flatnonzero(space.factors.has_factors)
    factors = space.factors.item_factors[known]
    has_r2 = space.factors.scaler.kind != UNSCALABLE and len(true) > 1
    r2 = factor_r2(true, predicted) if has_r2 else np.full(factors.shape[1], np.nan)
    order = np.lexsort((-factors.var(axis=0), -np.where(np.isnan(r2), -np.inf, r2)))[:N_FACTORS]
    rows = []
    for factor in order.tolist():
        ascending = known[np.argsort(factors[:, factor], kind="stable")]
        value = float(r2[factor])
        cell = None if np.isnan(value) else Cell(f"{value:.3f}", value)
        ends = (_end_cell(space, ascending), _end_cell(space, ascending[::-1]))
        rows.append(Row(f"factor {factor + 1}", (), (cell, *ends)))
    n_tracks, n_factors = factors.shape
    which = f"that {model} predicts best, by R² on test tracks" if has_r2 else "with the largest variance"
    others = f"; {n_factors - N_FACTORS:,} others are not shown" if n_factors > N_FACTORS else ""
    notes = (
        f"The {len(rows)} factors of the reference space {which}{others}. Lowest and highest, by true factors "
        f"of all {n_tracks:,} tracks with factors: the most frequent genres among the {min(N_COUNTED, n_tracks)} "
        f"tracks at each end, and the {min(N_NAMED, n_tracks)} outermost tracks.",
        "Sign and rotation of factors are arbitrary: another fit of the same interactions rotates the space. "
        "Popular tracks have larger norms.",
    )
    return Table(
        "Genres and tracks at the ends of each factor", FACTOR_COLUMNS, tuple(rows), notes, stub="factor"
    )


def _end_cell(space: Space, ordered: npt.NDArray[np.int64]) -> Cell:
    """Return the most frequent genres among the first tracks of an order, and the names of a few."""
    genres = Counter(text_column(space, ordered[:N_COUNTED], "genres"))
    counts = ", ".join(f"{brief(genre)} {n}" for genre, n in genres.most_common(N_GENRES))
    named = ordered[:N_NAMED]
    tracks = (None, *((track_id, 0.0) for track_id in space.tracks.ids[named].tolist()))
    return Cell(counts, None, detail="\n".join(describe_tracks(space, named)), tracks=tracks)
