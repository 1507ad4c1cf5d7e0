"""Reciprocal rank fusion, against rankings sorted whole."""

import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation import rank_fusion
from cs_keras.evaluation.overlap import compare_lists, rank_predicted, rank_reference
from cs_keras.evaluation.rank_fusion import (
    dot_scores,
    fuse_ranks,
    rank_held_out_by_score,
    similarity_scores,
    top_k_scored,
)
from cs_keras.evaluation.search.held_out_ranks import find_held_out_ranks
from cs_keras.evaluation.search.topk import top_k_dot, top_k_similar

N, F, U = 90, 6, 25


def factors(n, seed, f=F):
    """Whole numbers, so that some tracks tie."""
    return np.random.default_rng(seed).integers(-2, 3, (n, f)).astype(np.float32)


def mean_ranks(scores):
    """Rank from 1, equals the mean of theirs: the number above, and half of the other equals."""
    above = (scores[np.newaxis] > scores[:, np.newaxis]).sum(axis=1)
    equal = (scores[np.newaxis] == scores[:, np.newaxis]).sum(axis=1)
    return above + (equal + 1) / 2


def fused_by_hand(members):
    """Scores of one query by each member, shape (n_members, n_items), to the sum of 1 / (60 + rank)."""
    return np.sum([1 / (60 + mean_ranks(scores)) for scores in members], axis=0)


def cosines(x, row):
    """Those of all other rows; with a row of zeros 0."""
    lengths = np.linalg.norm(x.astype(float), axis=1)
    products = x.astype(float) @ x[row].astype(float)
    found = np.divide(
        products, lengths * lengths[row], out=np.zeros(len(x)), where=lengths * lengths[row] > 0
    )
    return np.delete(found, row)


def test_fused_lists_of_tracks_are_those_of_all_ranks():
    members = [np.random.default_rng(seed).normal(size=(N, F)).astype(np.float32) for seed in range(3)]
    members[1][[8, 30]] = 0  # one of them is a query, for which all others are equal
    score = fuse_ranks([similarity_scores(x) for x in members])
    rows = np.arange(0, N, 4)
    found = score(rows)
    for row, own in zip(rows, found, strict=True):
        assert own[row] == -np.inf
        expected = fused_by_hand([cosines(x, row) for x in members])
        np.testing.assert_allclose(np.delete(own, row), expected, rtol=1e-12)  # another order of the sum


def test_fused_lists_of_playlists_are_those_of_all_ranks():
    playlists, members = factors(U, 9), [factors(N, seed) for seed in range(2)]
    found = fuse_ranks([dot_scores(playlists, x) for x in members])(np.arange(U))
    for row in range(U):
        expected = fused_by_hand([x.astype(float) @ playlists[row] for x in members])
        np.testing.assert_allclose(found[row], expected, rtol=1e-12)


@pytest.mark.parametrize("block", [1, 2**21])
def test_a_member_fused_with_itself_changes_nothing(block, monkeypatch):
    monkeypatch.setattr(rank_fusion, "BLOCK_SCORES", block)
    x, playlists = factors(N, 0), factors(U, 1)
    for metric in ("cosine", "euclidean"):
        alone, lists = similarity_scores(x, metric), top_k_similar(x, 20, metric=metric)
        twice = top_k_scored(fuse_ranks([alone, alone]), lists)
        assert np.array_equal(twice.indices, lists.indices) and twice.metric == metric
    products = dot_scores(playlists, x)
    for k in (10, N):
        lists = top_k_dot(playlists, x, k)
        twice = top_k_scored(fuse_ranks([products, products]), lists)
        assert np.array_equal(twice.indices, lists.indices)
        assert np.array_equal(twice.tied, lists.tied) and lists.tied.any() == (k < N)
    holds = np.random.default_rng(2).random((U, N)) < 0.1
    holds[3] = False
    held_out = scipy.sparse.csr_matrix(holds.astype(np.float32))
    found = rank_held_out_by_score(fuse_ranks([products, products]), held_out)
    expected = find_held_out_ranks(playlists, x, held_out)
    for name in ("playlists", "n_candidates", "starts", "ranks", "mid_ranks", "tied", "n_playlists"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


def test_lists_do_not_depend_on_the_order_of_members():
    x = [similarity_scores(factors(N, seed)) for seed in range(3)]
    rows = np.arange(N)
    assert np.array_equal(fuse_ranks(x)(rows), fuse_ranks([x[2], x[0], x[1]])(rows))


def test_two_noisy_halves_are_better_together():
    """Each member errs by noise of its own, as large as what it is to find: together they err by less."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(300, 8)).astype(np.float32)
    members = [truth + rng.normal(size=truth.shape).astype(np.float32) for _ in range(2)]
    lists = rank_reference(truth, ks=(10,))

    def overlap(found):
        (one,) = compare_lists(lists, found, (10,), n_permutations=9, seed=0)
        return one.at_k

    alone = [overlap(rank_predicted(lists, x)) for x in members]
    together = overlap(top_k_scored(fuse_ranks([similarity_scores(x) for x in members]), lists))
    assert together.low > max(row.overlap for row in alone)


def test_nothing_held_out_is_refused():
    x = factors(N, 0)
    with pytest.raises(DataError, match="nothing is held out"):
        rank_held_out_by_score(dot_scores(x, x), scipy.sparse.csr_matrix((N, N)))
