"""Number of candidates above each held-out track, by comparing its score with those of all candidates.

Scores of high parts alone, a third of the work, separate nearly all of them. Pairs closer than the error bound are
scored in full: one by one, or a whole block where there are many, as for a predictor that ties most tracks.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.evaluation.search.exact import Float64Array, paired_products, split
from cs_keras.evaluation.search.search import PAIRS_PER_BLOCK, Int64Array, ScoreBlock, Search, blocks

MANY_HELD_OUT = 64  # of a playlist: sorting all scores is then faster than comparing each of these with all
FEW = 1 / 256  # up to this share of all pairs, undecided ones are scored faster one by one


class _HeldOut(NamedTuple):
    """Held-out tracks of some playlists: rows, columns and scores of the pairs, all of shape (n_pairs,)."""

    playlists: Int64Array
    columns: Int64Array
    scores: Float64Array


def count_ranks(
    search: Search, held_out: scipy.sparse.csr_matrix, seen: scipy.sparse.csr_matrix
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Compare the score of every held-out track with those of all candidates of its playlist.

    `held_out` and `seen` hold ones, shape (n_playlists, n_tracks), with sorted columns; the queries of `search` are
    the playlists. Seen tracks are no candidates.

    Returns
    -------
    above, equal, earlier : ndarray of int64, shape (n_held_out,)
        Candidates with a larger score; with the same score, itself included; and those among the ties that
        precede it in row order. In the order of the entries of `held_out`.
    """
    counts = np.zeros((3, held_out.nnz), dtype=np.int64)  # above, equal, earlier
    playlists = np.repeat(np.arange(search.n_queries), np.diff(held_out.indptr))
    scores = _score_held_out(search, playlists, held_out.indices)
    for block in search.score_blocks():
        own = slice(held_out.indptr[block.queries.start], held_out.indptr[block.queries.stop])
        pairs = _HeldOut(
            playlists[own] - block.queries.start, held_out.indices[own] - block.items.start, scores[own]
        )
        counts[:, own] += _compare(block, pairs, seen[block.queries, block.items])
    above, equal, earlier = counts
    return above, equal, earlier


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
    scores, error = _mask_seen(block.rough_scores(), seen), block.error
    above, near = _count(scores, pairs, error)
    undecided = near > is_inside  # others than the track itself are near
    if near[undecided].sum() > FEW * scores.size:
        scores, error = _mask_seen(block.scores(), seen), 0.0
        above, near = _count(scores, pairs, error)
        undecided = near > is_inside
    counts = np.stack((above, near, np.zeros_like(near)))
    for pair in np.flatnonzero(undecided):
        counts[:, pair] += _correct(block, scores, error, pairs, pair)
    return counts


def _mask_seen(scores: Float64Array, seen: scipy.sparse.csr_matrix) -> Float64Array:
    """Exclude seen tracks from the candidates, in place."""
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


def _correct(
    block: ScoreBlock, scores: Float64Array, error: float, pairs: _HeldOut, pair: int
) -> tuple[int, int, int]:
    """Return corrections of one held-out track's counts, from full scores of what lies within `error` of it."""
    playlist, own_score = pairs.playlists[pair], pairs.scores[pair]
    candidates = scores[playlist]
    near = np.flatnonzero((candidates >= own_score - error) & (candidates <= own_score + error))
    exact = block.scores_of(np.full(len(near), playlist), near) if error else candidates[near]
    is_equal = exact == own_score
    n_equal = np.count_nonzero(is_equal)
    n_earlier = np.count_nonzero(near[is_equal] < pairs.columns[pair])
    return np.count_nonzero(exact > own_score), n_equal - len(near), n_earlier
