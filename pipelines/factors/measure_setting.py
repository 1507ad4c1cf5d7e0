"""One setting of the factorisation, measured: whether it finds held-out listening, and other seeds say the same."""

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.data.schema import Tracks
from cs_keras.errors import DataError
from cs_keras.evaluation.agreement import measure_agreement
from cs_keras.evaluation.fits import Fit
from cs_keras.evaluation.overlap import MAX_QUERIES
from cs_keras.evaluation.ranking import rank_metrics
from cs_keras.factors.holding_out import hold_out
from cs_keras.factors.interactions import Interactions
from cs_keras.factors.repeats import HalfFit, fit_halves
from cs_keras.factors.selection import K, Mean, Result
from cs_keras.factors.wmf import WmfConfig, WmfFit, fit_protocol

HELD_OUT_SHARE = 0.2
Values = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Listening to choose settings by. No test track is in it.

    Attributes
    ----------
    kept : csr_matrix, shape (n_playlists, n_tracks)
        What may be fitted of the train tracks, and all of the validation tracks, which are folded in.
    held_out : csr_matrix, shape (n_playlists, n_train)
        The rest of the train tracks' listening.
    is_train : ndarray of bool, shape (n_tracks,)
    seed : int
    """

    kept: scipy.sparse.csr_matrix
    held_out: scipy.sparse.csr_matrix
    is_train: npt.NDArray[np.bool_]
    seed: int

    @property
    def splits(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Which tracks train and which validate, of those that have listening."""
        heard = np.bincount(self.kept.indices, minlength=self.kept.shape[1]) > 0
        return {"train": self.is_train & heard, "validation": ~self.is_train & heard}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that is in it."""
        sha = hashlib.sha256(f"{self.kept.shape} {self.seed}".encode())
        for matrix in (self.kept, self.held_out):
            sha.update(matrix.indptr.astype(np.int64).tobytes())
            sha.update(matrix.indices.astype(np.int64).tobytes())
            sha.update(matrix.data.tobytes())
        sha.update(self.is_train.tobytes())
        return sha.hexdigest()


def draw_sample(interactions: Interactions, tracks: Tracks, seed: int) -> Sample:
    """Take the listening of train and validation tracks, and hold part of the former out.

    Raises
    ------
    DataError
        When there is too little listening of train tracks.
    """
    is_used = ~tracks.in_split("test")
    is_train = tracks.in_split("train")[is_used]
    user_items = interactions.user_items[:, is_used]
    user_items = user_items[user_items[:, is_train].getnnz(axis=1) > 0]  # others can say nothing of any fit
    kept, held_out = hold_out(user_items[:, is_train], HELD_OUT_SHARE, seed)
    every = scipy.sparse.hstack([kept, user_items[:, ~is_train]], format="csr")
    back = np.argsort(np.argsort(~is_train, kind="stable"), kind="stable")  # train tracks came first
    every = every[:, back]
    every.sort_indices()
    sample = Sample(every, held_out, is_train, seed)
    n_train = int(sample.splits["train"].sum())
    if n_train <= K:
        raise DataError(
            f"too few train tracks have listening to choose settings by: expected more than {K}. "
            f"Received: {n_train}."
        )
    return sample


def measure_setting(sample: Sample, setting: WmfConfig, n_seeds: int) -> Result:
    """Fit a setting with several seeds, and to either half of the playlists, and measure what the fits are worth.

    Raises
    ------
    DataError
        When it cannot be fitted.
    """
    began = time.monotonic()
    fits = [fit_sample(sample, setting, seed) for seed in range(n_seeds)]
    halves = fit_halves(sample.kept, sample.is_train, setting, "strict")
    ndcg, recall = held_out_metrics(sample, fits)
    seeds, parts = agreement(sample, fits), agreement(sample, halves)
    return Result(
        setting,
        ndcg=Mean.over(ndcg),
        recall=Mean.over(recall),
        seeds_train=Mean.over(seeds["train"]),
        halves_train=Mean.over(parts["train"]),
        seeds_validation=mean_or_none(seeds.get("validation")),
        halves_validation=mean_or_none(parts.get("validation")),
        seconds=time.monotonic() - began,
    )


def fit_sample(sample: Sample, setting: WmfConfig, seed: int) -> WmfFit:
    """Fit the train tracks and fold the validation tracks in; `seed` counts from that of the setting."""
    return fit_protocol(
        sample.kept,
        sample.is_train,
        dataclasses.replace(setting, seed=setting.seed + seed),
        protocol="strict",
    )


def held_out_metrics(sample: Sample, fits: Sequence[WmfFit]) -> tuple[Values, Values]:
    """Return nDCG and recall of held-out listening, each of shape (n_playlists with any,), averaged over fits.

    Raises
    ------
    DataError
        When a playlist has heard so many train tracks that a list of `K` others cannot be made.
    """
    found = []
    for fit in fits:
        metrics = rank_metrics(
            fit.playlist_factors,
            fit.item_factors[sample.is_train],
            sample.held_out,
            seen=sample.kept[:, sample.is_train],
            ks=(K,),
        )
        (first,) = metrics.at_k
        if first.ndcg is None or first.recall is None:
            raise DataError(
                f"a playlist leaves too few train tracks to rank: expected at least {K} that it does not hold. "
                f"Received: {metrics.n_candidates.min()}."
            )
        found.append((first.ndcg, first.recall))
    ndcg, recall = np.mean(found, axis=0)
    return ndcg, recall


def agreement(sample: Sample, fits: Sequence[WmfFit | HalfFit]) -> dict[str, Values]:
    """Return the overlap of the `K` most similar tracks between fits, averaged over pairs, track by track.

    Lists of train tracks are of train tracks, those of validation tracks of validation tracks. A split with too few
    tracks is left out. Of a large catalogue, a random part asks.
    """
    overlaps = {}
    for split, has_interactions in sample.splits.items():
        rows = np.flatnonzero(
            has_interactions & np.all([fit.item_factors.any(axis=1) for fit in fits], axis=0)
        )
        if len(rows) <= K:
            continue
        queries = np.random.default_rng(sample.seed).permutation(len(rows))[:MAX_QUERIES]
        between = [Fit(fit.item_factors[rows]) for fit in fits]
        (measured,) = measure_agreement(between, ks=(K,), queries=np.sort(queries))
        if measured.per_query is not None:
            overlaps[split] = measured.per_query
    if "train" not in overlaps:
        raise DataError(f"too few train tracks have factors: expected more than {K} under every fit.")
    return overlaps


def mean_or_none(per_query: Values | None) -> Mean | None:
    """Return the mean, None where nothing was measured."""
    return None if per_query is None else Mean.over(per_query)
