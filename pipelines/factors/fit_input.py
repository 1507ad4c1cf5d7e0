"""Interactions that a factorisation is fitted to: those with the dataset's tracks, or with all other tracks too.

Tracks that the dataset does not hold say more about the taste of a playlist. They are fitted like train tracks
under either protocol; their factors are not stored.
"""

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation.ranking import rank_metrics
from cs_keras.factors.interactions import Interactions, hold_out_tracks
from cs_keras.factors.selection import K
from cs_keras.factors.wmf import Counts, Protocol, WmfConfig, fit_wmf
from pipelines.factors.measure_setting import HELD_OUT_SHARE

Flags = npt.NDArray[np.bool_]
Items = Literal["dataset", "all"]


@dataclasses.dataclass(frozen=True, eq=False)
class FitInput:
    """A matrix of counts that begins with the dataset's part, and the flags of its columns.

    Attributes
    ----------
    user_items
        Counts, csr_matrix or SparkCounts of shape (n_all_playlists, n_all_tracks). The first `n_playlists` rows and
        `n_tracks` columns are the dataset's; the other rows have interactions with other tracks alone.
    is_train, is_test
        Shape (n_all_tracks,). Tracks that the dataset does not hold count as train tracks.
    n_playlists, n_tracks
        Playlists with tracks of the dataset, and its tracks.
    """

    user_items: Counts
    is_train: Flags
    is_test: Flags
    n_playlists: int
    n_tracks: int

    @property
    def has_others(self) -> bool:
        """Whether there are tracks that the dataset does not hold."""
        return len(self.is_train) > self.n_tracks

    def without_others(self) -> "FitInput":
        """Return the dataset's part alone."""
        user_items = self.user_items[: self.n_playlists, : self.n_tracks]
        return dataclasses.replace(
            self,
            user_items=user_items,
            is_train=self.is_train[: self.n_tracks],
            is_test=self.is_test[: self.n_tracks],
        )

    def pad(self, values: npt.NDArray[np.int64], fill: int) -> npt.NDArray[np.int64]:
        """Return values of the dataset's tracks, shape (n_tracks,), followed by `fill` for each other track."""
        return np.concatenate([values, np.full(len(self.is_train) - self.n_tracks, fill)])


def make_fit_input(everything: Interactions, own: Interactions, is_train: Flags, is_test: Flags) -> FitInput:
    """Append the other tracks of `everything` to the dataset's interactions, `own`, as `align` returns them."""
    others = everything.user_items[:, ~np.isin(everything.track_ids, own.track_ids)]
    is_own = np.isin(everything.playlist_ids, own.playlist_ids)  # both in one order
    rest = others[~is_own]
    rest = rest[rest.getnnz(axis=1) > 0]
    below = scipy.sparse.csr_matrix((rest.shape[0], own.user_items.shape[1]), dtype=np.float32)
    n_others = others.shape[1]
    return FitInput(
        scipy.sparse.bmat([[own.user_items, others[is_own]], [below, rest]], format="csr", dtype=np.float32),
        np.concatenate([is_train, np.ones(n_others, dtype=np.bool_)]),
        np.concatenate([is_test, np.zeros(n_others, dtype=np.bool_)]),
        *own.user_items.shape,
    )


def measure_items(data: FitInput, config: WmfConfig, protocol: Protocol) -> dict[Items, float]:
    """Return the nDCG at `K` on held-out interactions by fits to the dataset's tracks and to all.

    A fifth of each playlist's interactions with the dataset's tracks is held out, and playlists rank these tracks.
    Only train tracks are used under the strict protocol. Empty where too little can be held out or ranked.
    """
    is_used = data.is_train if protocol == "strict" else np.ones_like(data.is_train)
    user_items, n_own = data.user_items[:, is_used], int(is_used[: data.n_tracks].sum())
    own = user_items[: data.n_playlists, :n_own]
    try:
        rest, held_out = hold_out_tracks(own.tocsr(), HELD_OUT_SHARE, config.seed)
        matrices: dict[Items, Counts] = {
            "dataset": own - held_out,
            "all": user_items - _pad(held_out, user_items.shape),
        }
        values: dict[Items, float] = {}
        for items, matrix in matrices.items():
            item_factors, playlist_factors = fit_wmf(matrix, config)
            metrics = rank_metrics(
                playlist_factors[: data.n_playlists], item_factors[:n_own], held_out, rest, (K,)
            )
            if metrics.at_k[0].ndcg is None:
                return {}
            values[items] = float(metrics.at_k[0].ndcg.mean())
    except DataError:
        return {}
    return values


def _pad(matrix: scipy.sparse.csr_matrix, shape: tuple[int, int]) -> scipy.sparse.csr_matrix:
    padded = matrix.copy()
    padded.resize(shape)
    return padded
