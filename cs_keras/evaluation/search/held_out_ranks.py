"""Where held-out tracks stand when every track is ranked for every playlist: all that ranking metrics need.

Scores are the products of `exact`, so a place depends on its playlist and on the tracks alone, never on block size
or number of threads. Better comes first; equal scores are in row order, as in `topk`. A mid-place gives equals the
mean of their places instead, as `scipy.stats.rankdata` and scikit-learn's AUC do.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import check_factors, check_width
from cs_keras.evaluation.search.exact import Float64Array
from cs_keras.evaluation.search.metric_rows import dot_search
from cs_keras.evaluation.search.ranks import count_ranks
from cs_keras.evaluation.search.search import Int64Array


@dataclass(frozen=True)
class HeldOutRanks:
    """HeldOutRanks of held-out tracks, playlist after playlist.

    Attributes
    ----------
    playlists : numpy.ndarray, shape (n_queries,), int64
        Rows of the playlists that have something held out; the others are not here.
    n_candidates : numpy.ndarray, shape (n_queries,), int64
        Tracks ranked for each: all but those it has seen.
    starts : numpy.ndarray, shape (n_queries,), int64
        Where the places of each begin in the next two arrays.
    places : numpy.ndarray, shape (n_held_out,), int64
        From 0, ascending for each playlist.
    mid_ranks : numpy.ndarray, shape (n_held_out,), float64
        The same with the mean place for equals.
    tied : numpy.ndarray, shape (n_queries,), bool
        Whether a held-out track of the playlist has the very score of another candidate.
    n_playlists : int
        Those with nothing held out included.
    """

    playlists: Int64Array
    n_candidates: Int64Array
    starts: Int64Array
    places: Int64Array
    mid_ranks: Float64Array
    tied: npt.NDArray[np.bool_]
    n_playlists: int

    @property
    def n_held_out(self) -> Int64Array:
        """Held-out tracks of each playlist: int64 of shape (n_queries,), at least 1."""
        return np.diff(self.starts, append=len(self.places))

    def sum(self, values: npt.ArrayLike) -> Float64Array:
        """Add up values, shape (n_held_out,), for each playlist: float64 of shape (n_queries,)."""
        return np.asarray(np.add.reduceat(np.asarray(values, dtype=np.float64), self.starts))


class Listening(NamedTuple):
    """Held-out and seen tracks, both csr_matrix of shape (n_playlists, n_tracks) with sorted columns."""

    held_out: scipy.sparse.csr_matrix
    seen: scipy.sparse.csr_matrix


def find_held_out_ranks(
    playlist_factors: npt.ArrayLike,
    item_factors: npt.ArrayLike,
    held_out: scipy.sparse.csr_matrix,
    seen: scipy.sparse.csr_matrix | None = None,
) -> HeldOutRanks:
    """Rank all tracks that a playlist has not seen by dot product with it, and find those held out.

    Parameters
    ----------
    playlist_factors : array_like, shape (n_playlists, n_factors), float32
    item_factors : array_like, shape (n_tracks, n_factors), float32
    held_out : csr_matrix, shape (n_playlists, n_tracks)
        Above 0 where the playlist holds the track and the ranking should find it.
    seen : csr_matrix, shape (n_playlists, n_tracks), optional
        Above 0 where the playlist is known to hold the track, which therefore is no candidate.

    Returns
    -------
    HeldOutRanks

    Raises
    ------
    DataError
        Factors that are not finite matrices of one width; listening of another shape, negative or not finite;
        tracks both held out and seen; or nothing held out at all.
    """
    playlists = check_factors("playlist factors", playlist_factors)
    items = check_factors("item factors", item_factors)
    check_width(playlists, items)
    listening = _check_listening(held_out, seen, (len(playlists), len(items)))
    rows = np.flatnonzero(np.diff(listening.held_out.indptr))
    held_out, seen = listening.held_out[rows], listening.seen[rows]
    standings = count_ranks(dot_search(playlists, items, rows), held_out, seen)
    starts, places = held_out.indptr[:-1].astype(np.int64), standings.above + standings.earlier
    order = np.lexsort((places, np.repeat(rows, np.diff(held_out.indptr))))  # ascending for each playlist
    return HeldOutRanks(
        playlists=rows,
        n_candidates=len(items) - np.diff(seen.indptr).astype(np.int64),
        starts=starts,
        places=places[order],
        mid_ranks=(standings.above + (standings.equal - 1) / 2)[order],
        tied=np.maximum.reduceat(standings.equal, starts) > 1,
        n_playlists=len(playlists),
    )


def _check_listening(
    held_out: scipy.sparse.csr_matrix, seen: scipy.sparse.csr_matrix | None, shape: tuple[int, int]
) -> Listening:
    """Return both as checked matrices, `seen` empty for None; raise `DataError` if they make no sense together."""
    empty = scipy.sparse.csr_matrix(shape, dtype=np.float32)
    listening = Listening(
        _check_counts("held_out", held_out, shape),
        _check_counts("seen", empty if seen is None else seen, shape),
    )
    both = listening.held_out.multiply(listening.seen).nnz
    if both:
        raise DataError(
            "a track that a playlist has seen cannot be held out from it: expected no pair in both. "
            f"Received: {both} such pairs."
        )
    if not listening.held_out.nnz:
        raise DataError(
            "nothing is held out: expected at least one pair of playlist and track. Received: none."
        )
    return listening


def _check_counts(
    name: str, matrix: scipy.sparse.csr_matrix, shape: tuple[int, int]
) -> scipy.sparse.csr_matrix:
    """Return a copy whose stored entries are ones, with sorted columns."""
    if not scipy.sparse.issparse(matrix) or matrix.shape != shape:
        raise DataError(
            f"{name} is no listening of these playlists and tracks: expected a sparse matrix of shape {shape}. "
            f"Received: {type(matrix).__name__} of shape {np.shape(matrix)}."
        )
    counts = scipy.sparse.csr_matrix(matrix, dtype=np.float64, copy=True)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    if not np.isfinite(counts.data).all() or (counts.data < 0).any():
        raise DataError(f"{name} holds counts that are no counts: expected finite numbers of at least 0.")
    counts.data[:] = 1
    return counts
