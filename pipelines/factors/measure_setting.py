"""Metrics of one WMF setting: ranking of held-out interactions, and agreement between seeds."""

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
from cs_keras.evaluation.fits.agreement import measure_agreement
from cs_keras.evaluation.fits.alignment import Fit
from cs_keras.evaluation.overlap import MAX_QUERIES
from cs_keras.evaluation.ranking import rank_metrics
from cs_keras.factors.interactions import Interactions, hold_out_tracks
from cs_keras.factors.repeats import fit_halves
from cs_keras.factors.selection import K, Mean, Result
from cs_keras.factors.wmf import WmfConfig, WmfFit, fit_protocol

HELD_OUT_SHARE = 0.2
Values = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Interactions to select settings on, without test tracks.

    `user_items`, shape (n_playlists, n_tracks), has interactions of train tracks to fit, and all of validation
    tracks, which are folded in; `held_out`, shape (n_playlists, n_train), has held-out ones of train tracks.
    """

    user_items: scipy.sparse.csr_matrix
    held_out: scipy.sparse.csr_matrix
    is_train: npt.NDArray[np.bool_]
    seed: int

    @property
    def splits(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Train and validation tracks that have interactions."""
        has_interactions = np.bincount(self.user_items.indices, minlength=self.user_items.shape[1]) > 0
        return {"train": self.is_train & has_interactions, "validation": ~self.is_train & has_interactions}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content."""
        sha = hashlib.sha256(f"{self.user_items.shape} {self.seed}".encode())
        for matrix in (self.user_items, self.held_out):
            sha.update(matrix.indptr.astype(np.int64).tobytes())
            sha.update(matrix.indices.astype(np.int64).tobytes())
            sha.update(matrix.data.tobytes())
        sha.update(self.is_train.tobytes())
        return sha.hexdigest()


def draw_sample(interactions: Interactions, tracks: Tracks, seed: int) -> Sample:
    """Select the interactions of train and validation tracks, and hold some of the former out.

    DataError is raised when too few train tracks have interactions.
    """
    is_used = ~tracks.in_split("test")
    is_train = tracks.in_split("train")[is_used]
    user_items = interactions.user_items[:, is_used]
    has_fitted = user_items[:, is_train].getnnz(axis=1) > 0
    user_items = user_items[has_fitted]
    rest, held_out = hold_out_tracks(user_items[:, is_train], HELD_OUT_SHARE, seed)
    to_fit = scipy.sparse.hstack([rest, user_items[:, ~is_train]], format="csr")
    back = np.argsort(np.argsort(~is_train, kind="stable"), kind="stable")  # hstack put train tracks first
    to_fit = to_fit[:, back]
    to_fit.sort_indices()
    sample = Sample(to_fit, held_out, is_train, seed)
    n_train = int(sample.splits["train"].sum())
    if n_train <= K:
        raise DataError(
            f"too few train tracks have interactions to select settings on: expected more than {K}. "
            f"Received: {n_train}."
        )
    return sample


def measure_setting(sample: Sample, setting: WmfConfig, n_seeds: int) -> Result:
    """Fit a setting with several seeds and on two halves of the playlists, and measure ranking and agreement.

    DataError is raised when it cannot be fitted.
    """
    began = time.monotonic()
    fits = [fit_sample(sample, setting, seed) for seed in range(n_seeds)]
    halves = fit_halves(sample.user_items, sample.is_train, setting, "strict")
    ndcg, recall = measure_held_out(sample, fits)
    seeds, by_half = measure_sample_agreement(sample, fits), measure_sample_agreement(sample, halves)
    return Result(
        setting,
        ndcg=Mean.over(ndcg),
        recall=Mean.over(recall),
        seeds_train=Mean.over(seeds["train"]),
        halves_train=Mean.over(by_half["train"]),
        seeds_validation=Mean.over_or_none(seeds.get("validation")),
        halves_validation=Mean.over_or_none(by_half.get("validation")),
        seconds=time.monotonic() - began,
    )


def fit_sample(sample: Sample, setting: WmfConfig, seed: int) -> WmfFit:
    """Fit the train tracks and fold the validation tracks in; `seed` counts from that of the setting."""
    return fit_protocol(
        sample.user_items,
        sample.is_train,
        dataclasses.replace(setting, seed=setting.seed + seed),
        protocol="strict",
    )


def measure_held_out(sample: Sample, fits: Sequence[WmfFit]) -> tuple[Values, Values]:
    """Return nDCG and recall on held-out interactions, each of shape (n_playlists with any,), averaged over fits.

    DataError is raised when a playlist has so many train tracks that a list of `K` others cannot be made.
    """
    per_fit = []
    for fit in fits:
        metrics = rank_metrics(
            fit.playlist_factors,
            fit.item_factors[sample.is_train],
            sample.held_out,
            seen=sample.user_items[:, sample.is_train],
            ks=(K,),
        )
        (first,) = metrics.at_k
        if first.ndcg is None or first.recall is None:
            raise DataError(
                f"a playlist leaves too few train tracks to rank: expected at least {K} that it does not hold. "
                f"Received: {metrics.n_candidates.min()}."
            )
        per_fit.append((first.ndcg, first.recall))
    ndcg, recall = np.mean(per_fit, axis=0)
    return ndcg, recall


def measure_sample_agreement(sample: Sample, fits: Sequence[WmfFit]) -> dict[str, Values]:
    """Return the overlap of the `K` most similar tracks between fits, averaged over pairs, track by track.

    Lists hold tracks of the query's split. A split with too few tracks is left out. Queries of a large catalogue
    are sampled.
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
