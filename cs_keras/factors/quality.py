"""Quality of factors: how well they explain the interactions, and how many dimensions they use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError

RARE_INTERACTIONS = 5
PAIRS_PER_BLOCK = 1 << 16
LEAST_AGREEMENT = 0.5  # share of nearest tracks that two seeds should have in common
REPEATS = {"second_seed": "another seed agrees", "halves": "halves of the playlists agree"}
KINDS = {"similarity": "similarity", "dot": "dot product"}

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FactorQuality:
    """Metrics of how well factors describe the interactions.

    Parameters
    ----------
    explained_preference : float
        1 − Σ c(p − x·y)² / Σ c p² over all playlists and tracks; 1 is perfect, zero factors have 0.
    rank : int
        Numerical rank of the item factors, as `numpy.linalg.matrix_rank` defines it.
    effective_rank : float
        exp of the entropy of the singular values divided by their sum (Roy & Vetterli 2007): from 1 to the number
        of factors, which is reached when all directions have equal variance. 0 for zero factors.
    n_factors : int
        Columns of the item factors.
    rare_share : float
        Share of tracks in fewer than 5 playlists.
    """

    explained_preference: float
    rank: int
    effective_rank: float
    n_factors: int
    rare_share: float

    def describe(self) -> str:
        """Describe the metrics in one line."""
        return (
            f"explained preference {self.explained_preference:.4f}, rank {self.rank} and effective rank "
            f"{self.effective_rank:.1f} of {self.n_factors} factors, {self.rare_share:.1%} of tracks with fewer "
            f"than {RARE_INTERACTIONS} interactions"
        )


def describe_agreement(quality: Mapping[str, Any]) -> str:
    """Return in one line the agreement of fits on the shortest lists of test tracks; empty if it was not measured.

    Parameters
    ----------
    quality : mapping
        `cs_keras.factors.store.Factors.quality`; ``ceiling`` holds k and overlap for each list length, by
        ``second_seed`` or ``halves`` and by ``similarity`` or ``dot``.
    """
    ceiling, parts = quality.get("ceiling", {}), []
    for name in filter(ceiling.__contains__, REPEATS):
        first = {kind: ceiling[name][kind][0] for kind in KINDS}
        shares = [
            f"{row['overlap']:.1%} by {KINDS[kind]}"
            for kind, row in first.items()
            if row["overlap"] is not None
        ]
        if shares:
            parts.append(f"{REPEATS[name]} on {' and '.join(shares)} of the top {first['similarity']['k']}")
    return "; ".join(parts)


def describe_cross_fitting(crossed: Mapping[str, Any]) -> str:
    """Return in one line how train tracks were cross-fitted: ``cross_fitting`` of `Factors.quality`."""
    residuals, n_lost = crossed["residuals"], crossed["n_lost_tracks"]
    lost = f"; {n_lost} train tracks without factors there" if n_lost else ""
    return (
        f"cross-fitted by {len(residuals)} fits, whose playlist factors, rotated, differ from the main fit by "
        f"{min(residuals):.1%} to {max(residuals):.1%} of the sum of squares{lost}"
    )


def warn_of_noise(quality: Mapping[str, Any]) -> str | None:
    """Return a warning if two seeds agree on less than half of the nearest tracks; else None."""
    row = quality.get("ceiling", {}).get("second_seed", {}).get("similarity", [{}])[0]
    overlap = row.get("overlap")
    if overlap is None or overlap >= LEAST_AGREEMENT:
        return None
    return (
        f"Another seed agrees on only {overlap:.1%} of each test track's {row['k']} nearest: most "
        "neighbours are noise, which no model can predict; try fewer factors or a smaller alpha."
    )


def measure_quality(
    user_items: scipy.sparse.csr_matrix,
    item_factors: FloatArray,
    playlist_factors: FloatArray,
    *,
    alpha: float,
) -> FactorQuality:
    """Measure the quality of factors on the interactions they were fitted to.

    Parameters
    ----------
    user_items : csr_matrix, shape (n_playlists, n_tracks)
        Weights of counts (`cs_keras.factors.wmf.weigh_counts`), none negative, at least one above 0.
    item_factors : ndarray of float32, shape (n_tracks, n_factors)
    playlist_factors : ndarray of float32, shape (n_playlists, n_factors)
    alpha : float
        α of the confidence c = 1 + αw.

    Returns
    -------
    FactorQuality

    Raises
    ------
    DataError
        The shapes do not match, or there are no interactions.
    """
    shape = (len(playlist_factors), len(item_factors))
    if user_items.shape != shape or item_factors.shape[1:] != playlist_factors.shape[1:]:
        raise DataError(
            f"user_items must be playlists × tracks of the factors. Received: user_items {user_items.shape}, "
            f"playlist_factors {playlist_factors.shape}, item_factors {item_factors.shape}."
        )
    counts = scipy.sparse.csr_matrix(user_items, dtype=np.float64, copy=True)
    counts.eliminate_zeros()
    if counts.nnz == 0:
        raise DataError("expected at least one count above 0. Received: none.")
    n_playlists = np.bincount(counts.indices, minlength=len(item_factors))
    rank, effective_rank = _ranks(item_factors)
    return FactorQuality(
        explained_preference=_explained_preference(counts, item_factors, playlist_factors, alpha),
        rank=rank,
        effective_rank=effective_rank,
        n_factors=item_factors.shape[1],
        rare_share=float((n_playlists < RARE_INTERACTIONS).mean()),
    )


def _explained_preference(
    counts: scipy.sparse.csr_matrix, item_factors: FloatArray, playlist_factors: FloatArray, alpha: float
) -> float:
    x, y = playlist_factors.astype(np.float64), item_factors.astype(np.float64)
    pairs = counts.tocoo()
    confidence = 1 + alpha * pairs.data
    # First as if there were no interactions, p = 0 and c = 1: Σ_ui (x_u·y_i)² from the two Gram matrices.
    error = float(np.sum((x.T @ x) * (y.T @ y)))
    for start in range(0, len(confidence), PAIRS_PER_BLOCK):  # then correct the stored pairs
        block = slice(start, start + PAIRS_PER_BLOCK)
        score = np.einsum("nf,nf->n", x[pairs.row[block]], y[pairs.col[block]])
        error += float(np.sum(confidence[block] * (1 - score) ** 2 - score**2))
    return 1 - error / float(confidence.sum())


def _ranks(factors: FloatArray) -> tuple[int, float]:
    singular = np.linalg.svd(factors, compute_uv=False).astype(np.float64)
    if not singular.any():
        return 0, 0.0
    tolerance = singular.max() * max(factors.shape) * np.finfo(factors.dtype).eps
    share = singular[singular > 0] / singular.sum()
    return int((singular > tolerance).sum()), float(np.exp(-np.sum(share * np.log(share))))
