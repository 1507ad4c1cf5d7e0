"""Averaged factors: several seeds of one factorisation, aligned by rotation.

Rotations are found on fitted tracks alone. Folded-in tracks are folded into each fit and rotated with it, so that
they are averaged as fitted tracks are; folding into averaged playlists would shrink them differently.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.data.schema import INTERACTIONS_FILE, factors_path, read_tracks
from cs_keras.evaluation.fits import Fit, average_fits
from cs_keras.evaluation.statistics.resampling import bootstrap_interval
from cs_keras.factors.interactions import load_interactions
from cs_keras.factors.quality import measure_quality
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.selection import Averaging, Mean
from cs_keras.factors.store import Factors, save_factors
from cs_keras.factors.wmf import WmfConfig, WmfFit, fit_protocol, weigh_counts
from cs_keras.storage.location import Location
from pipelines.factors.ceiling import Agreements, measure_test_agreement
from pipelines.factors.fit import FactorsConfig, fit_targets
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


def store_averaged(dataset: Location, factors: Factors, settings: FactorsConfig, n_seeds: int) -> Factors:
    """Replace stored factors by the mean of `n_seeds` fits of the same interactions, the first seed included.

    The refit, and the ceiling with it, becomes a mean of as many further seeds. `factors` are as
    `pipelines.factors.fit.make_factors` stored them, with these `settings`.
    """
    user_items = load_interactions(dataset / INTERACTIONS_FILE).user_items
    tracks = read_tracks(dataset, settings.split_name)
    is_train, is_test = tracks.in_split("train"), tracks.in_split("test")
    is_fitted = is_train if settings.protocol == "strict" else np.ones_like(is_train)
    protocol, averaged_settings = settings.protocol, _seeds(settings, range(n_seeds))
    fits = [fit_protocol(user_items, is_train, one.wmf, protocol=protocol) for one in averaged_settings]
    mean = average_protocol(fits, is_fitted)
    quality = measure_quality(
        weigh_counts(user_items, settings.wmf.weight),
        mean.item_factors,
        mean.playlist_factors,
        alpha=settings.wmf.alpha,
    )
    second = None
    if settings.ceiling:
        second_settings = _seeds(settings, range(n_seeds, 2 * n_seeds))
        others = [fit_protocol(user_items, is_train, one.wmf, protocol=protocol) for one in second_settings]
        second = average_protocol(others, is_fitted)
    stability: dict[str, dict[str, Agreements]] = {}
    if second:
        test = is_test & mean.has_factors
        agreement = {"second_seed": measure_test_agreement([mean, second], test)} if test.sum() > 1 else {}
        stability = {"ceiling": agreement}
    if "cross_fitting" in factors.quality:
        pairs = zip(fits, averaged_settings, strict=True)
        mean = average_protocol([fit_targets(user_items, tracks, *pair)[0] for pair in pairs], is_fitted)
    averaged = dataclasses.replace(
        factors,
        item_factors=mean.item_factors,
        playlist_factors=mean.playlist_factors,
        scaler=fit_scaler(settings.scaling, mean.item_factors[is_train & mean.has_factors]),
        config={**(factors.config or {}), **dataclasses.asdict(settings.wmf), "averaged_seeds": n_seeds},
        quality={**factors.quality, **dataclasses.asdict(quality), **stability},
        second_item_factors=second.item_factors if second else None,
        second_playlist_factors=second.playlist_factors if second else None,
    )
    save_factors(factors_path(dataset, factors.name), averaged)
    return averaged


def _seeds(settings: FactorsConfig, seeds: Iterable[int]) -> list[FactorsConfig]:
    """Return the settings with each of `seeds`, counted from that of the settings."""
    fits = (dataclasses.replace(settings.wmf, seed=settings.wmf.seed + seed) for seed in seeds)
    return [dataclasses.replace(settings, wmf=wmf) for wmf in fits]
