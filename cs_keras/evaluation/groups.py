"""Metrics by group of tracks or playlists, such as popularity quantiles or known artists."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import check_count, check_scores
from cs_keras.evaluation.overlap import compare_lists
from cs_keras.evaluation.ranking import sum_gains
from cs_keras.evaluation.search.search import Int64Array
from cs_keras.evaluation.search.topk import TopK
from cs_keras.evaluation.statistics.jackknife import QuerySums, cluster_artists, estimate
from cs_keras.run_files.evaluation import GroupMean


def measure_group_overlap(
    reference: TopK,
    predicted: TopK,
    k: int,
    groups: npt.ArrayLike,
    artists: npt.ArrayLike | None = None,
    filtered: bool = False,
) -> list[GroupMean]:
    """Return the mean overlap of each group of query tracks, with intervals that respect artists.

    Parameters
    ----------
    reference, predicted, artists, filtered
        As in `overlap.compare_lists`.
    k : int
        At most the number of candidates.
    groups : array_like, shape (n_items,), int, str or bool
        A label for each track.

    Returns
    -------
    list of GroupMean
        Sorted by label; none for a group without queries.

    Raises
    ------
    DataError
        There is not one label for each track.
    """
    labels = _check_groups(groups, reference.n_items)
    means = []
    for label in np.unique(labels):
        is_own = labels[reference.queries] == label
        (found,) = compare_lists(
            reference.select(is_own),
            predicted.select(is_own),
            (k,),
            artists=artists,
            filtered=filtered,
            n_permutations=0,
            seed=0,
        )
        if found.sums is not None:
            means.append(_mean(label, found.sums))
    return means


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
    lists: TopK,
    held_out: scipy.sparse.csr_matrix,
    k: int,
    groups: npt.ArrayLike,
    artists: npt.ArrayLike | None = None,
) -> list[GroupMean]:
    """Return the mean nDCG@k for each group of tracks, with only its held-out tracks as relevant.

    All tracks are candidates: tracks of other groups occupy ranks without any gain.

    Parameters
    ----------
    lists, held_out, k, artists
        As in `ranking.sum_gains`.
    groups : array_like, shape (n_items,), int, str or bool
        A label for each track.

    Returns
    -------
    list of GroupMean
        Means over the playlists with any held-out track of the group, sorted by label; none if there are none.

    Raises
    ------
    DataError
        Interactions or labels do not match the lists.
    """
    expected = (len(lists.queries), lists.n_items)
    if held_out.shape != expected:
        raise DataError(
            f"interactions do not match the lists: expected shape {expected}. Received: {held_out.shape}."
        )
    labels = _check_groups(groups, lists.n_items)
    means = []
    for label in np.unique(labels):
        own = held_out.multiply(labels == label).tocsr()
        own.eliminate_zeros()
        sums = sum_gains(lists, own, k, artists)
        if sums is None:
            continue
        found = _mean(label, sums)
        if artists is not None and len(np.unique(cluster_artists(artists)[own.indices])) < 2:
            found = replace(found, low=None, high=None)
        means.append(found)
    return means


def _check_groups(groups: npt.ArrayLike, n_items: int) -> npt.NDArray[Any]:
    labels = np.asarray(groups)
    if labels.shape != (n_items,):
        raise DataError(
            f"groups do not match: expected a label for each of the {n_items} tracks. "
            f"Received: shape {labels.shape}."
        )
    return labels


def _mean(label: Any, sums: QuerySums) -> GroupMean:
    found = estimate(sums)
    low, high = np.clip(found.interval(), 0, 1).tolist() if found.df > 0 else (None, None)
    return GroupMean(label.item(), int(sums.n_queries.sum()), found.mean, low, high)
