"""Ranks of held-out tracks when every track is ranked for every playlist: all that ranking metrics need.

Scores are those of `search`, so a rank depends on its playlist and on the tracks alone, never on block size or
number of threads. Better comes first; equal scores are in row order, as in `topk`. A mid-rank gives ties the
mean of their ranks instead, as `scipy.stats.rankdata` and scikit-learn's AUC do.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, FloatArray, check_factors, check_width
from cs_keras.evaluation.search.compiled import compare_scores, mark_near
from cs_keras.evaluation.search.search import Int64Array, Search, dot_search


@dataclass(frozen=True)
class HeldOutRanks:
    """Ranks of held-out tracks, one playlist after another.

    Attributes
    ----------
    playlists : numpy.ndarray, shape (n_queries,), int64
        Rows of the playlists with held-out tracks; the others are absent.
    n_candidates : numpy.ndarray, shape (n_queries,), int64
        Tracks ranked for each: all but those it has seen.
    starts : numpy.ndarray, shape (n_queries,), int64
        Index of each playlist's first rank in the next two arrays.
    ranks : numpy.ndarray, shape (n_held_out,), int64
        From 0, ascending for each playlist.
    mid_ranks : numpy.ndarray, shape (n_held_out,), float64
        The same with the mean rank for ties.
    tied : numpy.ndarray, shape (n_queries,), bool
        Whether a held-out track of the playlist has the same score as another candidate.
    n_playlists : int
        All playlists, with and without held-out tracks.
    """

    playlists: Int64Array
    n_candidates: Int64Array
    starts: Int64Array
    ranks: Int64Array
    mid_ranks: Float64Array
    tied: npt.NDArray[np.bool_]
    n_playlists: int

    @property
    def n_held_out(self) -> Int64Array:
        """Held-out tracks of each playlist: int64 of shape (n_queries,), at least 1."""
        return np.diff(self.starts, append=len(self.ranks))

    def sum(self, values: npt.ArrayLike) -> Float64Array:
        """Add up values, shape (n_held_out,), for each playlist: float64 of shape (n_queries,)."""
        return np.asarray(np.add.reduceat(np.asarray(values, dtype=np.float64), self.starts))


def find_held_out_ranks(
    playlist_factors: npt.ArrayLike,
    item_factors: npt.ArrayLike,
    held_out: scipy.sparse.csr_matrix,
    seen: scipy.sparse.csr_matrix | None = None,
) -> HeldOutRanks:
    """Rank all tracks that a playlist has not seen by dot product, and return the ranks of those held out.

    Arguments are those of `ranking.rank_metrics`. Raise `DataError` unless factors are finite matrices of one
    width; interactions have the shape (n_playlists, n_tracks) and finite counts of at least 0; no track is both
    held out and seen; and something is held out.
    """
    playlists = check_factors("playlist factors", playlist_factors)
    items = check_factors("item factors", item_factors)
    check_width(playlists, items)
    shape = (len(playlists), len(items))
    held_out = _check_interactions("held_out", held_out, shape)
    seen = _check_interactions("seen", scipy.sparse.csr_matrix(shape) if seen is None else seen, shape)
    n_both = held_out.multiply(seen).nnz
    if n_both:
        raise DataError(
            "a track that a playlist has seen cannot be held out from it: expected no pair in both. "
            f"Received: {n_both} such pairs."
        )
    rows = require_held_out(held_out)
    held_out, seen = held_out[rows], seen[rows]
    above, equal, earlier = _count_ranks(dot_search(playlists, items, rows), held_out, seen)
    starts, ranks = held_out.indptr[:-1].astype(np.int64), above + earlier
    order = np.lexsort((ranks, np.repeat(rows, np.diff(held_out.indptr))))  # ascending for each playlist
    return HeldOutRanks(
        playlists=rows,
        n_candidates=len(items) - np.diff(seen.indptr).astype(np.int64),
        starts=starts,
        ranks=ranks[order],
        mid_ranks=(above + (equal - 1) / 2)[order],
        tied=np.maximum.reduceat(equal, starts) > 1,
        n_playlists=len(playlists),
    )


def require_held_out(held_out: scipy.sparse.csr_matrix) -> Int64Array:
    """Return the rows of playlists with held-out tracks, int64; raise `DataError` if there are none."""
    rows = np.flatnonzero(np.diff(held_out.indptr)).astype(np.int64)
    if not len(rows):
        raise DataError(
            "nothing is held out: expected at least one pair of playlist and track. Received: none."
        )
    return rows


def _count_ranks(
    search: Search, held_out: scipy.sparse.csr_matrix, seen: scipy.sparse.csr_matrix
) -> Int64Array:
    """Compare the score of every held-out track with those of all candidates of its playlist.

    Return, for each entry of `held_out` (int64, shape (3, n_held_out)), the number of candidates with a larger
    score; with the same, itself included; and of those among the latter that precede it in row order. The queries
    of `search` are the playlists, (n_playlists, n_tracks); seen tracks are no candidates.
    """
    counts = np.empty((3, held_out.nnz), dtype=np.int64)
    columns, starts = held_out.indices.astype(np.int64), held_out.indptr.astype(np.int64)
    own_scores = search.score(slice(None), starts, columns)

    def compare(queries: slice, rough: FloatArray) -> None:
        for query, scores in enumerate(rough, queries.start):
            scores[seen.indices[seen.indptr[query] : seen.indptr[query + 1]]] = -np.inf
        own_starts, is_near = starts[queries.start : queries.stop + 1], np.empty(rough.shape, bool)
        mark_near(rough, own_starts, own_scores, search.error, is_near)
        rough[is_near] = -np.inf
        near = search.score_flagged(queries, is_near)
        compare_scores(rough, near, own_starts, columns, own_scores, counts)

    search.for_rough_scores(compare)
    return counts


def _check_interactions(
    name: str, matrix: scipy.sparse.csr_matrix, shape: tuple[int, int]
) -> scipy.sparse.csr_matrix:
    """Return a copy whose stored entries are ones, with sorted columns."""
    if not scipy.sparse.issparse(matrix) or matrix.shape != shape:
        raise DataError(
            f"{name} must match the playlists and tracks: expected a sparse matrix of shape {shape}. "
            f"Received: {type(matrix).__name__} of shape {np.shape(matrix)}."
        )
    counts = scipy.sparse.csr_matrix(matrix, dtype=np.float64, copy=True)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    if not np.isfinite(counts.data).all() or (counts.data < 0).any():
        raise DataError(f"{name} must hold counts: expected finite numbers of at least 0.")
    counts.data[:] = 1
    return counts
