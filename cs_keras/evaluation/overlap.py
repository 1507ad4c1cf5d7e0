"""Overlap of lists from predicted factors with lists from reference factors, with chance level and intervals.

For every query, take the k best tracks by the reference and the k best by the prediction: the overlap is the share
they have in common, averaged over the queries. Queries are the tracks (similarity) or playlists (dot product).
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import check_count, check_factors, check_ks, check_same_shape
from cs_keras.evaluation.search.intersection import chance_overlap, count_shared
from cs_keras.evaluation.search.search import Int64Array, squared_lengths
from cs_keras.evaluation.search.topk import Metric, TopK, top_k_dot, top_k_ranking, top_k_similar
from cs_keras.evaluation.statistics.permutation_test import check_comparable, permutation_test
from cs_keras.evaluation.statistics.resampling import bootstrap_interval
from cs_keras.run_files.evaluation import OverlapAtK

KS = (10, 50, 100, 500)
MAX_QUERIES = 20_000
FLAGGED_TIED_SHARE = 0.01


def rank_reference(
    reference: npt.ArrayLike,
    *,
    ks: tuple[int, ...] = KS,
    metric: Metric = "cosine",
    playlist_factors: npt.ArrayLike | None = None,
    max_queries: int = MAX_QUERIES,
    seed: int = 0,
) -> TopK:
    """Return the reference's lists, computed once for all models evaluated against it.

    Queries without a defined reference order are left out (and not counted in `n_queries`): playlists of zeros, and
    by cosine tracks whose reference row is zero. Such tracks stay candidates. A prediction of zeros does not
    exclude a query; its list is tied.

    Parameters
    ----------
    reference : array_like, shape (n_tracks, n_factors), float32
    ks : tuple of int
        The lists are as long as the largest of these that has enough candidates.
    metric : {"cosine", "euclidean"}
        Similarity; ignored if the queries are playlists.
    playlist_factors : array_like, shape (n_playlists, n_factors), float32, optional
        If given, the queries are playlists, by dot product.
    max_queries : int
        A larger number of queries is sampled down to this, by `seed`.
    seed : int

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
        k = _longest(ks, len(reference) - 1)
        is_query = (
            squared_lengths(reference) > 0 if metric == "cosine" else np.ones(len(reference), dtype=bool)
        )
        queries = _sample(np.flatnonzero(is_query), max_queries, seed)
        return top_k_similar(reference, k, metric=metric, queries=queries)
    playlists = check_factors("playlist factors", playlist_factors)
    queries = _sample(np.flatnonzero(squared_lengths(playlists)), max_queries, seed)
    return top_k_dot(playlists, reference, _longest(ks, len(reference)), queries=queries)


def evaluate_overlap(
    reference: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    ks: tuple[int, ...] = KS,
    metric: Metric = "cosine",
    n_permutations: int = 999,
    n_bootstrap: int = 1000,
    seed: int = 0,
    playlist_factors: npt.ArrayLike | None = None,
    max_queries: int = MAX_QUERIES,
    reference_lists: TopK | None = None,
) -> list[OverlapAtK]:
    """Evaluate the overlap between lists from predicted and from reference factors.

    Parameters
    ----------
    reference : array_like, shape (n_tracks, n_factors), float32
    predicted : array_like, shape (n_tracks, n_factors), float32, or (n_tracks,)
        Row i belongs to the track of reference row i. With playlists also one score a track: one ranking for all
        playlists.
    ks : tuple of int
        List lengths. One that exceeds the candidates is reported as not available, never clipped.
    metric : {"cosine", "euclidean"}
        Similarity; ignored if the queries are playlists.
    n_permutations, n_bootstrap : int
        Permutations of the test and resamples of the bootstrap interval.
    seed : int
        Seed of both, and of the sample of queries.
    playlist_factors : array_like, shape (n_playlists, n_factors), float32, optional
        If given, the queries are playlists, by dot product; else the tracks, by similarity.
    max_queries : int
        A larger number of queries is sampled down to this.
    reference_lists : TopK, optional
        Result of `rank_reference` for the same reference, playlists and metric; saves ranking it again.

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
            max_queries=max_queries,
            seed=seed,
        )
    expected = (len(reference), metric if playlist_factors is None else "dot")
    if (lists.n_items, lists.metric) != expected:
        raise DataError(
            f"the reference lists are not of this reference: expected {expected[0]} tracks by {expected[1]}. "
            f"Received: {lists.n_items} by {lists.metric}."
        )
    longest = _longest(ks, lists.n_candidates)
    lists = lists.prefix(longest)
    if np.ndim(predicted) == 2:
        check_same_shape(reference, check_factors("predicted factors", predicted))
    found = rank_predicted(lists, predicted, playlist_factors)
    return compare_lists(lists, found, ks, n_permutations=n_permutations, n_bootstrap=n_bootstrap, seed=seed)


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
        Any number of factors; with playlists also one score a track.
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
    reference: TopK, predicted: TopK, ks: tuple[int, ...], *, n_permutations: int, n_bootstrap: int, seed: int
) -> list[OverlapAtK]:
    """Return the overlap of two sets of lists.

    Parameters
    ----------
    reference, predicted : TopK
        Of the same queries, items and metric; as long as the largest of `ks` that has enough candidates.
    ks : tuple of int
        List lengths; those longer than the candidates are not available.
    n_permutations, n_bootstrap, seed : int
        As for `evaluate_overlap`.

    Returns
    -------
    list of OverlapAtK
        One for each of `ks`.

    Raises
    ------
    ConfigError
        A setting is out of range.
    DataError
        Lists cannot be compared, or are too short.
    """
    available = tuple(k for k in ks if k <= reference.n_candidates)
    n_queries, n_candidates = len(reference.queries), reference.n_candidates
    results = {k: not_available(k, n_queries, n_candidates) for k in ks}
    if available:
        shared = count_shared(reference.indices, predicted.indices, available, reference.n_items)
        tests = permutation_test(reference, predicted, available, n_permutations=n_permutations, seed=seed)
        for k, counts, test in zip(available, shared, tests, strict=True):
            chance, chance_sd = chance_overlap(k, n_candidates, n_queries)
            low, high = bootstrap_interval(counts / k, n_bootstrap, seed=seed)
            tied_share = float(predicted.prefix(k).tied.mean())
            results[k] = OverlapAtK(
                k=k,
                available=True,
                overlap=float((counts / k).mean()),
                chance=chance,
                chance_sd=chance_sd,
                low=low,
                high=high,
                p_value=test.p_value,
                null_mean=test.null_mean,
                n_queries=n_queries,
                n_candidates=n_candidates,
                tied_share=tied_share,
                flagged=tied_share > FLAGGED_TIED_SHARE,
            )
    return [results[k] for k in ks]


def not_available(k: int, n_queries: int, n_candidates: int) -> OverlapAtK:
    """Return the result for lists longer than the number of candidates."""
    nothing = dict.fromkeys(
        ("overlap", "chance", "chance_sd", "low", "high", "p_value", "null_mean", "tied_share", "flagged")
    )
    return OverlapAtK(k=k, available=False, n_queries=n_queries, n_candidates=n_candidates, **nothing)


def _longest(ks: tuple[int, ...], n_candidates: int) -> int:
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
