import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.factors import quality
from cs_keras.factors.quality import measure_quality
from tests.factors.plays import random_counts


@pytest.mark.parametrize("pairs_per_block", [1, 7, 1 << 16])
def test_explained_preference_against_dense(monkeypatch, pairs_per_block):
    monkeypatch.setattr(quality, "PAIRS_PER_BLOCK", pairs_per_block)
    rng = np.random.default_rng(0)
    user_items = random_counts(30, 20)
    x, y = (rng.normal(0, 0.4, (n, 5)).astype(np.float32) for n in (30, 20))
    r = user_items.toarray().astype(np.float64)
    c, p = 1 + 3 * r, r > 0
    expected = 1 - np.sum(c * (p - x.astype(np.float64) @ y.T.astype(np.float64)) ** 2) / np.sum(c * p)
    measured = measure_quality(user_items, y, x, alpha=3.0).explained_preference
    assert measured == pytest.approx(expected, rel=1e-12)  # float64 on both sides, added in another order


def test_perfect_and_zero_factors():
    holds = np.kron(np.eye(2), np.ones((4, 3)))  # two groups of playlists, each with its own tracks
    x, y = np.repeat(np.eye(2), 4, axis=0), np.repeat(np.eye(2), 3, axis=0)
    user_items = scipy.sparse.csr_matrix(holds)
    perfect = measure_quality(user_items, y.astype(np.float32), x.astype(np.float32), alpha=40.0)
    assert perfect.explained_preference == 1
    assert (perfect.rank, perfect.n_factors) == (2, 2)
    assert perfect.effective_rank == pytest.approx(2)  # two equal singular values
    nothing = measure_quality(user_items, np.zeros((6, 2), np.float32), x.astype(np.float32), alpha=40.0)
    assert (nothing.explained_preference, nothing.rank, nothing.effective_rank) == (0, 0, 0)


def test_ranks_of_known_spectra():
    rng = np.random.default_rng(1)
    left, _ = np.linalg.qr(rng.normal(size=(50, 6)))
    right, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    playlists, user_items = np.zeros((30, 6), np.float32), random_counts(30, 50)
    for spectrum, effective in (([4, 4, 4, 0, 0, 0], 3.0), ([3, 1, 0, 0, 0, 0], 4 / 3**0.75)):
        items = (left * spectrum @ right.T).astype(np.float32)
        measured = measure_quality(user_items, items, playlists, alpha=1.0)
        assert measured.rank == np.linalg.matrix_rank(items) == np.count_nonzero(spectrum)
        assert measured.effective_rank == pytest.approx(effective, rel=1e-3)  # rounding leaves 1e-7 per zero


def test_rare_tracks_have_fewer_than_five_playlists_however_often_played():
    holds = np.zeros((6, 3))
    holds[:4, 0], holds[:5, 1] = 100, 1  # 4 and 5 interactions; track 2 has none
    zeros = np.zeros((6, 2), np.float32)
    measured = measure_quality(scipy.sparse.csr_matrix(holds), zeros[:3], zeros, alpha=1.0)
    assert measured.rare_share == pytest.approx(2 / 3)
    assert measured.describe() == (
        "explained preference 0.0000, rank 0 and effective rank 0.0 of 2 factors, "
        "66.7% of tracks with fewer than 5 interactions"
    )


def test_bad_arguments():
    factors = np.zeros((4, 2), np.float32)
    with pytest.raises(DataError, match=r"playlists × tracks .* Received: user_items \(4, 3\)"):
        measure_quality(scipy.sparse.csr_matrix((4, 3)), factors, factors, alpha=1.0)
    with pytest.raises(DataError, match="expected at least one count above 0"):
        measure_quality(scipy.sparse.csr_matrix((4, 4)), factors, factors, alpha=1.0)
