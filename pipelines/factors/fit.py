"""Interactions, or external factors, to ``factors/NAME.npz`` of a dataset."""

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_choice, to_dict
from cs_keras.data.schema import (
    INTERACTIONS_FILE,
    Tracks,
    factors_path,
    read_info,
    read_tracks,
)
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.cross_fitting import CrossFit, cross_fit, group_folds
from cs_keras.factors.interaction_files import read_interactions
from cs_keras.factors.interactions import Interactions, RowCounts, align, save_interactions
from cs_keras.factors.quality import measure_quality
from cs_keras.factors.repeats import N_SEEDS
from cs_keras.factors.scaling import Kind as Scaling
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.spark.counts import map_regularization
from cs_keras.factors.spark.files import read_spark_interactions
from cs_keras.factors.spark.session import SparkConfig, open_spark
from cs_keras.factors.store import (
    Factors,
    align_external_factors,
    read_external_factors,
    save_factors,
)
from cs_keras.factors.wmf import Protocol, WmfConfig, WmfFit, fit_protocol, weigh_counts
from cs_keras.storage.location import Location
from pipelines.factors.average_seeds import average_protocol
from pipelines.factors.ceiling import Agreements, measure_ceiling, measure_test_agreement
from pipelines.factors.fit_input import FitInput, Items, make_fit_input, measure_items
from pipelines.factors.open import DEFAULT_NAME

Targets = Literal["cross-fitted", "in-sample"]


@dataclasses.dataclass(frozen=True)
class FactorsConfig:
    """Settings of a factors file.

    Attributes
    ----------
    wmf
        Rank, alpha, regularization, iterations and seed.
    protocol
        ``strict``: the fit excludes interactions of validation and test tracks; ``thesis``: it uses all.
    scaling
        Scaling of training targets: ``standardize``, ``unit_norm``, ``none`` or ``minmax``.
    ceiling
        Also fit with another seed and on halves of the playlists, to measure the stability of the factors.
    targets
        Factors of train tracks: ``cross-fitted``, each from a fit that held the track out, as test tracks are held
        out; or ``in-sample``, from the fit of all train tracks. By default ``cross-fitted`` under ``strict``;
        ``thesis`` has ``in-sample`` only, since its test tracks are fitted too.
    split_name
        Named split of the dataset that decides which tracks are train tracks; None for that of the folds.
    items
        Tracks to fit: those of the ``dataset``, or ``all`` that have interactions. By default ``all`` if these find
        held-out interactions better, see `pipelines.factors.fit_input.measure_items`.
    n_averaged
        Seeds to average; see `pipelines.factors.average_seeds`.
    """

    wmf: WmfConfig = WmfConfig()
    protocol: Protocol = "strict"
    scaling: Scaling = "standardize"
    ceiling: bool = True
    targets: Targets | None = None
    split_name: str | None = None
    items: Items | None = None
    n_averaged: int = 1

    def __post_init__(self) -> None:
        check_choice("protocol", self.protocol, get_args(Protocol))
        check_choice("scaling", self.scaling, get_args(Scaling))
        if self.targets is not None:
            check_choice("targets", self.targets, get_args(Targets))
        if self.items is not None:
            check_choice("items", self.items, get_args(Items))
        if self.targets == "cross-fitted" and self.protocol == "thesis":
            raise ConfigError(
                "Cross-fitted targets need the strict protocol: under thesis test tracks are fitted too, so train "
                "tracks must be. Received: protocol thesis."
            )

    @property
    def is_cross_fitted(self) -> bool:
        """Whether train tracks get cross-fitted factors."""
        return self.protocol == "strict" and self.targets != "in-sample"


def make_factors(
    interactions_file: Path,
    dataset: Location,
    settings: FactorsConfig,
    name: str = DEFAULT_NAME,
    **reading: Any,
) -> tuple[Factors, RowCounts]:
    """Fit factors to an interactions file and store both in the dataset.

    Parameters
    ----------
    interactions_file
        See `cs_keras.factors.interaction_files.read_interactions`, which gets `reading` as well.
    dataset
        Dataset folder.
    settings
        Fit, protocol and scaling.
    name
        Name of the factors; they replace older ones of that name.

    Returns
    -------
    factors, tally
        As stored, and counts of the file's rows.

    Raises
    ------
    DataError, ConfigError, StorageError
        One sentence for what is wrong with the file, the settings or the folder.
    """
    path = factors_path(dataset, name)
    read_info(dataset)
    tracks = read_tracks(dataset, settings.split_name)
    everything = read_interactions(interactions_file, **reading)
    interactions = align(everything, tracks.ids)
    data = make_fit_input(everything, interactions, tracks.in_split("train"), tracks.in_split("test"))
    del everything
    return _store_factors(path, dataset, tracks, interactions, data, settings, name)


def make_spark_factors(
    interactions_file: str,
    dataset: Location,
    settings: FactorsConfig,
    name: str = DEFAULT_NAME,
    spark: SparkConfig | None = None,
    **reading: Any,
) -> tuple[Factors, RowCounts]:
    """Fit factors by Spark's implicit ALS, and store them as `make_factors` does.

    Spark reads and factorises. This process holds the factors and, for ``interactions.npz``, the interactions with
    the dataset's tracks, and folds tracks in block by block.

    Parameters
    ----------
    interactions_file
        Parquet; see `cs_keras.factors.spark.files.read_spark_interactions`, which gets `reading` as well.
    settings
        Its regularisation is that of implicit, and is mapped to Spark's.
    spark
        Cluster and Spark's own properties.

    See `make_factors` for the others and for errors; ConfigError also where PySpark or Java is missing, and
    CsKerasError where Spark fails.
    """
    path = factors_path(dataset, name)
    read_info(dataset)
    tracks = read_tracks(dataset, settings.split_name)
    with open_spark(spark or SparkConfig()) as session:
        everything = read_spark_interactions(session, interactions_file, tracks.ids, **reading)
        n_playlists, n_others = len(everything.playlist_ids), everything.tally.n_unknown_tracks
        data = FitInput(
            everything.counts,
            np.concatenate([tracks.in_split("train"), np.ones(n_others, np.bool_)]),
            np.concatenate([tracks.in_split("test"), np.zeros(n_others, np.bool_)]),
            n_playlists,
            len(tracks),
        )
        own = everything.counts[:n_playlists, : len(tracks)]
        interactions = Interactions(everything.playlist_ids, tracks.ids, own.tocsr(), everything.tally)
        is_fitted = data.is_train if settings.protocol == "strict" else np.ones_like(data.is_train)
        regularization = map_regularization(
            settings.wmf.regularization, *everything.counts[:, is_fitted].count()
        )
        wmf = dataclasses.replace(settings.wmf, engine="spark", regularization=regularization)
        settings = dataclasses.replace(settings, wmf=wmf)
        return _store_factors(path, dataset, tracks, interactions, data, settings, name)


def _store_factors(
    path: Location,
    dataset: Location,
    tracks: Tracks,
    interactions: Interactions,
    data: FitInput,
    settings: FactorsConfig,
    name: str,
) -> tuple[Factors, RowCounts]:
    data, chosen = _choose_items(data, settings)
    factors = fit_factors(
        data,
        tracks,
        interactions.playlist_ids,
        settings,
        name,
        n_unknown_tracks=0 if data.has_others else interactions.tally.n_unknown_tracks,
        **({"items_ndcg": chosen} if chosen else {}),
    )
    save_interactions(dataset / INTERACTIONS_FILE, interactions)
    save_factors(path, factors)
    return factors, interactions.tally


def fit_factors(
    data: FitInput,
    tracks: Tracks,
    playlist_ids: npt.NDArray[np.str_],
    settings: FactorsConfig,
    name: str,
    **quality: Any,
) -> Factors:
    """Fit factors to the interactions of a dataset's tracks and of the playlists with these ids.

    Tracks have the split of the settings; `quality` is stored with the metrics of the fit. DataError is raised when
    nothing can be fitted.
    """
    seeds = _with_seeds(settings, range(settings.n_averaged))
    fits = [_fit(data, one) for one in seeds]
    fit = _average(fits, data, settings)
    measured = measure_quality(
        weigh_counts(data.without_others().user_items.tocsr(), settings.wmf.weight),
        fit.item_factors[: data.n_tracks],
        fit.playlist_factors[: data.n_playlists],
        alpha=settings.wmf.alpha,
    )
    second, halves, agreement = _measure_ceiling(data, fit, settings) if settings.ceiling else (None, (), {})
    crossed = _cross_fit(data, tracks, fits, seeds) if settings.is_cross_fitted else []
    stored = _average([one.fit for one in crossed], data, settings) if crossed else fit
    item_factors, has_factors = stored.item_factors[: data.n_tracks], stored.has_factors[: data.n_tracks]
    playlist_factors = stored.playlist_factors[: data.n_playlists]
    return Factors(
        name=name,
        track_ids=tracks.ids,
        item_factors=item_factors,
        has_factors=has_factors,
        playlist_ids=playlist_ids,
        playlist_factors=playlist_factors,
        scaler=_fit_scaler(settings.scaling, tracks, item_factors, has_factors),
        protocol=settings.protocol,
        config={
            **to_dict(settings.wmf),
            "items": "all" if data.has_others else "dataset",
            "targets": "cross-fitted" if crossed else "in-sample",
            **({"averaged_seeds": settings.n_averaged} if settings.n_averaged > 1 else {}),
        },
        quality={
            **dataclasses.asdict(measured),
            "n_unfitted_playlists": int((~playlist_factors.any(axis=1)).sum()),
            **quality,
            **(_describe(crossed, fit, data) if crossed else {}),
            **({"ceiling": agreement} if settings.ceiling else {}),
        },
        second_item_factors=second.item_factors[: data.n_tracks] if second else None,
        second_playlist_factors=second.playlist_factors[: data.n_playlists] if second else None,
        half_item_factors=np.stack([half.item_factors[: data.n_tracks] for half in halves])
        if halves
        else None,
        half_playlist_factors=(
            np.stack([half.playlist_factors[: data.n_playlists] for half in halves]) if halves else None
        ),
        split_name=settings.split_name,
    )


def _choose_items(data: FitInput, settings: FactorsConfig) -> tuple[FitInput, dict[Items, float]]:
    """Return the tracks to fit, and nDCG on held-out interactions by each choice where it was measured."""
    if settings.items == "all" or not data.has_others:
        return data, {}
    if settings.items == "dataset":
        return data.without_others(), {}
    ndcg = measure_items(data, settings.wmf, settings.protocol)
    return (data if ndcg and ndcg["all"] > ndcg["dataset"] else data.without_others()), ndcg


def _with_seeds(settings: FactorsConfig, seeds: Iterable[int]) -> list[FactorsConfig]:
    """Return the settings with each of `seeds`, counted from that of the settings."""
    fits = (dataclasses.replace(settings.wmf, seed=(settings.wmf.seed + seed) % N_SEEDS) for seed in seeds)
    return [dataclasses.replace(settings, wmf=wmf) for wmf in fits]


def _fit(data: FitInput, settings: FactorsConfig) -> WmfFit:
    return fit_protocol(data.user_items, data.is_train, settings.wmf, protocol=settings.protocol)


def _average(fits: Sequence[WmfFit], data: FitInput, settings: FactorsConfig) -> WmfFit:
    if len(fits) == 1:
        return fits[0]
    is_fitted = data.is_train if settings.protocol == "strict" else np.ones_like(data.is_train)
    return average_protocol(fits, is_fitted)


def _measure_ceiling(
    data: FitInput, fit: WmfFit, settings: FactorsConfig
) -> tuple[WmfFit, tuple[WmfFit, ...], dict[str, Agreements]]:
    """Return a refit, fits of halves, and agreements; the refit of an average is one of as many further seeds."""
    if settings.n_averaged == 1:
        wmf, protocol = settings.wmf, settings.protocol
        return measure_ceiling(
            data.user_items, data.is_train, data.is_test, fit, wmf, protocol, data.n_playlists
        )
    others = _with_seeds(settings, range(settings.n_averaged, 2 * settings.n_averaged))
    second = _average([_fit(data, one) for one in others], data, settings)
    test = data.is_test & fit.has_factors
    if test.sum() < 2:
        return second, (), {}
    return second, (), {"second_seed": measure_test_agreement([fit, second], test, data.n_playlists)}


def _cross_fit(
    data: FitInput, tracks: Tracks, fits: Sequence[WmfFit], settings: Sequence[FactorsConfig]
) -> list[CrossFit]:
    """Cross-fit train tracks for each fit. Where they cannot be divided, as with one fold, warn and return none."""
    groups = data.pad(group_folds(tracks.numbers("fold"), tracks.in_split("train")), -1)
    try:
        return [
            cross_fit(data.user_items, data.is_train, groups, fit, one.wmf)
            for fit, one in zip(fits, settings, strict=True)
        ]
    except DataError as error:
        warnings.warn(f"Train tracks keep factors fitted in-sample: {error}", UserWarning, stacklevel=3)
        return []


def _describe(crossed: Sequence[CrossFit], fit: WmfFit, data: FitInput) -> dict[str, Any]:
    """Return ``cross_fitting``: residuals of the first seed, and the number of train tracks that lost factors."""
    lost = fit.has_factors & ~crossed[0].fit.has_factors
    residuals = list(crossed[0].residuals)
    return {"cross_fitting": {"residuals": residuals, "n_lost_tracks": int(lost[: data.n_tracks].sum())}}


def import_factors(
    external: Path,
    dataset: Location,
    scaling: Scaling = "standardize",
    name: str = DEFAULT_NAME,
    split_name: str | None = None,
) -> tuple[Factors, tuple[str, ...]]:
    """Store external factors in the dataset; return them and the ids it does not hold.

    See `cs_keras.factors.store.read_external_factors` for the file and `make_factors` for the rest.
    """
    path = factors_path(dataset, name)
    read_info(dataset)
    tracks = read_tracks(dataset, split_name)
    aligned, unknown = align_external_factors(read_external_factors(external), tracks.ids)
    scaler = _fit_scaler(scaling, tracks, aligned.item_factors, aligned.has_factors)
    factors = dataclasses.replace(aligned, name=name, scaler=scaler, split_name=split_name)
    save_factors(path, factors)
    return factors, unknown


def _fit_scaler(kind: Scaling, tracks: Tracks, item_factors: Any, has_factors: Any) -> Any:
    train = tracks.in_split("train") & has_factors
    if not train.any():
        raise DataError("No track of the train folds has interactions, so there are no training targets.")
    return fit_scaler(kind, item_factors[train])
