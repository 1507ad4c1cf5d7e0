"""Listening whose right answer is known by construction, and the dense formulas to check against."""

import numpy as np
import scipy.sparse


def checkerboard(n_playlists=30, n_tracks=20):
    """Even playlists hold even tracks, odd ones odd tracks; the diagonal is left out, to be predicted."""
    rows, columns = np.indices((n_playlists, n_tracks))
    holds = ((rows + columns) % 2 == 0) & (rows != columns)
    return scipy.sparse.csr_matrix(holds.astype(np.float32))


def random_counts(n_playlists, n_tracks, *, density=0.2, seed=0):
    rng = np.random.default_rng(seed)
    holds = rng.random((n_playlists, n_tracks)) < density
    return scipy.sparse.csr_matrix((holds * rng.integers(1, 6, holds.shape)).astype(np.float32))


def solve_items(user_items, playlist_factors, *, alpha, regularization):
    """Hu et al. 2008, equation 5, dense in float64: (XᵀC_iX + λI)⁻¹ XᵀC_i p_i for each track i."""
    x = playlist_factors.astype(np.float64)
    counts = user_items.toarray().astype(np.float64)
    ridge = regularization * np.eye(x.shape[1])
    return np.stack(
        [
            np.linalg.solve(x.T @ np.diag(1 + alpha * r) @ x + ridge, x.T @ ((1 + alpha * r) * (r > 0)))
            for r in counts.T
        ]
    )


def solve_as_spark(user_items, playlist_factors, *, alpha, regularization):
    """The same with Spark's penalty, which is multiplied by the number of a track's interactions."""
    n = np.asarray((user_items > 0).sum(axis=0)).ravel()
    solved = [
        solve_items(user_items[:, [i]], playlist_factors, alpha=alpha, regularization=regularization * n[i])
        for i in range(user_items.shape[1])
    ]
    return np.concatenate(solved)
