"""Interactions, or external factors, to ``factors/NAME.npz`` of a dataset."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import scipy.sparse

from cs_keras.config import check_choice
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.schema import (
    INTERACTIONS_FILE,
    Tracks,
    factors_names,
    factors_path,
    read_info,
    read_tracks,
)
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.cross_fitting import cross_fit, group_folds
from cs_keras.factors.interaction_files import read_interactions
from cs_keras.factors.interactions import RowCounts, align, load_interactions, save_interactions
from cs_keras.factors.quality import measure_quality
from cs_keras.factors.scaling import Kind as Scaling
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.store import (
    Factors,
    adapt_to_split,
    align_external_factors,
    load_factors,
    read_external_factors,
    save_factors,
)
from cs_keras.factors.wmf import Protocol, WmfConfig, WmfFit, fit_protocol, weigh_counts
from cs_keras.storage.location import Location, is_file
from pipelines.factors.ceiling import measure_ceiling

DEFAULT_NAME = "wmf"

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
    """

    wmf: WmfConfig = WmfConfig()
    protocol: Protocol = "strict"
    scaling: Scaling = "standardize"
    ceiling: bool = True
    targets: Targets | None = None
    split_name: str | None = None

    def __post_init__(self) -> None:
        check_choice("protocol", self.protocol, get_args(Protocol))
        check_choice("scaling", self.scaling, get_args(Scaling))
        if self.targets is not None:
            check_choice("targets", self.targets, get_args(Targets))
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
    interactions = align(read_interactions(interactions_file, **reading), tracks.ids)
    user_items, is_train, protocol = interactions.user_items, tracks.in_split("train"), settings.protocol
    fit = fit_protocol(user_items, is_train, settings.wmf, protocol=protocol)
    quality = measure_quality(
        weigh_counts(user_items, settings.wmf.weight),
        fit.item_factors,
        fit.playlist_factors,
        alpha=settings.wmf.alpha,
    )
    second, stability = None, {}
    if settings.ceiling:
        second, agreement = measure_ceiling(
            user_items, is_train, tracks.in_split("test"), fit, settings.wmf, protocol
        )
        stability = {"ceiling": agreement}
    fit, targets = fit_targets(user_items, tracks, fit, settings)
    factors = Factors(
        name=name,
        track_ids=tracks.ids,
        item_factors=fit.item_factors,
        has_factors=fit.has_factors,
        playlist_ids=interactions.playlist_ids,
        playlist_factors=fit.playlist_factors,
        scaler=_fit_scaler(settings.scaling, tracks, fit.item_factors, fit.has_factors),
        protocol=protocol,
        config={**dataclasses.asdict(settings.wmf), "targets": "cross-fitted" if targets else "in-sample"},
        quality={
            **dataclasses.asdict(quality),
            "n_unfitted_playlists": fit.n_unfitted_playlists,
            "n_unknown_tracks": interactions.tally.n_unknown_tracks,
            **targets,
            **stability,
        },
        second_item_factors=second.item_factors if second else None,
        second_playlist_factors=second.playlist_factors if second else None,
        split_name=settings.split_name,
    )
    save_interactions(dataset / INTERACTIONS_FILE, interactions)
    save_factors(path, factors)
    return factors, interactions.tally


def fit_targets(
    user_items: scipy.sparse.csr_matrix, tracks: Tracks, fit: WmfFit, settings: FactorsConfig
) -> tuple[WmfFit, dict[str, Any]]:
    """Replace the factors of train tracks by cross-fitted ones where the settings say so.

    Where the train tracks cannot be divided, as with a single fold, it warns and leaves `fit` as it is.

    Parameters
    ----------
    user_items
        Counts that `fit` was fitted to, shape (n_playlists, n_tracks).

    Returns
    -------
    fit
        With the item factors to store.
    quality
        ``cross_fitting``: `residuals` of `cs_keras.factors.cross_fitting.CrossFit`, and the number of train tracks
        whose factors are lost. Empty if factors of train tracks are those of `fit`.
    """
    if not settings.is_cross_fitted:
        return fit, {}
    is_train = tracks.in_split("train")
    groups = group_folds(tracks.numbers("fold"), is_train)
    try:
        crossed = cross_fit(user_items, is_train, groups, fit, settings.wmf)
    except DataError as error:
        warnings.warn(f"Train tracks keep factors fitted in-sample: {error}", UserWarning, stacklevel=2)
        return fit, {}
    n_lost = int(np.count_nonzero(fit.has_factors & ~crossed.fit.has_factors))
    return crossed.fit, {"cross_fitting": {"residuals": list(crossed.residuals), "n_lost_tracks": n_lost}}


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


def open_factors(dataset: Location, tracks: Tracks, name: str | None = None) -> Factors:
    """Read factors of a dataset, by default its only ones or ``wmf``.

    DataError is raised when there are none, or they are of other tracks than the dataset's.
    """
    names = factors_names(dataset)
    if not names:
        raise DataError(f"{dataset} has no factors; `cs-keras factors LISTENING.csv {dataset}` makes them.")
    name = name or (names[0] if len(names) == 1 else DEFAULT_NAME)
    if name not in names:
        raise DataError(f"{dataset} has no factors called {name!r}. Received: {', '.join(names)}.")
    factors = load_factors(factors_path(dataset, name))
    if factors.track_ids.tolist() != tracks.ids.tolist():
        raise DataError(
            f"Factors {name!r} are not of the tracks that {dataset} holds now ({len(factors.track_ids)} against "
            f"{len(tracks)}); fit them again with `cs-keras factors`."
        )
    return factors


def open_dataset(
    folder: Location,
    factors_name: str | None = None,
    split_name: str | None = None,
    reading: ReadConfig | None = None,
) -> tuple[Dataset, Factors]:
    """Open a dataset and factors of its tracks, both with one split: a named one, or that of the factors.

    Errors are those of `cs_keras.data.dataset.Dataset`, `open_factors` and
    `cs_keras.factors.store.adapt_to_split`.
    """
    dataset = Dataset(folder, reading)
    factors = open_factors(folder, dataset.tracks, factors_name)
    name = split_name or factors.split_name
    dataset.use_split(name)
    return dataset, adapt_to_split(factors, name, dataset.tracks.in_split("train"))


def open_interactions(dataset: Location, factors: Factors) -> Any:
    """Read the interactions of a dataset in the rows and columns of `factors`.

    They are a csr_matrix of float32, shape (n_playlists, n_tracks), or None where none are stored or they are of
    other playlists, as with external factors. StorageError or DataError is raised when the file is damaged.
    """
    path = dataset / INTERACTIONS_FILE
    if not len(factors.playlist_ids) or not is_file(path):
        return None
    interactions = align(load_interactions(path), factors.track_ids)
    is_same = interactions.playlist_ids.tolist() == factors.playlist_ids.tolist()
    return interactions.user_items if is_same else None


def _fit_scaler(kind: Scaling, tracks: Tracks, item_factors: Any, has_factors: Any) -> Any:
    train = tracks.in_split("train") & has_factors
    if not train.any():
        raise DataError("No track of the train folds has interactions, so there are no training targets.")
    return fit_scaler(kind, item_factors[train])
