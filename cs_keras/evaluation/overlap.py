"""Overlap of lists from predicted factors with lists from reference factors, with chance level and intervals.

For every query, take the k best tracks by the reference and the k best by the prediction: the overlap is the share
they have in common, averaged over the queries. Queries are the tracks (similarity) or playlists (dot product).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, check_count, check_factors, check_ks, check_same_shape
from cs_keras.evaluation.labels.cohesion import same_artist_share
from cs_keras.evaluation.search.intersection import chance_overlap, count_shared
from cs_keras.evaluation.search.search import Int64Array, squared_lengths
from cs_keras.evaluation.search.topk import (
    Metric,
    TopK,
    filter_artists,
    filtered_length,
    top_k_dot,
    top_k_ranking,
    top_k_similar,
)
from cs_keras.evaluation.statistics.jackknife import (
    MAX_CLUSTERS,
    QuerySums,
    cluster_artists,
    delete_clusters,
    estimate,
    refilled_length,
    sum_values,
)
from cs_keras.evaluation.statistics.permutation_test import (
    PermutationTest,
    Within,
    check_comparable,
    permutation_test,
    tested_lengths,
)
from cs_keras.run_files.evaluation import OverlapAtK

KS = (10, 50, 100, 500)
MAX_QUERIES = 20_000
FLAGGED_TIED_SHARE = 0.01
MAX_DELETED = 1_000  # tracks of a group of artists; lists of larger catalogues are not refilled


@dataclass(frozen=True, eq=False)
class ListOverlap:
    """The overlap of two sets of lists at one length.

    Attributes
    ----------
    at_k : OverlapAtK
    queries : numpy.ndarray, shape (n_queries,), int64
        Rows of the query tracks or playlists; none if there are no k candidates.
    shares : numpy.ndarray, shape (n_queries,), float64
        Share of common tracks of each query.
    sums : QuerySums or None
        Sums from which intervals and paired tests are computed; None if there are no k candidates.
    """

    at_k: OverlapAtK
    queries: Int64Array
    shares: Float64Array
    sums: QuerySums | None


def rank_reference(
    reference: npt.ArrayLike,
    *,
    ks: tuple[int, ...] = KS,
    metric: Metric = "cosine",
    playlist_factors: npt.ArrayLike | None = None,
    artists: npt.ArrayLike | None = None,
    max_queries: int = MAX_QUERIES,
    seed: int = 0,
    n_queries: int | None = None,
) -> TopK:
    """Return the reference's lists, computed once for all models evaluated against it.

    Queries without a defined reference order are left out (and not counted in `n_queries`): playlists of zeros,
    and by cosine tracks whose reference row is zero. Such tracks remain candidates. A prediction of zeros does
    not exclude a query; its list is tied.

    Parameters
    ----------
    reference : array_like, shape (n_tracks, n_factors), float32
    ks : tuple of int
        The lists are as long as the largest of these that has enough candidates, and intervals need.
    metric : {"cosine", "euclidean"}
        Similarity; ignored if the queries are playlists.
    playlist_factors : array_like, shape (n_playlists, n_factors), float32, optional
        If given, the queries are playlists, by dot product.
    artists : array_like, shape (n_tracks,), int, optional
        Artist of each track, -1 if unknown. Lists of tracks are then long enough to be filtered by artist, and all
        lists to be refilled without any artist.
    max_queries : int
        A larger number of queries is sampled down to this, by `seed`.
    seed : int
    n_queries : int, optional
        Only the first tracks are queries, as many as this; the others are candidates.

    Returns
    -------
    TopK

    Raises
    ------
    ConfigError
        A list length or `max_queries` is not a positive whole number, or the metric is unknown.
    DataError
        Factors are not finite matrices of one width, no query is left, or there is a single track.
    """
    reference = check_factors("reference factors", reference)
    if playlist_factors is None:
        k = longest_available(ks, len(reference) - 1)
        is_query = (
            squared_lengths(reference) > 0 if metric == "cosine" else np.ones(len(reference), dtype=bool)
        )
        queries = _sample(np.flatnonzero(is_query[:n_queries]), max_queries, seed)
        k = list_length(k, len(reference), artists, by_similarity=True)
        return top_k_similar(reference, k, metric=metric, queries=queries)
    playlists = check_factors("playlist factors", playlist_factors)
    queries = _sample(np.flatnonzero(squared_lengths(playlists)), max_queries, seed)
    k = list_length(longest_available(ks, len(reference)), len(reference), artists)
    return top_k_dot(playlists, reference, k, queries=queries)


def evaluate_overlap(
    reference: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    ks: tuple[int, ...] = KS,
    metric: Metric = "cosine",
    n_permutations: int = 999,
    seed: int = 0,
    playlist_factors: npt.ArrayLike | None = None,
    artists: npt.ArrayLike | None = None,
    filtered: bool = False,
    max_queries: int = MAX_QUERIES,
    reference_lists: TopK | None = None,
) -> list[OverlapAtK]:
    """Evaluate the overlap between lists from predicted and from reference factors.

    Parameters
    ----------
    reference : array_like, shape (n_tracks, n_factors), float32
    predicted : array_like, shape (n_tracks, n_factors), float32, or (n_tracks,)
        Row i belongs to the track of reference row i. With playlists, one score per track is also valid: the same
        ranking for all playlists.
    ks : tuple of int
        List lengths. One that exceeds the candidates is reported as not available, never clipped.
    metric : {"cosine", "euclidean"}
        Similarity; ignored if the queries are playlists.
    n_permutations : int
        Permutations of the tests.
    seed : int
        Seed of these, and of the sample of queries.
    playlist_factors : array_like, shape (n_playlists, n_factors), float32, optional
        If given, the queries are playlists, by dot product; else the tracks, by similarity.
    artists : array_like, shape (n_tracks,), int, optional
        Artist of each track, -1 if unknown. The interval then respects artists, and the test of information beyond
        them is done.
    filtered : bool
        Whether the query's own artist is removed from both lists; by similarity only, with `artists`.
    max_queries : int
        A larger number of queries is sampled down to this.
    reference_lists : TopK, optional
        Result of `rank_reference` for the same reference, playlists, metric and artists; saves ranking it again.

    Returns
    -------
    list of OverlapAtK
        One for each of `ks`.

    Raises
    ------
    ConfigError
        A setting is out of range.
    DataError
        Factors do not match or are not finite, no query has a defined reference order (see `rank_reference`), or
        `reference_lists` are of another reference.
    """
    reference = check_factors("reference factors", reference)
    ks = check_ks(ks)
    lists = reference_lists
    if lists is None:
        lists = rank_reference(
            reference,
            ks=ks,
            metric=metric,
            playlist_factors=playlist_factors,
            artists=artists,
            max_queries=max_queries,
            seed=seed,
        )
    expected = (len(reference), metric if playlist_factors is None else "dot")
    if (lists.n_items, lists.metric) != expected:
        raise DataError(
            f"the reference lists are of another reference: expected {expected[0]} tracks by {expected[1]}. "
            f"Received: {lists.n_items} by {lists.metric}."
        )
    if np.ndim(predicted) == 2:
        check_same_shape(reference, check_factors("predicted factors", predicted))
    found = rank_predicted(lists, predicted, playlist_factors)
    compared = compare_lists(
        lists,
        found,
        ks,
        artists=artists,
        filtered=filtered,
        n_permutations=n_permutations,
        seed=seed,
    )
    return [one.at_k for one in compared]


def rank_predicted(
    lists: TopK,
    predicted: npt.ArrayLike,
    playlist_factors: npt.ArrayLike | None = None,
    metric: Metric | None = None,
) -> TopK:
    """Return lists of a prediction for the queries of the reference's lists, of the same length.

    Parameters
    ----------
    lists : TopK
        Result of `rank_reference`.
    predicted : array_like, shape (n_tracks, n_factors), float32, or (n_tracks,)
        Any number of factors; with playlists also one score per track.
    playlist_factors : array_like, shape (n_playlists, n_factors), float32, optional
        If the queries of `lists` are playlists.
    metric : {"cosine", "euclidean"}, optional
        Similarity in the predicted space, if it differs from the reference's.

    Returns
    -------
    TopK
        Labelled with the metric of `lists`, so that the two can be compared.

    Raises
    ------
    DataError
        Factors are not finite matrices of one width, or are of other tracks than `lists`.
    """
    if playlist_factors is not None and np.ndim(predicted) == 1:
        found = top_k_ranking(predicted, lists.k, lists.queries)
        check_comparable(lists, found)
        return found
    predicted = check_factors("predicted factors", predicted)
    if len(predicted) != lists.n_items:
        raise DataError(
            f"the prediction is of other tracks than the lists: expected {lists.n_items} rows. "
            f"Received: {len(predicted)}."
        )
    if playlist_factors is not None:
        return top_k_dot(playlist_factors, predicted, lists.k, queries=lists.queries)
    found = top_k_similar(predicted, lists.k, metric=metric or lists.metric, queries=lists.queries)
    return replace(found, metric=lists.metric)


def compare_lists(
    reference: TopK,
    predicted: TopK,
    ks: tuple[int, ...],
    *,
    artists: npt.ArrayLike | None = None,
    filtered: bool = False,
    n_permutations: int,
    seed: int,
) -> list[ListOverlap]:
    """Return the overlap of two sets of lists.

    Parameters
    ----------
    reference, predicted : TopK
        Of the same queries, items and metric; as long as `rank_reference` makes them.
    ks : tuple of int
        List lengths; those longer than the candidates are not available.
    artists, filtered, n_permutations, seed
        As for `evaluate_overlap`; without permutations there are no p-values.

    Returns
    -------
    list of ListOverlap
        One for each of `ks`.

    Raises
    ------
    ConfigError
        A setting is out of range.
    DataError
        Lists cannot be compared, or are too short, or are filtered without artists.
    """
    check_comparable(reference, predicted)
    own_artists = artists if filtered else None
    by_k = {k: lists for k in ks if (lists := _lists_of_length(k, reference, own_artists)) is not None}
    counts = _count_candidates(reference, own_artists)
    results = {k: not_available(k, counts) for k in ks}
    tests: dict[Within, dict[int, PermutationTest]] = {"tracks": {}, "artists": {}}
    if by_k and n_permutations:
        tested = tested_lengths(tuple(by_k), reference.n_items)
        found = permutation_test(
            reference,
            predicted,
            tested,
            n_permutations=n_permutations,
            seed=seed,
            artists=artists,
            filtered=filtered,
            within=("tracks", "artists") if _has_several_tracks(artists) else ("tracks",),
        )
        tests |= {within: dict(zip(tested, own, strict=True)) for within, own in found.items()}
    any_information, beyond = tests.values()
    for k, own in by_k.items():
        other = _lists_of_length(k, predicted, own_artists)
        assert other is not None  # of the same queries
        shares = count_shared(own.indices, other.indices, (k,), own.n_items)[0] / k
        sums = _sum_queries(reference, predicted, k, artists, own_artists, own.queries, shares)
        low, high = np.clip(estimate(sums).interval(), 0, 1).tolist()
        chance, chance_sd = _chance(own)
        tied_share = float(other.tied.mean())
        at_k = OverlapAtK(
            k=k,
            available=True,
            overlap=float(shares.mean()),
            chance=chance,
            chance_sd=chance_sd,
            low=low,
            high=high,
            p_value=any_information[k].p_value if k in any_information else None,
            null_mean=any_information[k].null_mean if k in any_information else None,
            n_queries=len(shares),
            n_candidates=int(counts.max()),
            tied_share=tied_share,
            flagged=tied_share > FLAGGED_TIED_SHARE,
            p_beyond_artist=beyond[k].p_value if k in beyond else None,
            null_mean_beyond_artist=beyond[k].null_mean if k in beyond else None,
            n_arrangements=beyond[k].n_arrangements if k in beyond else None,
            n_left_out=len(counts) - len(shares),
            same_artist_share=_share_by_artist(own, artists),
        )
        results[k] = ListOverlap(at_k, own.queries, shares, sums)
    return [results[k] for k in ks]


def list_length(k: int, n_items: int, artists: npt.ArrayLike | None, *, by_similarity: bool = False) -> int:
    """Return how long lists must be for overlaps of length k and their intervals: at most all candidates.

    `artists` has the shape (n_items,); without it each track is an artist of its own.
    """
    clusters = _clusters(n_items, artists)
    of_tracks = artists if by_similarity else None
    n_candidates = n_items - by_similarity
    if np.bincount(clusters).max() <= MAX_DELETED:
        return min(refilled_length(k, clusters, of_tracks), n_candidates)
    return k if of_tracks is None else filtered_length(k, of_tracks)


def not_available(k: int, candidate_counts: Int64Array) -> ListOverlap:
    """Return the result for lists longer than the number of candidates, shape (n_queries,), of any query."""
    nothing = dict.fromkeys(
        ("overlap", "chance", "chance_sd", "low", "high", "p_value", "null_mean", "tied_share", "flagged")
    )
    n_left_out, n_candidates = len(candidate_counts), int(candidate_counts.max(initial=0))
    at_k = OverlapAtK(
        k=k, available=False, n_queries=0, n_candidates=n_candidates, n_left_out=n_left_out, **nothing
    )
    return ListOverlap(at_k, np.empty(0, np.int64), np.empty(0), None)


def _lists_of_length(k: int, lists: TopK, artists: npt.ArrayLike | None) -> TopK | None:
    """Return the first k, without the query's own artist if there are `artists`; None if no query has so many."""
    if k > lists.n_candidates:
        return None
    if artists is None:
        return lists.prefix(k)
    found = filter_artists(lists, artists, k)
    return found if len(found.queries) else None


def _count_candidates(lists: TopK, artists: npt.ArrayLike | None) -> Int64Array:
    """Return the number of candidates of each query; with `artists` of filtered lists, of known artists only."""
    if artists is None:
        return lists.candidate_counts
    own = np.asarray(artists)
    of_queries = own[lists.queries]
    return np.asarray(lists.n_items - np.bincount(own[own >= 0])[of_queries[of_queries >= 0]])


def _clusters(n_items: int, artists: npt.ArrayLike | None) -> Int64Array:
    return cluster_artists(np.full(n_items, -1) if artists is None else artists)


def _has_several_tracks(artists: npt.ArrayLike | None) -> bool:
    """Return whether any known artist has several tracks, so that recognising it could matter."""
    own = np.asarray([] if artists is None else artists, dtype=np.int64)
    return bool((np.bincount(own[own >= 0], minlength=1) > 1).any())


def _sum_queries(
    reference: TopK,
    predicted: TopK,
    k: int,
    artists: npt.ArrayLike | None,
    own_artists: npt.ArrayLike | None,
    queries: Int64Array,
    shares: Float64Array,
) -> QuerySums:
    """Return overlaps summed by clusters; without deletions where the catalogue is too large for them."""
    clusters = _clusters(reference.n_items, artists)
    if np.bincount(clusters).max() <= MAX_DELETED:
        return delete_clusters(reference, predicted, k, clusters, own_artists)
    return sum_values(shares, queries % MAX_CLUSTERS if reference.metric == "dot" else clusters[queries])


def _chance(lists: TopK) -> tuple[float, float]:
    """Return the mean overlap of random lists with these, and its standard deviation; see `chance_overlap`."""
    candidates, numbers = np.unique(lists.candidate_counts, return_counts=True)
    means, sds = np.array([chance_overlap(lists.k, int(n)) for n in candidates]).T
    weights = numbers / numbers.sum()
    return float(weights @ means), float(np.sqrt(weights @ np.square(sds) / numbers.sum()))


def _share_by_artist(lists: TopK, artists: npt.ArrayLike | None) -> float | None:
    if artists is None or lists.metric == "dot":
        return None
    return same_artist_share(lists.indices, lists.queries, np.asarray(artists))


def longest_available(ks: tuple[int, ...], n_candidates: int) -> int:
    """Return the largest k that has enough candidates; 1 if none has."""
    return max((k for k in check_ks(ks) if k <= n_candidates), default=1)


def _sample(rows: Int64Array, max_rows: int, seed: int) -> Int64Array:
    """Return at most `max_rows` of some rows, in order, drawn without replacement if there are more."""
    if not len(rows):
        raise DataError(
            "there are no queries: expected at least one playlist or track whose factors are not all zero. "
            "Received: none."
        )
    if len(rows) <= check_count("max_queries", max_rows):
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, max_rows, replace=False))
