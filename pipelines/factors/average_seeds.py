"""Averaged factors: several seeds of one factorisation, aligned by rotation.

Rotations are found on fitted tracks alone. Folded-in tracks are folded into each fit and rotated with it, so that
they are averaged as fitted tracks are; folding into averaged playlists would shrink them differently.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.fits.alignment import Fit, average_fits
from cs_keras.evaluation.statistics.resampling import bootstrap_interval
from cs_keras.factors.selection import Averaging, Mean
from cs_keras.factors.wmf import WmfConfig, WmfFit
from pipelines.factors.measure_setting import Sample, fit_sample, measure_held_out, measure_sample_agreement


def average_protocol(fits: Sequence[WmfFit], is_fitted: npt.NDArray[np.bool_]) -> WmfFit:
    """Return the mean of fits of the same interactions, with several seeds under one protocol.

    `is_fitted`, of shape (n_tracks,), marks tracks that were fitted; the others were folded in.
    """
    means = average_fits(
        [
            Fit(fit.item_factors[is_fitted], np.vstack([fit.playlist_factors, fit.item_factors[~is_fitted]]))
            for fit in fits
        ]
    )
    rotated = means.playlist_factors
    assert rotated is not None  # all fits have playlists
    n_playlists = len(fits[0].playlist_factors)
    item_factors = np.empty_like(fits[0].item_factors)
    item_factors[is_fitted], item_factors[~is_fitted] = means.item_factors, rotated[n_playlists:]
    return dataclasses.replace(fits[0], item_factors=item_factors, playlist_factors=rotated[:n_playlists])


def compare_averages(sample: Sample, setting: WmfConfig, n_seeds: int) -> Averaging:
    """Compare the agreement of two means of `n_seeds` different fits each with that of the single fits."""
    fits = [fit_sample(sample, setting, seed) for seed in range(2 * n_seeds)]
    means = [average_protocol(some, sample.is_train) for some in (fits[:n_seeds], fits[n_seeds:])]
    single, averaged = measure_sample_agreement(sample, fits), measure_sample_agreement(sample, means)
    low, high = bootstrap_interval(averaged["train"] - single["train"], seed=sample.seed)
    return Averaging(
        n_seeds,
        single_train=Mean.over(single["train"]),
        averaged_train=Mean.over(averaged["train"]),
        low=low,
        high=high,
        single_validation=Mean.over_or_none(single.get("validation")),
        averaged_validation=Mean.over_or_none(averaged.get("validation")),
        single_ndcg=Mean.over(measure_held_out(sample, fits)[0]),
        averaged_ndcg=Mean.over(measure_held_out(sample, means)[0]),
    )
