"""Predicted factors combined with fold-ins of a track's first interactions.

Folding in a track's first few playlists gives noisy factors. Weighting, switching and cascades are ways to combine
recommenders that Burke lists ("Hybrid Recommender Systems: Survey and Experiments", 2002). Content-boosted fold-ins
are solved in `cs_keras.factors.wmf`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy.stats import rankdata

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array
from cs_keras.evaluation.rank_fusion import Score
from cs_keras.evaluation.search.search import Int64Array
from cs_keras.run_files.evaluation import OverlapAtK

FloatArray = npt.NDArray[np.float32]

SOUND, LISTENING, SWITCHING, WEIGHTING, CASCADE, BOOSTED = PREDICTORS = (
    "sound",
    "listening",
    "switching",
    "weighting",
    "cascade",
    "content-boosted",
)
FILTERED, SIMILARITY, DOT = KINDS = ("filtered", "similarity", "dot")
HALF_TRUSTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # playlists at which both weigh the same
TIER_SIZES = (1, 10, 20, 50, 100, 200, 500, 1000)  # candidates of a cascade's tier


@dataclass(frozen=True)
class HybridResults:
    """Overlap of hybrid lists with the lists of held-out interactions.

    Attributes
    ----------
    k : int
        List length.
    overlap : mapping
        By kind of list, predictor and number of playlists a track was folded in with; ``listening`` has none for 0.
        Artist-filtered lists where artists are known.
    half_trust : float
        Parameter of ``weighting``, chosen on validation tracks: the number of playlists at which both weights are
        equal.
    threshold : int or None
        Parameter of ``switching``, chosen likewise: from this number of playlists on, fold-ins replace
        predictions; None for never.
    half_fill : float
        Parameter of ``content-boosted``, chosen likewise: the number of playlists at which half of a predicted
        preference is filled in.
    tier_sizes : mapping
        Parameter of ``cascade`` for each number of playlists above 0, chosen by validation lists: the candidates
        of a tier.
    n_validation, n_test : int
        Tracks with enough playlists for both fold-in and evaluation.
    n_test_in_all : int
        Test tracks with any interactions.
    """

    k: int
    overlap: Mapping[str, Mapping[str, Mapping[int, OverlapAtK]]]
    half_trust: float
    threshold: int | None
    half_fill: float
    tier_sizes: Mapping[int, int]
    n_validation: int
    n_test: int
    n_test_in_all: int


@dataclass(frozen=True, eq=False)
class SplitInteractions:
    """Interactions of some tracks, split into a part for fold-ins and a held-out part for evaluation.

    Attributes
    ----------
    tracks : ndarray of int64, shape (n_chosen,)
        Columns with enough playlists.
    rest : csr_matrix, shape (n_playlists, n_chosen)
        Held-out interactions, which the evaluation uses.
    order : csr_matrix of int, shape (n_playlists, n_chosen)
        Position, from 1, of each pair available for fold-ins.
    counts : csr_matrix, shape (n_playlists, n_chosen)
        Counts of the same pairs.
    """

    tracks: npt.NDArray[np.int64]
    rest: scipy.sparse.csr_matrix
    order: scipy.sparse.csr_matrix
    counts: scipy.sparse.csr_matrix

    def select_first(self, n: int) -> scipy.sparse.csr_matrix:
        """Return the first `n` playlists of each track, shape (n_playlists, n_chosen)."""
        selected = self.counts.copy()
        selected.data = np.where(self.order.data <= n, selected.data, 0)
        selected.eliminate_zeros()
        return selected


def split_interactions(user_items: scipy.sparse.csr_matrix, n_first: int, seed: int) -> SplitInteractions:
    """Split the playlists of each track at random: `n_first` for fold-ins, at least as many held out.

    Parameters
    ----------
    user_items : csr_matrix, shape (n_playlists, n_tracks)
        Counts above 0, no pair stored twice.
    n_first : int
        At least 1.
    seed : int

    Returns
    -------
    SplitInteractions
        Interactions of the tracks in at least ``2 * n_first`` playlists.

    Raises
    ------
    DataError
        There is no such track.
    """
    by_track = user_items.tocsc()
    n_playlists = np.diff(by_track.indptr)
    tracks = np.flatnonzero(n_playlists >= 2 * n_first)
    if not len(tracks):
        raise DataError(
            f"expected tracks in at least {2 * n_first} playlists: {n_first} to fold in and as many held out. "
            f"Received: at most {n_playlists.max(initial=0)}; use fewer interactions."
        )
    pairs = by_track[:, tracks].tocoo()
    shuffled = np.lexsort((np.random.default_rng(seed).random(pairs.nnz), pairs.col))  # random, by track
    ends = np.cumsum(np.bincount(pairs.col, minlength=len(tracks)))
    position = np.empty(pairs.nnz, np.int64)
    position[shuffled] = np.arange(pairs.nnz) - np.concatenate([[0], ends])[pairs.col[shuffled]] + 1

    def matrix(values: npt.NDArray[Any], wanted: npt.NDArray[np.bool_]) -> scipy.sparse.csr_matrix:
        cells = (pairs.row[wanted], pairs.col[wanted])
        return scipy.sparse.csr_matrix((values[wanted], cells), pairs.shape)

    is_first = position <= n_first
    return SplitInteractions(
        tracks, matrix(pairs.data, ~is_first), matrix(position, is_first), matrix(pairs.data, is_first)
    )


def blend_factors(
    predicted: FloatArray, folded: FloatArray, n_playlists: npt.ArrayLike, half_trust: float
) -> FloatArray:
    """Return predicted factors turned towards folded-in ones, further with more playlists.

    With n playlists the direction is ``(h û + n f̂) / (h + n)``, of û, f̂ of length 1; the length stays that of the
    prediction, because fold-in from few playlists gives small norms for any track.

    Parameters
    ----------
    predicted, folded : ndarray of float32, shape (n_tracks, n_factors)
    n_playlists : array_like, shape (n_tracks,) or ()
        Playlists behind `folded`; 0 leaves the prediction as it is.
    half_trust : float
        h, above 0.

    Returns
    -------
    ndarray of float32, shape (n_tracks, n_factors)
    """
    share = np.broadcast_to(np.asarray(n_playlists, np.float64), len(predicted))
    share = (share / (share + half_trust))[:, np.newaxis]
    length = np.linalg.norm(predicted, axis=1, keepdims=True)
    mixed = (1 - share) * _unit(predicted) + share * _unit(folded)
    return np.asarray(_unit(mixed) * length, dtype=np.float32)


def switch_factors(
    predicted: FloatArray, folded: FloatArray, n_playlists: npt.ArrayLike, threshold: int | None
) -> FloatArray:
    """Return folded-in factors of tracks with at least `threshold` playlists, predicted ones of the others.

    Shapes are those of `blend_factors`; a threshold of None never switches.
    """
    if threshold is None:
        return predicted
    enough = np.broadcast_to(np.asarray(n_playlists) >= threshold, len(predicted))
    return np.where(enough[:, np.newaxis], folded, predicted)


def cascade_scores(first: Score, second: Score, tier_size: int) -> Score:
    """Return scores whose order is that of `first` between tiers and that of `second` within them.

    A tier has `tier_size` items, and more where `first` scores items equally: a tie is never split. With 1,
    `second` breaks the ties of `first` and nothing else, the cascade of Burke 2002; with as many as there are
    items, the order is that of `second`.
    """

    def score(rows: Int64Array) -> Float64Array:
        coarse = first(rows)
        tier = (rankdata(-coarse, axis=1, method="min") - 1) // tier_size
        rank = rankdata(-second(rows), axis=1)
        return np.where(np.isneginf(coarse), -np.inf, -tier * (coarse.shape[1] + 1.0) - rank)

    return score


def mean_cosine(reference: FloatArray, factors: FloatArray) -> float:
    """Return the mean cosine of paired rows; a row of zeros has cosine 0 with any."""
    return float((_unit(reference) * _unit(factors)).sum(axis=1).mean())


def _unit(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1))
