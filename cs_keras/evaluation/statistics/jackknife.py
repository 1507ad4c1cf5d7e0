"""Standard errors of overlaps and of their differences that respect artists.

Tracks of one artist are alike, so what is independent in a catalogue is its artists (by dot product, also its
playlists). An artist counts twice: its tracks are queries, and they compete for places in the lists of all others.
The delete-one jackknife with refilled lists (Efron & Stein, "The jackknife estimate of variance", Annals of
Statistics 9, 1981) covers both, but counts what one artist does to the lists of another once for either, so its
variance is too large. That part is measured, as the spread over query artists of what a deletion does to their
lists, and subtracted. A deletion also leaves fewer candidates, which raises every overlap; what follows from the
number of deleted tracks alone is removed by regression, since a catalogue of the same size is meant.

`docs/decisions.md` compares the alternatives; `tests/evaluation/statistics/test_simulations.py` simulates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.stats

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array
from cs_keras.evaluation.search.compiled import for_each
from cs_keras.evaluation.search.search import Int64Array, blocks
from cs_keras.evaluation.search.topk import TopK, remove_own_artists
from cs_keras.evaluation.statistics.counts import count_without_clusters

QUERIES_PER_THREAD = 1_024  # at a time
MAX_CLUSTERS = 100  # more would change a t quantile by 1 % and cost memory


@dataclass(frozen=True, eq=False)
class QuerySums:
    """Sums of a value over clusters of queries: as it is, and after each cluster of tracks is deleted.

    Attributes
    ----------
    sums : numpy.ndarray, shape (n_seeds, n_query_clusters, 1 + n_clusters), float64
        Column 0: the sum over the queries of each cluster. Column 1 + a: the same without the tracks of cluster a.
    n_queries : numpy.ndarray, shape (n_query_clusters,), int64
    n_tracks : numpy.ndarray, shape (n_clusters,), int64
        Number of tracks; empty if no tracks were deleted.
    by_similarity : bool
        Whether query cluster a consists of tracks of cluster a, which vanish with it.
    """

    sums: Float64Array
    n_queries: Int64Array
    n_tracks: Int64Array
    by_similarity: bool

    @property
    def seed_means(self) -> Float64Array:
        """Mean over queries of each seed, shape (n_seeds,)."""
        return np.asarray(self.sums[:, :, 0].sum(axis=1) / self.n_queries.sum())


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and degrees of freedom."""

    mean: float
    standard_error: float
    df: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the interval by Student's t; without limits if a single cluster leaves no degree of freedom."""
        if self.df <= 0:
            return -np.inf, np.inf
        half = float(scipy.stats.t.ppf((1 + level) / 2, self.df)) * self.standard_error
        return self.mean - half, self.mean + half

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the hypothesis that the mean is 0."""
        if self.df <= 0 or self.mean == 0:
            return 1.0
        with np.errstate(divide="ignore"):
            return float(2 * scipy.stats.t.sf(abs(np.divide(self.mean, self.standard_error)), self.df))


def cluster_artists(artists: npt.ArrayLike) -> Int64Array:
    """Return the cluster of each track: its artist, or with more than 100 artists a group of whole artists.

    Groups are made as equal in tracks as whole artists allow, without random numbers.

    Parameters
    ----------
    artists : array_like, shape (n_tracks,), int
        -1 is unknown; such a track counts as an artist of its own.

    Returns
    -------
    numpy.ndarray, shape (n_tracks,), int64
        From 0; at most 100 different.
    """
    known = np.asarray(artists, dtype=np.int64)
    alone = known.max(initial=0) + 1 + np.arange(len(known))
    _, cluster_of, sizes = np.unique(
        np.where(known >= 0, known, alone), return_inverse=True, return_counts=True
    )
    if len(sizes) <= MAX_CLUSTERS:
        return np.asarray(cluster_of, dtype=np.int64)
    group_of, totals = np.empty(len(sizes), np.int64), np.zeros(MAX_CLUSTERS)
    for artist in np.argsort(-sizes, kind="stable"):
        group_of[artist] = totals.argmin()
        totals[group_of[artist]] += sizes[artist]
    return group_of[cluster_of]


def refilled_length(k: int, clusters: Int64Array, artists: npt.ArrayLike | None = None) -> int:
    """Return how long lists must be, where there are as many candidates, to hold k tracks after any deletion.

    `clusters` and `artists` are those of `delete_clusters`.
    """
    n_filtered = 0
    if artists is not None:
        known = np.asarray(artists)
        n_filtered = max(int(np.bincount(known[known >= 0], minlength=1).max()) - 1, 0)
    return k + int(np.bincount(clusters).max()) + n_filtered


def delete_clusters(
    reference: TopK, predicted: TopK, k: int, clusters: Int64Array, artists: npt.ArrayLike | None = None
) -> QuerySums:
    """Return the summed overlap of lists of length k as they are and without each cluster of tracks.

    Parameters
    ----------
    reference, predicted : TopK
        Of the same queries (a playlist may occur more than once) and items, best first, each list as long as
        `refilled_length` or with all candidates.
    k : int
        At most the number of candidates. A list with fewer than k left after a deletion is not extended.
    clusters : numpy.ndarray, shape (n_items,), int64
        Result of `cluster_artists`.
    artists : array_like, shape (n_items,), int, optional
        If given, a query's own artist is removed from both its lists, and queries of unknown artist (-1) or with
        fewer than k candidates are left out.

    Returns
    -------
    QuerySums
        Of one seed.

    Raises
    ------
    DataError
        Lists are too short.
    """
    by_similarity = reference.metric != "dot"
    length = min(refilled_length(k, clusters, artists), reference.n_candidates)
    if min(reference.k, predicted.k) < length:
        raise DataError(
            f"the lists are too short to be refilled: expected {length} entries for k = {k}. "
            f"Received: {reference.k} and {predicted.k}."
        )
    lists = [one.indices[:, :length] for one in (reference, predicted)]
    queries = reference.queries
    if artists is not None:
        own = np.asarray(artists)
        n_own = np.bincount(own[own >= 0], minlength=own.max() + 1)[own[queries]]
        is_query = (own[queries] >= 0) & (reference.n_items - n_own >= k)
        queries = queries[is_query]
        lists = [remove_own_artists(one[is_query], own, queries) for one in lists]
    n_clusters = int(clusters.max()) + 1
    if by_similarity:
        query_clusters, n_query_clusters = clusters[queries], n_clusters
    else:
        query_clusters = queries % MAX_CLUSTERS  # by row: the same cluster in all folds, see `pool_folds`
        n_query_clusters = int(query_clusters.max()) + 1
    # One ranking for all playlists is a read-only view, for which the loop would be compiled again.
    lists = [np.require(one, np.int32, ["C", "W"]) for one in lists]
    parts = list(blocks(len(queries), QUERIES_PER_THREAD))
    counted = np.zeros((len(parts), n_query_clusters, 1 + n_clusters), np.int64)

    def count(i: int) -> None:
        reference_lists, predicted_lists = (one[parts[i]] for one in lists)
        count_without_clusters(
            reference_lists, predicted_lists, k, clusters, query_clusters[parts[i]], counted[i]
        )

    for_each(count, range(len(parts)))
    counts = counted.sum(axis=0)
    counts[:, 1:] += counts[:, :1]
    if by_similarity:
        counts[np.arange(n_clusters), 1 + np.arange(n_clusters)] = 0
    return QuerySums(
        counts[np.newaxis] / k,
        np.bincount(query_clusters, minlength=n_query_clusters),
        np.bincount(clusters),
        by_similarity,
    )


def sum_values(values: npt.ArrayLike, clusters: npt.ArrayLike | None = None) -> QuerySums:
    """Return the sums of values per query, with nothing deleted.

    Parameters
    ----------
    values : array_like, shape (n_queries,) or (n_seeds, n_queries), float
    clusters : array_like, shape (n_queries,), int, optional
        From 0; each query is a cluster of its own by default.

    Returns
    -------
    QuerySums
    """
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    own = np.arange(rows.shape[1]) if clusters is None else np.asarray(clusters)
    n_queries = np.bincount(own)
    sums = np.array([np.bincount(own, row, len(n_queries)) for row in rows])
    return QuerySums(sums[:, :, np.newaxis], n_queries, np.empty(0, np.int64), False)


def sum_models(values: Mapping[str, npt.ArrayLike | QuerySums]) -> dict[str, QuerySums]:
    """Return the sums of each model, whose numbers of seeds may differ.

    Raises
    ------
    DataError
        There are no models, values are not finite numbers of shape (n_queries,) or (n_seeds, n_queries), or models
        have different queries.
    """
    models = {
        name: one if isinstance(one, QuerySums) else sum_values(_check_values(name, one))
        for name, one in values.items()
    }
    counts = {name: int(one.n_queries.sum()) for name, one in models.items()}
    if len(set(counts.values())) != 1:
        raise DataError(
            "models need the same queries: expected as many values of each, one model at least. "
            f"Received: {counts}."
        )
    return models


def pool_folds(folds: Sequence[QuerySums]) -> QuerySums:
    """Return the sums of one seed over the queries of several folds, which share no tracks and no artists.

    Lists are of one fold each, so deleting a cluster in every fold at once changes each fold's lists as deleting it
    alone does: cluster a of the result is the union of the clusters a of all folds, and its sums are theirs added
    up. Playlists, which are queries in all folds, are in one cluster. The jackknife is then one that deletes groups
    of artists, one of each fold; if a fold is too large for deletions, nothing is deleted in the others either.
    """
    if not all(len(fold.n_tracks) for fold in folds):
        folds = [replace(fold, sums=fold.sums[:, :, :1], n_tracks=fold.n_tracks[:0]) for fold in folds]
    n_queries, n_tracks = (
        _add_up([getattr(fold, name) for fold in folds]) for name in ("n_queries", "n_tracks")
    )
    sums = np.zeros((1, len(n_queries), 1 + len(n_tracks)))
    for fold in folds:
        own = sums[:, : fold.sums.shape[1]]
        own[:, :, : fold.sums.shape[2]] += fold.sums
        own[:, :, fold.sums.shape[2] :] += fold.sums[:, :, :1]  # of clusters that the fold does not have
    return QuerySums(sums, n_queries, n_tracks, folds[0].by_similarity)


def stack_seeds(seeds: Sequence[QuerySums]) -> QuerySums:
    """Return models of one kind, trained with several seeds, as one; raise `DataError` for different queries."""
    for one in seeds[1:]:
        check_paired(seeds[0], one)
    return replace(seeds[0], sums=np.concatenate([one.sums for one in seeds]))


def estimate(model: QuerySums, other: QuerySums | None = None, weight: float = 1.0) -> Estimate:
    """Estimate the mean of a model over queries and seeds, or that mean less `weight` times that of another model.

    Both models are of the same queries; their seeds are independent. The variance is that of another catalogue
    (artists and playlists) and of another training; with one seed it covers the catalogue alone.

    Raises
    ------
    DataError
        Models are of different queries or tracks.
    """
    sums, parts = model.sums.mean(axis=0), [_seed_variance(model, 1.0)]
    mean = float(model.seed_means.mean())
    if other is not None:
        check_paired(model, other)
        sums = sums - weight * other.sums.mean(axis=0)
        mean -= weight * float(other.seed_means.mean())
        parts.append(_seed_variance(other, weight))
    parts.append(_catalogue_variance(replace(model, sums=sums[np.newaxis])))
    total = sum(variance for variance, _ in parts)
    df = parts[-1][1]
    if total > 0 and df > 0:  # Satterthwaite's degrees of freedom of a sum
        df = total**2 / sum(variance**2 / own for variance, own in parts if variance > 0)
    return Estimate(mean, float(np.sqrt(total)), float(df))


def check_paired(model: QuerySums, other: QuerySums) -> None:
    """Raise `DataError` unless both are of the same clusters of queries and tracks."""
    for name in ("n_queries", "n_tracks"):
        if not np.array_equal(getattr(model, name), getattr(other, name)):
            raise DataError(
                "models need the same queries and tracks to be compared: expected the same sizes of clusters. "
                f"Received: {name} of {getattr(model, name).sum()} and {getattr(other, name).sum()} in all."
            )


def _add_up(sizes: Sequence[Int64Array]) -> Int64Array:
    longest = max(map(len, sizes))
    return np.asarray(np.sum([np.pad(own, (0, longest - len(own))) for own in sizes], axis=0))


def _seed_variance(model: QuerySums, weight: float) -> tuple[float, float]:
    """Return the variance of a mean over seeds and its degrees of freedom; 0 for a single seed."""
    means = model.seed_means
    if len(means) == 1:
        return 0.0, 0.0
    return float(weight**2 * means.var(ddof=1) / len(means)), len(means) - 1.0


def _catalogue_variance(model: QuerySums) -> tuple[float, float]:
    """Return the variance of the mean of one seed over other catalogues, and its degrees of freedom."""
    sums, n_tracks = model.sums[0], model.n_tracks
    has_queries = model.n_queries > 0
    n_clusters = int(np.count_nonzero(has_queries))
    query_variance = _jackknife(_leave_out_each(sums[has_queries, 0], model.n_queries[has_queries]))
    if not len(n_tracks) or (model.by_similarity and n_clusters == 1):
        return query_variance, n_clusters - 1.0
    n_left = model.n_queries.sum() - (model.n_queries if model.by_similarity else 0)
    jackknife = _jackknife(sums[:, 1:].sum(axis=0) / n_left, n_tracks)
    variance = jackknife - _interactions(model)
    if not model.by_similarity:
        variance += query_variance
        n_clusters = len(n_tracks)
    variance, df = max(variance, query_variance), n_clusters - 1.0
    return variance, df * min(1.0, variance / jackknife) if variance > 0 and jackknife > 0 else df


def _leave_out_each(sums: Float64Array, n_queries: Int64Array) -> Float64Array:
    """Return the mean without the queries of each cluster, lists as they are; none left makes it 0."""
    return np.asarray((sums.sum() - sums) / np.maximum(n_queries.sum() - n_queries, 1))


def _jackknife(means: Float64Array, sizes: Int64Array | None = None) -> float:
    """Return the jackknife variance of means without each cluster, less what is linear in their sizes."""
    n_clusters = len(means)
    if n_clusters < 2:
        return 0.0
    residuals, scale = means - means.mean(), (n_clusters - 1) / n_clusters
    if sizes is not None and n_clusters > 2:
        centred = sizes - sizes.mean()
        if centred.any():
            residuals = residuals - centred * (residuals @ centred) / (centred @ centred)
            scale *= (n_clusters - 1) / (n_clusters - 2)
    return float(scale * (residuals @ residuals))


def _interactions(model: QuerySums) -> float:
    """Return what a jackknife counts too often: the spread over query clusters of what deletions do to them."""
    changes = model.sums[0, :, 1:] - model.sums[0, :, :1]
    n_queries = np.repeat(model.n_queries[:, np.newaxis], changes.shape[1], axis=1).astype(np.float64)
    if model.by_similarity:  # the cluster's own queries vanish
        np.fill_diagonal(changes, 0)
        np.fill_diagonal(n_queries, 0)
    per_query = changes.sum(axis=0) / np.maximum(n_queries.sum(axis=0), 1)
    return float(np.square(changes - n_queries * per_query).sum() / model.n_queries.sum() ** 2)


def _check_values(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(values)
    is_numeric = array.dtype.kind in "iufb" and array.ndim in (1, 2) and array.size > 0
    if not is_numeric or not np.isfinite(array).all():
        raise DataError(
            f"the values of {name} cannot be compared: expected one finite number per query, shape (n_queries,) "
            f"or (n_seeds, n_queries). Received: shape {array.shape}, dtype {array.dtype}."
        )
    return array
