"""What each factor means: the tracks at its two ends by true factors, and their genres."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from reports.html.factors import evaluated_factors, factor_r2
from reports.html.pictures import UNSCALABLE
from reports.html.runs import Predictions
from reports.html.spaces import Space, brief, describe_tracks, text_column
from reports.tables.table import Cell, Column, Row, Table

TITLE = "What each factor means"
N_SHOWN = 20  # factors
N_TRACKS = 3  # named at either end
N_COUNTED = 20  # tracks at either end whose genres are counted
N_GENRES = 3

COLUMNS = (
    Column("R²\n(test)", "r2"),
    Column("lowest", "lowest", align="left"),
    Column("highest", "highest", align="left"),
)


def meanings_table(model: str, predictions: Predictions, space: Space) -> Table:
    """Return the factors that a model predicts best, with the tracks at their two ends.

    Where R² has no meaning, because scaling took the lengths away or hardly any test track has factors, the factors
    are those that vary most.

    Parameters
    ----------
    model
        Label of the run.
    predictions
        Of its first seed, in the space's own factors.
    space
        What the dataset knows of the tracks.
    """
    true, predicted = evaluated_factors(predictions, space)
    known = np.flatnonzero(space.factors.has_factors)
    factors = space.factors.item_factors[known]
    is_told = space.factors.scaler.kind != UNSCALABLE and len(true) > 1
    r2 = factor_r2(true, predicted) if is_told else np.full(factors.shape[1], np.nan)
    rank = np.where(np.isnan(r2), -np.inf, r2)
    order = np.lexsort((-factors.var(axis=0), -rank))[:N_SHOWN]
    rows = []
    for factor in order.tolist():
        ascending = known[np.argsort(factors[:, factor], kind="stable")]
        value = float(r2[factor])
        cell = None if np.isnan(value) else Cell(f"{value:.3f}", value)
        ends = (_end(space, ascending), _end(space, ascending[::-1]))
        rows.append(Row(f"factor {factor + 1}", (), (cell, *ends)))
    return Table(TITLE, COLUMNS, tuple(rows), _notes(model, is_told, factors), stub="factor")


def _end(space: Space, ordered: npt.NDArray[np.int64]) -> Cell:
    """Return the genres among the first of some tracks, the most frequent first, and the names of a few."""
    genres = Counter(text_column(space, ordered[:N_COUNTED], "genres"))
    counts = ", ".join(f"{brief(genre)} {n}" for genre, n in genres.most_common(N_GENRES))
    return Cell(counts, None, detail="\n".join(describe_tracks(space, ordered[:N_TRACKS])))


def _notes(model: str, is_told: bool, factors: npt.NDArray[np.float32]) -> tuple[str, ...]:
    n_tracks, n_factors = factors.shape
    shown, others = min(n_factors, N_SHOWN), max(0, n_factors - N_SHOWN)
    which = f"that {model} predicts best, by R² on test tracks" if is_told else "that vary most"
    left = f"; {others:,} others are not shown" if others else ""
    counted = min(N_COUNTED, n_tracks)
    return (
        f"The {shown} factors of the reference space {which}{left}. The ends are those of the true factors of all "
        f"{n_tracks:,} tracks that have any: the most frequent genres among the {counted} tracks at each end, and "
        f"the {min(N_TRACKS, n_tracks)} that lie farthest out.",
        "A factor's sign is arbitrary, and so is its direction: another fit of the same listening turns the space. "
        "Popular tracks lie farther out in all directions.",
    )
