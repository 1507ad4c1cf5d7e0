"""How well playlists find the tracks that were held out from them: recall, precision, nDCG, average precision, AUC.

Conventions. Every playlist ranks all the tracks it has not seen, by dot product; nothing is sampled. Relevance is
binary: a track is held out or not. Each metric is a number per playlist, from 0 to 1. Playlists weigh the same in a
mean, those that find nothing included; playlists with nothing held out have no number. With h tracks held out, of
which those found among the first k stand at places p_1 < p_2 < ... (from 1):

    recall@k = found / h                             nDCG@k = sum_j 1 / log2(p_j + 1) / the same sum over p_j = j
    precision@k = found / k                          AP@k = sum_j j / p_j / min(k, h)
    AUC = share of pairs, one track held out and one not, in the right order; equal scores count half

The ideal list of nDCG@k holds min(k, h) tracks. AP@k is the truncated average precision of the Million Song Dataset
Challenge (McFee, Bertin-Mahieux, Ellis and Lanckriet, WWW 2012 Companion), whose mean over playlists is mAP@500.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import check_count, check_ks
from cs_keras.evaluation.overlap import KS
from cs_keras.evaluation.search.exact import Float64Array
from cs_keras.evaluation.search.held_out_ranks import HeldOutRanks, find_held_out_ranks
from cs_keras.evaluation.search.search import Int64Array


@dataclass(frozen=True)
class RankingAtK:
    """Metrics of the first k, playlist by playlist; None where a playlist has fewer than k candidates.

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
    """How well playlists find what was held out from them.

    Attributes
    ----------
    playlists : numpy.ndarray, shape (n_queries,), int64
        Rows of the playlists that have something held out: what all arrays here are about, in this order.
    n_left_out : int
        Playlists with nothing held out.
    n_candidates : numpy.ndarray, shape (n_queries,), int64
        Tracks that each ranks.
    auc : numpy.ndarray, shape (n_queries,), float64
        NaN for a playlist whose candidates are all held out.
    tied : numpy.ndarray, shape (n_queries,), bool
        Whether a held-out track has the very score of another candidate: its place is then owed to row order.
    at_k : tuple of RankingAtK
        One for each of the list lengths asked for.
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
    """Rank all tracks for every playlist and compare with the listening that was held out.

    One score a track, the same for all playlists, is a ranking too: pass the scores as a single factor, and ones as
    playlist factors.

    Parameters
    ----------
    playlist_factors : array_like, shape (n_playlists, n_factors), float32
    item_factors : array_like, shape (n_tracks, n_factors), float32
    held_out : csr_matrix, shape (n_playlists, n_tracks)
        Above 0 where the playlist should find the track.
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
        `ks` not positive whole numbers.
    DataError
        Nothing held out at all, tracks both held out and seen, or arrays that do not fit together.
    """
    return measure_ranks(find_held_out_ranks(playlist_factors, item_factors, held_out, seen), ks)


def measure_ranks(found: HeldOutRanks, ks: tuple[int, ...] = KS) -> RankMetrics:
    """Return the metrics of held-out tracks that stand where `found` says.

    Raises
    ------
    ConfigError
        `ks` not positive whole numbers.
    """
    ks = check_ks(ks)
    return RankMetrics(
        playlists=found.playlists,
        n_left_out=found.n_playlists - len(found.playlists),
        n_candidates=found.n_candidates,
        auc=_auc(found),
        tied=found.tied,
        at_k=tuple(_ranking_at_k(found, k) for k in ks),
    )


def ndcg_at_k(
    playlist_factors: npt.ArrayLike,
    item_factors: npt.ArrayLike,
    held_out: scipy.sparse.csr_matrix,
    k: int,
) -> Float64Array:
    """Return the nDCG of each playlist's k best tracks, all tracks being candidates.

    Parameters
    ----------
    playlist_factors : array_like, shape (n_playlists, n_factors), float32
    item_factors : array_like, shape (n_tracks, n_factors), float32
    held_out : csr_matrix, shape (n_playlists, n_tracks)
        Above 0 where the playlist should find the track.
    k : int
        At most n_tracks.

    Returns
    -------
    numpy.ndarray, shape (n_playlists,), float64
        From 0 to 1; NaN where nothing is held out.

    Raises
    ------
    ConfigError
        k no positive whole number.
    DataError
        k above n_tracks, nothing held out at all, or arrays that do not fit together (see `find_held_out_ranks`).
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


def _ndcg(found: HeldOutRanks, k: int) -> Float64Array:
    gains = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(gains)[np.minimum(found.n_held_out, k) - 1]
    gained = np.where(found.places < k, gains[np.minimum(found.places, k - 1)], 0)
    return np.asarray(found.sum(gained) / ideal)


def _ranking_at_k(found: HeldOutRanks, k: int) -> RankingAtK:
    if k > found.n_candidates.min():
        return RankingAtK(k, None, None, None, None)
    n_found = found.sum(found.places < k)
    return RankingAtK(
        k,
        recall=n_found / found.n_held_out,
        precision=n_found / k,
        ndcg=_ndcg(found, k),
        average_precision=_average_precision(found, k),
    )


def _average_precision(found: HeldOutRanks, k: int) -> Float64Array:
    n_until = np.arange(len(found.places)) - np.repeat(found.starts, found.n_held_out) + 1
    precisions = np.where(found.places < k, n_until / (found.places + 1), 0)
    return np.asarray(found.sum(precisions) / np.minimum(found.n_held_out, k))


def _auc(found: HeldOutRanks) -> Float64Array:
    """Return the share of pairs in the right order: Mann and Whitney's U over the number of pairs."""
    h = found.n_held_out
    wrong = found.sum(found.mid_ranks) - h * (h - 1) / 2  # pairs of two held-out tracks taken off
    pairs = h * (found.n_candidates - h)
    return np.asarray(
        1 - np.divide(wrong, pairs, out=np.full(len(h), np.nan), where=pairs > 0), dtype=np.float64
    )
