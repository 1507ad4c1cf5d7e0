"""Metrics by group of tracks or playlists, such as popularity quantiles or known artists."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, check_count, check_scores
from cs_keras.evaluation.search.search import Int64Array
from cs_keras.evaluation.search.topk import TopK
from cs_keras.evaluation.statistics.resampling import bootstrap_interval
from cs_keras.run_files.evaluation import GroupMean


def measure_group_means(values: npt.ArrayLike, groups: npt.ArrayLike, seed: int = 0) -> list[GroupMean]:
    """Return the mean of each group of queries.

    Parameters
    ----------
    values : array_like, shape (n_queries,), float
        For example overlaps, or nDCGs of the playlists that have one.
    groups : array_like, shape (n_queries,), int, str or bool
        A label for each.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    list of GroupMean
        Sorted by label.

    Raises
    ------
    DataError
        Values are not finite, or not one label each.
    """
    numbers, labels = check_scores(values), np.asarray(groups)
    if labels.shape != numbers.shape:
        raise DataError(
            f"groups do not match: expected a label for each of the {len(numbers)} values. "
            f"Received: shape {labels.shape}."
        )
    return [_mean(label, numbers[labels == label], seed) for label in np.unique(labels)]


def assign_popularity_groups(popularity: npt.ArrayLike, n_groups: int = 4) -> Int64Array:
    """Return the popularity quantile of each track or playlist.

    Parameters
    ----------
    popularity : array_like, shape (n_queries,), float
        Interactions of each; count training playlists alone to keep the groups independent of the test.
    n_groups : int

    Returns
    -------
    numpy.ndarray, shape (n_queries,), int64
        From 0, the least popular, to `n_groups` - 1. Ties stay in one group, so groups may differ in size and some
        may be empty.

    Raises
    ------
    DataError
        Popularity is not finite numbers of shape (n_queries,).
    ConfigError
        `n_groups` is not a positive whole number.
    """
    counts = check_scores(popularity)
    n_below = np.searchsorted(np.sort(counts), counts, side="left")
    return np.asarray(n_below * check_count("n_groups", n_groups) // len(counts), dtype=np.int64)


def measure_group_ndcg(
    lists: TopK, held_out: scipy.sparse.csr_matrix, groups: npt.ArrayLike
) -> dict[object, Float64Array]:
    """Return the nDCG of playlists' lists for each group of tracks, with only its held-out tracks as relevant.

    All tracks stay candidates: tracks of other groups take up ranks but gain nothing.

    Parameters
    ----------
    lists : TopK
        Lists of playlists by dot product; k is their length.
    held_out : csr_matrix, shape (n_queries, n_items)
        Above 0 where the playlist of that list should retrieve the track.
    groups : array_like, shape (n_items,), int, str or bool
        A label for each track.

    Returns
    -------
    dict of label to numpy.ndarray, shape (n_queries,), float64
        As `ranking.ndcg_at_k` of that group's columns: from 0 to 1, NaN where nothing of the group is held out.
        Labels are sorted.

    Raises
    ------
    DataError
        Interactions or labels do not match the lists.
    """
    labels = np.asarray(groups)
    expected = (len(lists.queries), lists.n_items)
    if held_out.shape != expected or labels.shape != expected[1:]:
        raise DataError(
            f"interactions and groups do not match the lists: expected shapes {expected} and {expected[1:]}. "
            f"Received: {held_out.shape} and {labels.shape}."
        )
    relevant = scipy.sparse.csr_matrix(held_out > 0, dtype=np.float64)
    rows = np.repeat(np.arange(len(lists.queries)), lists.k)
    is_hit = np.asarray(relevant[rows, lists.indices.reshape(-1)], dtype=np.float64).reshape(
        lists.indices.shape
    )
    gains = 1 / np.log2(np.arange(2, lists.k + 2))
    ideal = np.concatenate(([np.nan], np.cumsum(gains)))
    ndcg = {}
    for label in np.unique(labels):
        gained = np.where(labels[lists.indices] == label, is_hit * gains, 0).sum(axis=1)
        n_relevant = np.asarray(relevant @ (labels == label), dtype=np.int64)
        ndcg[label.item()] = np.asarray(gained / ideal[np.minimum(n_relevant, len(gains))])
    return ndcg


def _mean(label: Any, values: npt.NDArray[np.float64], seed: int) -> GroupMean:
    low, high = bootstrap_interval(values, seed=seed) if len(values) > 1 else (None, None)
    return GroupMean(label.item(), len(values), float(values.mean()), low, high)
