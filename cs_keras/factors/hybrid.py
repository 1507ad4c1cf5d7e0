"""Sound and a little listening together: what predicted factors are still good for once a track has been heard.

A track's first few playlists give it factors by folding in, noisy ones. Weighting and switching are two of the ways
to combine recommenders that Burke lists ("Hybrid Recommender Systems: Survey and Experiments", 2002).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError

FloatArray = npt.NDArray[np.float32]

HALF_TRUSTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # listens at which both count alike


@dataclass(frozen=True, eq=False)
class Parted:
    """Listening of some tracks, parted in what is given and what they are judged by.

    Attributes
    ----------
    tracks : ndarray of int64, shape (n_kept,)
        Columns that have enough of it.
    rest : csr_matrix, shape (n_playlists, n_kept)
        What is never given.
    order : csr_matrix, shape (n_playlists, n_kept)
        What can be given: the same pairs that `rest` lacks, each with its place from 1, as an integer.
    counts : csr_matrix, shape (n_playlists, n_kept)
        Their counts.
    """

    tracks: npt.NDArray[np.int64]
    rest: scipy.sparse.csr_matrix
    order: scipy.sparse.csr_matrix
    counts: scipy.sparse.csr_matrix

    def given(self, n_listens: int) -> scipy.sparse.csr_matrix:
        """Return the first `n_listens` playlists of each track, shape (n_playlists, n_kept)."""
        return _keep(self.counts, self.order.data <= n_listens)


def part_listens(user_items: scipy.sparse.csr_matrix, n_given: int, seed: int) -> Parted:
    """Part the playlists of each track at random: `n_given` that may be given, and at least as many others.

    Parameters
    ----------
    user_items : csr_matrix, shape (n_playlists, n_tracks)
        Counts above 0, no pair stored twice.
    n_given : int
        At least 1.
    seed : int

    Returns
    -------
    Parted
        Of the tracks that ``2 * n_given`` playlists hold.

    Raises
    ------
    DataError
        When there is no such track.
    """
    by_track = user_items.tocsc()
    n_held = np.diff(by_track.indptr)
    tracks = np.flatnonzero(n_held >= 2 * n_given)
    if not len(tracks):
        raise DataError(
            f"no track is in {2 * n_given} playlists, of which to give {n_given} and to keep the others. "
            f"Received: at most {n_held.max(initial=0)}; ask for fewer listens."
        )
    chosen = by_track[:, tracks].tocoo()
    shuffled = np.lexsort((np.random.default_rng(seed).random(chosen.nnz), chosen.col))  # random, by track
    ends = np.cumsum(np.bincount(chosen.col, minlength=len(tracks)))
    place = np.empty(chosen.nnz, np.int64)
    place[shuffled] = np.arange(chosen.nnz) - np.concatenate([[0], ends])[chosen.col[shuffled]] + 1
    may_give = place <= n_given
    counts, order = (
        scipy.sparse.csr_matrix(
            (values[may_give], (chosen.row[may_give], chosen.col[may_give])), chosen.shape
        )
        for values in (chosen.data, place)
    )
    rest = scipy.sparse.csr_matrix(
        (chosen.data[~may_give], (chosen.row[~may_give], chosen.col[~may_give])), chosen.shape
    )
    return Parted(tracks, rest, order, counts)


def weight(
    predicted: FloatArray, folded: FloatArray, n_listens: npt.ArrayLike, half_trust: float
) -> FloatArray:
    """Return predicted factors turned towards folded-in ones, the more the more listening there is.

    With n listens the direction is ``(h û + n f̂) / (h + n)``, of û, f̂ of length 1; the length stays that of the
    prediction, because a fold-in from few playlists is short whatever the track.

    Parameters
    ----------
    predicted, folded : ndarray of float32, shape (n_tracks, n_factors)
    n_listens : array_like, shape (n_tracks,) or ()
        Playlists that `folded` is from; 0 leaves the prediction as it is.
    half_trust : float
        h, above 0.

    Returns
    -------
    ndarray of float32, shape (n_tracks, n_factors)
    """
    share = np.broadcast_to(np.asarray(n_listens, np.float64), len(predicted))
    share = (share / (share + half_trust))[:, np.newaxis]
    length = np.linalg.norm(predicted, axis=1, keepdims=True)
    mixed = (1 - share) * _unit(predicted) + share * _unit(folded)
    return np.asarray(_unit(mixed) * length, dtype=np.float32)


def switch(
    predicted: FloatArray, folded: FloatArray, n_listens: npt.ArrayLike, threshold: int | None
) -> FloatArray:
    """Return folded-in factors of tracks with at least `threshold` listens, predicted ones of the others.

    Shapes are those of `weight`; a threshold of None never switches.
    """
    if threshold is None:
        return predicted
    enough = np.broadcast_to(np.asarray(n_listens) >= threshold, len(predicted))
    return np.where(enough[:, np.newaxis], folded, predicted)


def mean_cosine(reference: FloatArray, factors: FloatArray) -> float:
    """Return the mean cosine of rows that belong together; a row of zeros has cosine 0 with any."""
    return float((_unit(reference) * _unit(factors)).sum(axis=1).mean())


def _unit(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1))


def _keep(matrix: scipy.sparse.csr_matrix, wanted: npt.NDArray[np.bool_]) -> scipy.sparse.csr_matrix:
    kept = matrix.copy()
    kept.data = np.where(wanted, matrix.data, 0)
    kept.eliminate_zeros()
    return kept
