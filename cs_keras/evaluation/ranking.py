"""Ranking metrics on held-out tracks of playlists: recall, precision, nDCG, average precision, AUC.

Conventions. Every playlist ranks all the tracks it has not seen, by dot product; nothing is sampled. Relevance is
binary: a track is held out or not. Each metric is a number per playlist, from 0 to 1. Playlists weigh the same in a
mean, those without hits included; playlists with nothing held out have no value. With h tracks held out, and those
among the first k at ranks p_1 < p_2 < ... (from 1):

    recall@k = hits / h                              nDCG@k = sum_j 1 / log2(p_j + 1) / the same sum over p_j = j
    precision@k = hits / k                           AP@k = sum_j j / p_j / min(k, h)
    AUC = share of pairs, one track held out and one not, in the right order; equal scores count half

The ideal list of nDCG@k holds min(k, h) tracks. AP@k is the truncated average precision of the Million Song Dataset
Challenge (McFee, Bertin-Mahieux, Ellis and Lanckriet, WWW 2012 Companion), whose mean over playlists is mAP@500.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, check_count, check_ks
from cs_keras.evaluation.overlap import KS, MAX_DELETED
from cs_keras.evaluation.rank_fusion import Score, score_blocks
from cs_keras.evaluation.search.held_out_ranks import HeldOutRanks, find_held_out_ranks
from cs_keras.evaluation.search.search import Int64Array
from cs_keras.evaluation.search.topk import TopK
from cs_keras.evaluation.statistics.counts import sum_gains_without_clusters
from cs_keras.evaluation.statistics.jackknife import MAX_CLUSTERS, QuerySums, cluster_artists

GainMetric = Literal["ndcg", "recall"]
RANKED_GAINS: tuple[GainMetric, ...] = ("ndcg", "recall")


@dataclass(frozen=True)
class RankingAtK:
    """Metrics of the first k, playlist by playlist; None if any playlist has fewer than k candidates.

    Attributes
    ----------
    k : int
    recall, precision, ndcg, average_precision : numpy.ndarray or None, shape (n_queries,), float64
        As the module defines them, from 0 to 1.
    """

    k: int
    recall: Float64Array | None
    precision: Float64Array | None
    ndcg: Float64Array | None
    average_precision: Float64Array | None

    @property
    def available(self) -> bool:
        """Whether every playlist has k candidates."""
        return self.recall is not None


@dataclass(frozen=True)
class RankMetrics:
    """Ranking metrics on held-out tracks, playlist by playlist.

    Attributes
    ----------
    playlists : numpy.ndarray, shape (n_queries,), int64
        Rows of the playlists with held-out tracks, in the order of all arrays here.
    n_left_out : int
        Playlists with nothing held out.
    n_candidates : numpy.ndarray, shape (n_queries,), int64
        Tracks ranked for each.
    auc : numpy.ndarray, shape (n_queries,), float64
        NaN for a playlist whose candidates are all held out.
    tied : numpy.ndarray, shape (n_queries,), bool
        Whether a held-out track has the same score as another candidate, so that row order decides its rank.
    at_k : tuple of RankingAtK
        One for each requested list length.
    """

    playlists: Int64Array
    n_left_out: int
    n_candidates: Int64Array
    auc: Float64Array
    tied: npt.NDArray[np.bool_]
    at_k: tuple[RankingAtK, ...]

    def means(self) -> dict[str, float | None]:
        """Return each metric's mean over playlists by name, such as "ndcg@10", "map@500" and "auc".

        None where it is not available. "auc" leaves out the playlists where it is not defined.
        """
        defined = self.auc[~np.isnan(self.auc)]
        means: dict[str, float | None] = {"auc": float(defined.mean()) if len(defined) else None}
        for row in self.at_k:
            named = {
                "recall": row.recall,
                "precision": row.precision,
                "ndcg": row.ndcg,
                "map": row.average_precision,
            }
            for name, values in named.items():
                means[f"{name}@{row.k}"] = None if values is None else float(values.mean())
        return means


def rank_metrics(
    playlist_factors: npt.ArrayLike,
    item_factors: npt.ArrayLike,
    held_out: scipy.sparse.csr_matrix,
    seen: scipy.sparse.csr_matrix | None = None,
    ks: tuple[int, ...] = KS,
) -> RankMetrics:
    """Rank all tracks for every playlist and measure the ranks of the held-out ones.

    To evaluate one ranking for all playlists, pass its scores as a single item factor, and ones as playlist
    factors.

    Parameters
    ----------
    playlist_factors : array_like, shape (n_playlists, n_factors), float32
    item_factors : array_like, shape (n_tracks, n_factors), float32
    held_out : csr_matrix, shape (n_playlists, n_tracks)
        Above 0 where the playlist should retrieve the track.
    seen : csr_matrix, shape (n_playlists, n_tracks), optional
        Above 0 where the playlist is known to hold the track, which is then no candidate for it.
    ks : tuple of int
        List lengths. One that exceeds the candidates of any playlist is not available, never clipped.

    Returns
    -------
    RankMetrics

    Raises
    ------
    ConfigError
        `ks` are not positive whole numbers.
    DataError
        Nothing is held out, tracks are both held out and seen, or shapes do not match.
    """
    return measure_ranks(find_held_out_ranks(playlist_factors, item_factors, held_out, seen), ks)


def measure_ranks(held_out: HeldOutRanks, ks: tuple[int, ...] = KS) -> RankMetrics:
    """Return the metrics of held-out tracks at given ranks; raise ConfigError if `ks` are not positive integers."""
    ks = check_ks(ks)
    return RankMetrics(
        playlists=held_out.playlists,
        n_left_out=held_out.n_playlists - len(held_out.playlists),
        n_candidates=held_out.n_candidates,
        auc=_auc(held_out),
        tied=held_out.tied,
        at_k=tuple(_ranking_at_k(held_out, k) for k in ks),
    )


def auc_above(
    score: Score, queries: Int64Array, liked: scipy.sparse.csr_matrix, disliked: scipy.sparse.csr_matrix
) -> Float64Array:
    """Return how well listeners' tracks are ranked above those that they dislike: the AUC of the two alone.

    Parameters
    ----------
    score
        Scores of all tracks for some of the `queries`.
    queries : numpy.ndarray, shape (n_queries,), int64
    liked, disliked : csr_matrix, shape (n_queries, n_tracks)
        Above 0 for a track of the query, or one that its listener dislikes; no track is both.

    Returns
    -------
    numpy.ndarray, shape (n_queries,), float64
        From 0 to 1, equal scores count half; NaN for queries that lack either.
    """
    values = np.full(len(queries), np.nan)
    rows = np.flatnonzero((np.diff(liked.indptr) > 0) & (np.diff(disliked.indptr) > 0))
    for block, block_scores in score_blocks(score, queries[rows], liked.shape[1]):
        for row, scores in zip(rows[block], block_scores, strict=True):
            own, others = scores[liked[row].indices][:, np.newaxis], scores[disliked[row].indices]
            values[row] = (own > others).mean() + (own == others).mean() / 2
    return values


def ndcg_at_k(
    playlist_factors: npt.ArrayLike,
    item_factors: npt.ArrayLike,
    held_out: scipy.sparse.csr_matrix,
    k: int,
) -> Float64Array:
    """Return the nDCG@k of each playlist, with all tracks as candidates.

    Parameters
    ----------
    playlist_factors : array_like, shape (n_playlists, n_factors), float32
    item_factors : array_like, shape (n_tracks, n_factors), float32
    held_out : csr_matrix, shape (n_playlists, n_tracks)
        Above 0 where the playlist should retrieve the track.
    k : int
        At most n_tracks.

    Returns
    -------
    numpy.ndarray, shape (n_playlists,), float64
        From 0 to 1; NaN where nothing is held out.

    Raises
    ------
    ConfigError
        k is not a positive whole number.
    DataError
        k is above n_tracks, nothing is held out, or shapes do not match (see `find_held_out_ranks`).
    """
    k = check_count("k", k)
    found = find_held_out_ranks(playlist_factors, item_factors, held_out)
    if k > found.n_candidates[0]:
        raise DataError(
            f"k is longer than the lists can be: expected at most {found.n_candidates[0]}, the number of "
            f"candidates. Received: {k}."
        )
    values = np.full(found.n_playlists, np.nan)
    values[found.playlists] = _ndcg(found, k)
    return values


def sum_gains(
    lists: TopK,
    held_out: scipy.sparse.csr_matrix,
    k: int,
    artists: npt.ArrayLike | None = None,
    metric: GainMetric = "ndcg",
) -> QuerySums | None:
    """Return nDCG@k or recall@k of lists as they are and without the tracks of each artist, for `estimate`.

    Without an artist, its tracks are neither candidates nor relevant, and playlists with no other held-out track
    are not in the mean.

    Parameters
    ----------
    lists : TopK
        Lists of playlists, as long as `overlap.rank_reference` makes them.
    held_out : csr_matrix, shape (n_queries, n_items)
        Above 0 where the playlist of that list should retrieve the track. Playlists without any are left out.
    k : int
        At most the length of the lists.
    artists : array_like, shape (n_items,), int, optional
        -1 is unknown; without them each track is an artist of its own.
    metric : {"ndcg", "recall"}

    Returns
    -------
    QuerySums or None
        None if nothing is held out.
    """
    counts = np.diff(held_out.indptr)
    has_any = counts > 0
    if not has_any.any():
        return None
    clusters = cluster_artists(np.full(lists.n_items, -1) if artists is None else artists)
    if np.bincount(clusters).max() > MAX_DELETED:  # lists of a large catalogue are not refilled
        clusters = np.zeros(lists.n_items, np.int64)
    rows = lists.queries[has_any] % MAX_CLUSTERS  # as in `delete_clusters`
    most = np.arange(counts.max() + 1.0)  # hits
    gains = np.ones(k)
    if metric == "ndcg":
        gains = 1 / np.log2(np.arange(2, k + 2))
        most = np.concatenate(([0.0], np.cumsum(gains)))[np.minimum(most, k).astype(np.int64)]
    n_clusters = int(clusters.max()) + 1
    n_lists = np.full(n_clusters, np.count_nonzero(has_any))
    sums = np.zeros((int(rows.max()) + 1, 1 + n_clusters))
    sum_gains_without_clusters(
        np.require(lists.indices[has_any], np.int32, ["C", "W"]),
        clusters,
        np.r_[0, np.cumsum(counts[has_any])],
        held_out.indices.astype(np.int64),
        gains,
        most,
        rows,
        sums,
        n_lists,
    )
    n_queries = np.bincount(rows)
    if n_clusters == 1:
        return QuerySums(sums[np.newaxis, :, :1], n_queries, np.empty(0, np.int64), False)
    sums[:, 1:] += sums[:, :1]
    sums[:, 1:] *= n_queries.sum() / np.maximum(n_lists, 1)  # means over the playlists that are left
    return QuerySums(sums[np.newaxis], n_queries, np.bincount(clusters), False)


def _ndcg(held_out: HeldOutRanks, k: int) -> Float64Array:
    gains = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(gains)[np.minimum(held_out.n_held_out, k) - 1]
    gained = np.where(held_out.ranks < k, gains[np.minimum(held_out.ranks, k - 1)], 0)
    return np.asarray(held_out.sum(gained) / ideal)


def _ranking_at_k(held_out: HeldOutRanks, k: int) -> RankingAtK:
    if k > held_out.n_candidates.min():
        return RankingAtK(k, None, None, None, None)
    n_hits = held_out.sum(held_out.ranks < k)
    return RankingAtK(
        k,
        recall=n_hits / held_out.n_held_out,
        precision=n_hits / k,
        ndcg=_ndcg(held_out, k),
        average_precision=_average_precision(held_out, k),
    )


def _average_precision(held_out: HeldOutRanks, k: int) -> Float64Array:
    n_until = np.arange(len(held_out.ranks)) - np.repeat(held_out.starts, held_out.n_held_out) + 1
    precisions = np.where(held_out.ranks < k, n_until / (held_out.ranks + 1), 0)
    return np.asarray(held_out.sum(precisions) / np.minimum(held_out.n_held_out, k))


def _auc(held_out: HeldOutRanks) -> Float64Array:
    """Return the share of pairs in the right order: Mann and Whitney's U over the number of pairs."""
    h = held_out.n_held_out
    wrong = held_out.sum(held_out.mid_ranks) - h * (h - 1) / 2  # without pairs of two held-out tracks
    pairs = h * (held_out.n_candidates - h)
    return np.asarray(
        1 - np.divide(wrong, pairs, out=np.full(len(h), np.nan), where=pairs > 0), dtype=np.float64
    )
