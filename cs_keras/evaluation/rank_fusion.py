"""Reciprocal rank fusion of several rankings, for top-k lists and for the ranks of held-out tracks.

Cormack, Clarke & Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
methods": for each query an item's score is the sum over rankings of 1 / (60 + rank), ranks from 1. Ties have the
mean of their ranks here, so that a ranking fused with itself stays the same, ties included; scores that differ by
float32 rounding alone are not ties. Every ranking covers all items, by exact scores
(`cs_keras.evaluation.search.search`), for a block of queries at a time, whose size does not affect the results.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy.stats import rankdata

from cs_keras.evaluation.checks import Float64Array, FloatArray, check_factors, check_width
from cs_keras.evaluation.search.held_out_ranks import HeldOutRanks, require_held_out
from cs_keras.evaluation.search.search import (
    Int64Array,
    blocks,
    cosine_search,
    dot_search,
    euclidean_search,
)
from cs_keras.evaluation.search.topk import Metric, TopK

CONSTANT = 60  # of the source, which found it to be "near-optimal, but that the choice is not critical"
BLOCK_SCORES = 2**21  # of queries times items at a time: 17 MB for each ranking

Score = Callable[[Int64Array], Float64Array]
"""From query rows to scores of all items, shape (n_rows, n_items), float64; -inf for a row's own item."""


def similarity_scores(factors: npt.ArrayLike, metric: Metric = "cosine") -> Score:
    """Return a function from rows of `factors`, shape (n_items, n_factors), float32, to their similarity with all.

    Raises
    ------
    DataError
        Not a finite factor matrix.
    """
    checked = check_factors("factors", factors)
    find = cosine_search if metric == "cosine" else euclidean_search
    return lambda rows: find(checked, rows).score_all()


def dot_scores(playlist_factors: npt.ArrayLike, item_factors: npt.ArrayLike) -> Score:
    """Return a function from playlists to their dot products with all items; factors have shape (n, n_factors).

    Raises
    ------
    DataError
        Not finite factor matrices of one width.
    """
    playlists = check_factors("playlist factors", playlist_factors)
    items: FloatArray = check_factors("item factors", item_factors)
    check_width(playlists, items)
    return lambda rows: dot_search(playlists, items, rows).score_all()


def fuse_ranks(members: Sequence[Score]) -> Score:
    """Return the scores of the reciprocal rank fusion of `members`, independent of their order."""

    def score(rows: Int64Array) -> Float64Array:
        shares = []
        for member in members:
            scores = member(rows)
            shares.append(np.where(np.isneginf(scores), -np.inf, 1 / (CONSTANT + _ranks(scores))))
        # Sorted, so that items with the same ranks in any order of members have the same sum to the last bit.
        return np.asarray(np.sort(shares, axis=0).sum(axis=0))

    return score


def top_k_scored(score: Score, lists: TopK) -> TopK:
    """Return the best items by `score` for the queries of other lists, of the same length."""
    n_queries, k = len(lists.queries), lists.k
    indices, ties = np.empty((n_queries, k), np.int32), np.zeros((n_queries, k), bool)
    for block, found in score_blocks(score, lists.queries, lists.n_items):
        order = np.argsort(-found, axis=1, kind="stable")[:, : k + 1]
        best = np.take_along_axis(found, order, axis=1)
        indices[block] = order[:, :k]
        ties[block, : order.shape[1] - 1] = best[:, :-1] == best[:, 1:]
    return TopK(indices, ties, lists.queries, lists.n_items, lists.metric)


def mean_scores(score: Score, lists: TopK) -> Float64Array:
    """Return the mean score of each item over the queries of `lists`, shape (n_items,)."""
    sums = sum(found.sum(axis=0) for _, found in score_blocks(score, lists.queries, lists.n_items))
    return np.asarray(sums / len(lists.queries))


def rank_held_out_by_score(score: Score, held_out: scipy.sparse.csr_matrix) -> HeldOutRanks:
    """Rank all items by `score` and return the ranks of those held out, as `find_held_out_ranks` does.

    Parameters
    ----------
    score
        Scores of playlists, the rows of `held_out`.
    held_out : csr_matrix, shape (n_playlists, n_items)
        Above 0 where the playlist should retrieve the item.

    Raises
    ------
    DataError
        Nothing is held out.
    """
    relevant = scipy.sparse.csr_matrix(held_out > 0)
    relevant.sort_indices()
    rows = require_held_out(relevant)
    relevant = relevant[rows]
    ranks, mid_ranks = np.empty(relevant.nnz, np.int64), np.empty(relevant.nnz)
    tied = np.zeros(len(rows), np.bool_)
    for block, block_scores in score_blocks(score, rows, relevant.shape[1]):
        block_mid_ranks = _ranks(block_scores) - 1
        for row, (scores, mid) in enumerate(zip(block_scores, block_mid_ranks, strict=True), block.start):
            own = slice(relevant.indptr[row], relevant.indptr[row + 1])
            columns = relevant.indices[own]
            rank = np.empty(len(scores), np.int64)
            rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
            order = np.argsort(rank[columns])
            ranks[own], mid_ranks[own] = rank[columns][order], mid[columns][order]
            tied[row] = any(np.count_nonzero(scores == scores[column]) > 1 for column in columns)
    return HeldOutRanks(
        playlists=rows,
        n_candidates=np.full(len(rows), relevant.shape[1], np.int64),
        starts=relevant.indptr[:-1].astype(np.int64),
        ranks=ranks,
        mid_ranks=mid_ranks,
        tied=tied,
        n_playlists=held_out.shape[0],
    )


def _ranks(scores: Float64Array) -> Float64Array:
    """Return ranks along the last axis, from 1 for the largest; ties have the mean of theirs."""
    return np.asarray(rankdata(-scores, axis=1))


def score_blocks(score: Score, rows: Int64Array, n_items: int) -> Iterator[tuple[slice, Float64Array]]:
    """Yield blocks of `rows` and their scores of all items, shape (n_rows of the block, n_items)."""
    for block in blocks(len(rows), max(1, BLOCK_SCORES // n_items)):
        yield block, score(rows[block])
