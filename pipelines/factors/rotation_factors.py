"""Strict factors for the rotations of a cross-validation, fitted with the settings of the dataset's own factors."""

import dataclasses

import numpy as np

from cs_keras.data.schema import INTERACTIONS_FILE, Tracks, factors_names, factors_path, read_tracks
from cs_keras.errors import ConfigError
from cs_keras.factors.interactions import align, load_interactions
from cs_keras.factors.store import Factors, describe_split, load_factors, save_factors
from cs_keras.factors.wmf import read_wmf_config
from cs_keras.progress import Progress
from cs_keras.storage.location import Location
from pipelines.factors.fit import FactorsConfig, fit_factors
from pipelines.factors.fit_input import FitInput
from pipelines.factors.open import open_interactions

SOURCE_DIGEST = "rotation_of"  # in `Factors.quality`: digest of the factors that lent their settings


def make_rotation_factors(dataset: Location, own: Factors, split_name: str, progress: Progress) -> str:
    """Fit factors for a named split of the stored folds as `own` were fitted for the folds; return their name.

    They are stored as NAME-SPLIT and reused. Those of another fit than `own` are replaced; those that
    `cs-keras factors` fitted must have the same settings.

    Raises
    ------
    ConfigError
        When `own` are not fitted by the strict protocol to interactions that the dataset holds, or factors of
        that name have other settings.
    DataError
        When there is nothing to fit.
    """
    name = f"{own.name}-{split_name}"
    if name in factors_names(dataset):
        stored = load_factors(factors_path(dataset, name))
        if SOURCE_DIGEST not in stored.quality:
            _require_same_settings(stored, own, split_name)
        if stored.quality.get(SOURCE_DIGEST, own.digest) == own.digest:
            return name
    settings = _read_settings(own, split_name)
    tracks = read_tracks(dataset, split_name)
    if np.array_equal(tracks.parts, read_tracks(dataset, own.split_name).parts):
        factors = dataclasses.replace(
            own, name=name, split_name=split_name, quality={**own.quality, SOURCE_DIGEST: own.digest}
        )
    else:
        progress.log(f"fitting factors {name} without interactions of this rotation's test tracks")
        factors = _fit(dataset, own, tracks, settings, name)
    save_factors(factors_path(dataset, name), factors)
    return name


def _fit(dataset: Location, own: Factors, tracks: Tracks, settings: FactorsConfig, name: str) -> Factors:
    if open_interactions(dataset, own) is None:
        raise ConfigError(
            f"Factors {own.name!r} cannot be fitted for {describe_split(settings.split_name)}: expected their "
            f"interactions in {dataset / INTERACTIONS_FILE}, which holds none or those of other playlists; run "
            "`cs-keras factors` again."
        )
    interactions = align(load_interactions(dataset / INTERACTIONS_FILE), tracks.ids)
    data = FitInput(
        interactions.user_items,
        tracks.in_split("train"),
        tracks.in_split("test"),
        *interactions.user_items.shape,
    )
    quality = {"n_unknown_tracks": own.quality.get("n_unknown_tracks", 0), SOURCE_DIGEST: own.digest}
    return fit_factors(data, tracks, interactions.playlist_ids, settings, name, **quality)


def _read_settings(own: Factors, split_name: str) -> FactorsConfig:
    config = own.config or {}
    if config.get("engine") == "spark":
        raise ConfigError(
            f"Factors {own.name!r} were fitted by Spark. Fit those of each rotation by it too, with the same "
            f"settings: `cs-keras factors ... --engine spark --split-name {split_name} --name "
            f"{own.name}-{split_name}`."
        )
    if config.get("items") == "all":
        raise ConfigError(
            f"Factors {own.name!r} were fitted to interactions with tracks that the dataset does not hold, and "
            "they are not stored. Fit those of each rotation too, with the same settings: `cs-keras factors ... "
            f"--split-name {split_name} --name {own.name}-{split_name}`; or fit with `--items dataset`."
        )
    return FactorsConfig(
        wmf=read_wmf_config(config),
        protocol="strict",
        scaling=own.scaler.kind,
        ceiling=own.second_item_factors is not None,
        targets=config.get("targets", "in-sample"),
        split_name=split_name,
        items="dataset",
        n_averaged=config.get("averaged_seeds", 1),
    )


def _require_same_settings(stored: Factors, own: Factors, split_name: str) -> None:
    if not np.array_equal(stored.playlist_ids, own.playlist_ids):
        raise ConfigError(
            f"Factors {stored.name!r} cannot be those of a rotation of {own.name!r}: expected factors of the same "
            f"playlists. Received: {len(stored.playlist_ids)} and {len(own.playlist_ids)} playlists."
        )
    for what, found, expected in (
        ("the split", stored.split_name, split_name),
        ("the protocol", stored.protocol, own.protocol),
        ("the settings", dict(stored.config or {}), dict(own.config or {})),
        ("the scaling", stored.scaler.kind, own.scaler.kind),
    ):
        if found != expected:
            raise ConfigError(
                f"Factors {stored.name!r} cannot be those of a rotation of {own.name!r}: expected {what} "
                f"{expected}. Received: {found}."
            )
