"""How many candidates stand above each held-out track: its score compared with those of all.

Scores of high parts alone, a third of the work, tell nearly all of them apart. What lies closer than their error is
scored in full: one by one, or all of a block where that is much, as of a predictor that ties most tracks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.evaluation.search.exact import Float64Array, paired_products, split
from cs_keras.evaluation.search.search import PAIRS_PER_BLOCK, Int64Array, ScoreBlock, Search, blocks

MANY_HELD_OUT = 64  # of a playlist: to sort all scores is faster then than to compare each of these with all
FEW = 1 / 256  # pairs too close to tell, up to this share of all, are scored faster one by one


@dataclass(frozen=True)
class RankCounts:
    """Where held-out tracks stand, playlist after playlist; all of shape (n_held_out,), int64.

    Attributes
    ----------
    above : numpy.ndarray
        Candidates of a larger score.
    equal : numpy.ndarray
        Candidates of the same score, itself included.
    earlier : numpy.ndarray
        Those among the equals that come before it in row order.
    """

    above: Int64Array
    equal: Int64Array
    earlier: Int64Array


@dataclass(frozen=True)
class _HeldOut:
    """The held-out tracks of some playlists: rows, columns and scores of the pairs, all of shape (n_pairs,)."""

    playlists: Int64Array
    columns: Int64Array
    scores: Float64Array


def count_ranks(
    search: Search, held_out: scipy.sparse.csr_matrix, seen: scipy.sparse.csr_matrix
) -> RankCounts:
    """Compare the score of every held-out track with those of all candidates of its playlist.

    Parameters
    ----------
    search : Search
        By dot product; its queries are the playlists.
    held_out, seen : csr_matrix, shape (n_playlists, n_tracks)
        Ones, with sorted columns. What is seen is no candidate.

    Returns
    -------
    RankCounts
        In the order of the entries of `held_out`.
    """
    counts = np.zeros((3, held_out.nnz), dtype=np.int64)
    playlists = np.repeat(np.arange(search.n_queries), np.diff(held_out.indptr))
    scores = _score_held_out(search, playlists, held_out.indices)
    for block in search.score_blocks():
        own = slice(held_out.indptr[block.queries.start], held_out.indptr[block.queries.stop])
        pairs = _HeldOut(
            playlists[own] - block.queries.start, held_out.indices[own] - block.items.start, scores[own]
        )
        counts[:, own] += _compare(block, pairs, seen[block.queries, block.items])
    return RankCounts(*counts)


def _score_held_out(search: Search, playlists: Int64Array, columns: npt.ArrayLike) -> Float64Array:
    """Return the scores of pairs of playlist and track, shape (n_pairs,)."""
    items, scores = np.asarray(columns, dtype=np.int64), np.empty(len(playlists))
    for pairs in blocks(len(scores), PAIRS_PER_BLOCK):
        rows = search.query_rows(playlists[pairs]), search.item_rows(items[pairs])
        scores[pairs] = paired_products(split(rows[0]), split(rows[1]))
    return scores


def _compare(block: ScoreBlock, pairs: _HeldOut, seen: scipy.sparse.csr_matrix) -> Int64Array:
    """Count above, equal and earlier among the items of a block: shape (3, n_pairs)."""
    is_inside = (pairs.columns >= 0) & (pairs.columns < seen.shape[1])
    scores, error = _hide(block.rough_scores(), seen), block.error
    above, near = _count(scores, pairs, error)
    doubtful = near > is_inside  # what is near beside the track itself
    if near[doubtful].sum() > FEW * scores.size:
        scores, error = _hide(block.scores(), seen), 0.0
        above, near = _count(scores, pairs, error)
        doubtful = near > is_inside
    counts = np.stack((above, near, np.zeros_like(near)))
    for pair in np.flatnonzero(doubtful):
        counts[:, pair] += _settle(block, scores, error, pairs, pair)
    return counts


def _hide(scores: Float64Array, seen: scipy.sparse.csr_matrix) -> Float64Array:
    """Take what is seen out of the candidates, in place."""
    if seen.nnz:
        scores[seen.nonzero()] = -np.inf
    return scores


def _count(scores: Float64Array, pairs: _HeldOut, error: float) -> tuple[Int64Array, Int64Array]:
    """Return how many scores lie above that of each held-out track by more than `error`, and how many within it."""
    above, not_below = np.zeros((2, len(pairs.scores)), dtype=np.int64)
    ends = np.searchsorted(pairs.playlists, np.arange(len(scores) + 1))
    for playlist, candidates in enumerate(scores):
        own = slice(ends[playlist], ends[playlist + 1])
        low, high = pairs.scores[own] - error, pairs.scores[own] + error
        if len(low) > MANY_HELD_OUT:
            ordered = np.sort(candidates)
            above[own] = len(ordered) - np.searchsorted(ordered, high, side="right")
            not_below[own] = len(ordered) - np.searchsorted(ordered, low, side="left")
        else:
            above[own] = [np.count_nonzero(candidates > score) for score in high]
            not_below[own] = [np.count_nonzero(candidates >= score) for score in low]
    return above, not_below - above


def _settle(
    block: ScoreBlock, scores: Float64Array, error: float, pairs: _HeldOut, pair: int
) -> tuple[int, int, int]:
    """Return what is to be added for one held-out track after a full look at what scores within `error` of it."""
    playlist, wanted = pairs.playlists[pair], pairs.scores[pair]
    candidates = scores[playlist]
    near = np.flatnonzero((candidates >= wanted - error) & (candidates <= wanted + error))
    found = block.scores_of(np.full(len(near), playlist), near) if error else candidates[near]
    is_equal = found == wanted
    n_equal = np.count_nonzero(is_equal)
    n_earlier = np.count_nonzero(near[is_equal] < pairs.columns[pair])
    return np.count_nonzero(found > wanted), n_equal - len(near), n_earlier
