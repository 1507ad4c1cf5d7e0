"""Any number per query, group by group: for whom a model works."""

from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import check_count, check_scores
from cs_keras.evaluation.search.search import Int64Array
from cs_keras.evaluation.statistics.significance import bootstrap_interval
from cs_keras.run_files.evaluation import GroupMean


def measure_group_means(values: npt.ArrayLike, groups: npt.ArrayLike, seed: int = 0) -> list[GroupMean]:
    """Return the mean of each group of queries.

    Parameters
    ----------
    values : array_like, shape (n_queries,), float
        Such as overlaps, or nDCGs of the playlists that have one.
    groups : array_like, shape (n_queries,), int, str or bool
        A label for each.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of GroupMean
        By label, in order.

    Raises
    ------
    DataError
        Values that are not finite, or not one label each.
    """
    numbers, labels = check_scores(values), np.asarray(groups)
    if labels.shape != numbers.shape:
        raise DataError(
            f"groups do not match: expected a label for each of the {len(numbers)} values. "
            f"Received: shape {labels.shape}."
        )
    return [_mean(label, numbers[labels == label], seed) for label in np.unique(labels)]


def assign_popularity_groups(listening: npt.ArrayLike, n_groups: int = 4) -> Int64Array:
    """Return the quantile of popularity each track or playlist is in.

    Parameters
    ----------
    listening : array_like, shape (n_queries,), float
        How often each is listened to. Count training playlists alone, and the groups know nothing of the test.
    n_groups : int

    Returns
    -------
    numpy.ndarray, shape (n_queries,), int64
        From 0, the least popular, to `n_groups` - 1. Equals are never parted, so groups may differ in size and
        some may be empty.

    Raises
    ------
    DataError
        Listening that is not finite numbers of shape (n_queries,).
    ConfigError
        `n_groups` no positive whole number.
    """
    counts = check_scores(listening)
    n_below = np.searchsorted(np.sort(counts), counts, side="left")
    return np.asarray(n_below * check_count("n_groups", n_groups) // len(counts), dtype=np.int64)


def find_known_artists(artists: npt.ArrayLike, train_artists: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return whether the artist of each track made any of the training tracks.

    Parameters
    ----------
    artists : array_like, shape (n_tracks,), str or int
    train_artists : array_like, shape (n_train_tracks,), of the same kind

    Returns
    -------
    numpy.ndarray, shape (n_tracks,), bool
    """
    return np.isin(artists, train_artists)


def _mean(label: Any, values: npt.NDArray[np.float64], seed: int) -> GroupMean:
    low, high = bootstrap_interval(values, seed=seed) if len(values) > 1 else (None, None)
    return GroupMean(label.item(), len(values), float(values.mean()), low, high)
