"""Coverage, Gini, hubness, popularity and artist repetition of lists.

Lists are item rows, best first, such as `TopK.indices`. The k-occurrence N_k of an item is the number of lists that
hold it. Hubs, items of very large N_k, and items of none at all come with nearest neighbours in many dimensions;
the skewness of N_k measures it (Radovanović, Nanopoulos and Ivanović, "Hubs in space", JMLR 11, 2010). None of
these values is good or bad by itself: compare it with that of the reference's lists.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, check_count, check_scores
from cs_keras.evaluation.search.search import Int64Array


@dataclass(frozen=True)
class Exposure:
    """Distribution of lists over the catalogue.

    Attributes
    ----------
    occurrences : numpy.ndarray, shape (n_items,), int64
        N_k: number of lists that hold each item.
    coverage : float
        Share of the items in at least one list.
    gini : float
        Gini coefficient of the occurrences: 0 if all are equal, 1 - 1 / n_items if one item has all.
    hubness : float or None
        Skewness of the occurrences, m_3 / m_2**1.5 over the items: 0 for symmetry, above it for hubs. None if all
        are equal.
    """

    occurrences: Int64Array
    coverage: float
    gini: float
    hubness: float | None

    @property
    def never_reached(self) -> float:
        """Share of the items in no list."""
        return 1 - self.coverage


def measure_exposure(lists: npt.ArrayLike, n_items: int) -> Exposure:
    """Count how often each item of the catalogue is listed, and measure the distribution.

    Parameters
    ----------
    lists : array_like, shape (n_queries, k), int
        Distinct item rows.
    n_items : int
        Size of the catalogue.

    Returns
    -------
    Exposure

    Raises
    ------
    DataError
        Not lists of distinct rows below `n_items`.
    ConfigError
        `n_items` is not a positive whole number.
    """
    rows = check_lists(lists, check_count("n_items", n_items))
    occurrences = np.bincount(rows.reshape(-1), minlength=n_items)
    return Exposure(
        occurrences=occurrences,
        coverage=float(np.mean(occurrences > 0)),
        gini=_gini(occurrences),
        hubness=_skewness(occurrences),
    )


def popularity_ratio(lists: npt.ArrayLike, item_popularity: npt.ArrayLike) -> float | None:
    """Return the mean popularity of listed items divided by that of the catalogue.

    Parameters
    ----------
    lists : array_like, shape (n_queries, k), int
        Distinct item rows.
    item_popularity : array_like, shape (n_items,), float
        For example the number of playlists that hold the item.

    Returns
    -------
    float or None
        1 if lists favour neither popular nor rare items; None if the catalogue's mean is 0.

    Raises
    ------
    DataError
        Popularity is not finite numbers, or lists are not distinct rows of it.
    """
    popularity = check_scores(item_popularity)
    of_catalogue = float(popularity.mean())
    of_lists = float(popularity[check_lists(lists, len(popularity))].mean(axis=1).mean())
    return of_lists / of_catalogue if of_catalogue else None


def artist_repetition(lists: npt.ArrayLike, item_artists: npt.ArrayLike) -> Float64Array:
    """Return the share of each list whose artist already occurs at a higher rank; unknown artists do not count.

    Parameters
    ----------
    lists : array_like, shape (n_queries, k), int
        Distinct item rows.
    item_artists : array_like, shape (n_items,), int
        Artist of each item, -1 if unknown.

    Returns
    -------
    numpy.ndarray, shape (n_queries,), float64
        From 0, all artists different, to 1 - 1 / k, all the same.

    Raises
    ------
    DataError
        Not one whole number per item, or lists are not distinct rows of them.
    """
    artists = np.asarray(item_artists)
    if artists.ndim != 1 or not artists.size or artists.dtype.kind not in "iu":
        raise DataError(
            "artists are not valid: expected a whole number per item, shape (n_items,). "
            f"Received: shape {artists.shape}, dtype {artists.dtype}."
        )
    in_order = np.sort(artists[check_lists(lists, len(artists))], axis=1)
    repeats = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0)
    return np.asarray(np.count_nonzero(repeats, axis=1) / in_order.shape[1])


def _gini(occurrences: Int64Array) -> float:
    """Return half the mean difference of two items, drawn with replacement, over the mean."""
    n_items = len(occurrences)
    weights = 2 * np.arange(n_items) - n_items + 1
    return float(weights @ np.sort(occurrences) / (n_items * occurrences.sum()))


def _skewness(occurrences: Int64Array) -> float | None:
    deviations = occurrences - occurrences.mean()
    if occurrences.min() == occurrences.max():
        return None
    return float(np.mean(deviations**3) / np.mean(deviations**2) ** 1.5)


def check_lists(lists: npt.ArrayLike, n_items: int) -> npt.NDArray[np.integer[Any]]:
    """Return lists as an array; raise `DataError` unless they are distinct rows of `n_items` items."""
    rows = np.asarray(lists)
    if (
        rows.ndim != 2
        or not rows.size
        or rows.dtype.kind not in "iu"
        or rows.min() < 0
        or rows.max() >= n_items
    ):
        raise DataError(
            f"lists are not valid: expected item rows, whole numbers from 0 to {n_items - 1}, of shape "
            f"(n_queries, k). Received: shape {rows.shape}, dtype {rows.dtype}."
        )
    in_order = np.sort(rows, axis=1)
    repeated = np.flatnonzero((in_order[:, 1:] == in_order[:, :-1]).any(axis=1))
    if len(repeated):
        raise DataError(
            "lists repeat items: expected distinct ones in each. "
            f"Received: {len(repeated)} such lists, the first is row {repeated[0]}."
        )
    return rows
