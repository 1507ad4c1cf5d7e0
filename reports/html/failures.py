"""The test tracks that models fail on: whose neighbours they miss, the worst first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.search.topk import Metric, top_k_similar
from reports.html.factors import cosine_distances, evaluated_factors
from reports.html.runs import Predictions
from reports.html.spaces import Space, text_column
from reports.tables.table import Cell, Column, Row, Table

N_SHOWN = 20  # tracks
TITLE = "Where the best model fails most"

COLUMNS = (
    Column("artist", "artist", align="left"),
    Column("genre", "genre", align="left"),
    Column("neighbours\nfound", "n_found"),
    Column("by all models\n(mean)", "n_found_by_all"),
    Column("cosine\ndistance", "cosine_distance"),
)


@dataclass(frozen=True, eq=False)
class _Judged:
    """Test tracks: their rows in the dataset, neighbours found by each model, and the best model's error."""

    rows: npt.NDArray[np.int64]
    n_found: npt.NDArray[np.int64]  # (n_models, n_tracks)
    distances: npt.NDArray[np.float64]


def failures_table(models: Mapping[str, Predictions], space: Space, k: int, metric: str) -> Table | None:
    """Return the test tracks of which the best model finds the fewest neighbours.

    Parameters
    ----------
    models
        Predictions, those of the best model first; at least one. Those for other tracks than its are left out.
    space
        What the dataset knows of the tracks.
    k, metric
        Length of lists, and by what tracks are near.

    Returns
    -------
    Table or None
        None if fewer than k + 1 test tracks have factors.
    """
    first = next(iter(models.values())).track_ids
    models = {name: own for name, own in models.items() if np.array_equal(own.track_ids, first)}
    judged = _judge(models, space, k, metric)
    if judged is None:
        return None
    best, mean = judged.n_found[0], judged.n_found.mean(axis=0)
    worst = np.lexsort((np.arange(len(best)), -judged.distances, best))[:N_SHOWN]
    texts = {
        column: text_column(space, judged.rows[worst], column) for column in ("title", "artist", "genres")
    }
    rows = []
    for place, track in enumerate(worst.tolist()):
        found = (
            Cell(f"{best[track]} of {k}", int(best[track])),
            Cell(f"{mean[track]:.1f}", float(mean[track])),
            Cell(f"{judged.distances[track]:.3f}", float(judged.distances[track])),
        )
        names = (Cell(texts[column][place], None) for column in ("artist", "genres"))
        rows.append(Row(texts["title"][place], (), (*names, *found)))
    return Table(TITLE, COLUMNS, tuple(rows), _notes(models, k, len(best)), stub="track")


def _judge(models: Mapping[str, Predictions], space: Space, k: int, metric: str) -> _Judged | None:
    first, own = next(iter(models.values())), cast(Metric, metric)
    true, predicted = evaluated_factors(first, space)
    if len(true) <= k:
        return None
    reference = top_k_similar(true, k, metric=own).indices
    n_found = []
    for predictions in models.values():
        lists = top_k_similar(evaluated_factors(predictions, space)[1], k, metric=own).indices
        n_found.append((reference[:, :, np.newaxis] == lists[:, np.newaxis, :]).any(axis=2).sum(axis=1))
    rows = space.rows(first.track_ids)
    is_judged = (space.tracks.in_split("test") & space.factors.has_factors)[rows]
    return _Judged(rows[is_judged], np.array(n_found), cosine_distances(true, predicted))


def _notes(models: Mapping[str, Predictions], k: int, n_tracks: int) -> tuple[str, ...]:
    return (
        f"The {min(N_SHOWN, n_tracks)} of {n_tracks:,} test tracks of which {next(iter(models))} finds the fewest "
        f"of their {k} nearest test tracks; of equals those whose factors it misses most. One seed of each model.",
        f"By all models: the mean of {len(models)}. What all miss is hard to hear, or its listening is odd.",
    )
