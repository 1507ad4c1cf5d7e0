"""Training data: a dataset with splits and factors, and the targets and loss of a regression."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.data.attributes.table import Attributes
from cs_keras.data.dataset import Dataset
from cs_keras.data.folds import sample_rows
from cs_keras.data.schema import INTERACTIONS_FILE
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.interactions import align, load_interactions
from cs_keras.factors.store import Factors, adapt_to_split
from cs_keras.factors.wmf import read_wmf_config, weigh_counts
from cs_keras.models.spec import TrainingConfig
from cs_keras.runs import digest
from cs_keras.storage.location import is_file
from cs_keras.training.contrastive_losses import info_nce
from cs_keras.training.losses import Objective
from cs_keras.training.prediction_error import MAX_TRACKS, make_track_numbers, weighted_prediction_error
from pipelines.factors.open import open_factors

Rows = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """A dataset with scaled factors and the rows of its splits.

    Attributes
    ----------
    dataset
        Source of frames.
    targets
        Scaled factors, shape (n_tracks, n_factors), float32; rows without interactions are zero and not used.
    train, validation
        Track table rows with factors, shapes (n_train,) and (n_validation,).
    unseen
        Rows of all validation and test tracks, with or without factors, which are predicted.
    item_factors
        The same factors unscaled, shape (n_tracks, n_factors), float32.
    data_digest
        Digest of the dataset and its factors, without `tables` and `extra`.
    tables
        Tables of attributes by name; "" for the one without a name.
    extra
        Further factors to learn; see `open_extra_factors`.
    """

    dataset: Dataset
    targets: Matrix
    train: Rows
    validation: Rows
    unseen: Rows
    item_factors: Matrix
    data_digest: str
    tables: Mapping[str, Attributes] = dataclasses.field(default_factory=dict)
    extra: tuple[Factors, ...] = ()


def make_training_data(
    dataset: Dataset,
    factors: Factors,
    train_fraction: float,
    tables: Mapping[str, Attributes] | None = None,
    extra: Sequence[Factors] = (),
) -> TrainingData:
    """Combine a dataset with factors and attributes, on a share of the train tracks.

    Raises
    ------
    DataError
        When no train or no validation track has factors.
    """
    tracks = dataset.tracks
    rows = {}
    for split in ("train", "validation"):
        rows[split] = np.flatnonzero(tracks.in_split(split) & factors.has_factors)
        if not len(rows[split]):
            raise DataError(
                f"No {split} track of {dataset.folder} has interactions: at least one is needed, of "
                f"{int(tracks.in_split(split).sum())} tracks in that split."
            )
    train = np.array(sample_rows(tracks.ids.tolist(), rows["train"].tolist(), train_fraction))
    return TrainingData(
        dataset,
        scaled_factors(factors),
        train,
        rows["validation"],
        np.flatnonzero(~tracks.in_split("train")),
        factors.item_factors,
        digest([dataset.digest, factors.digest]),
        tables or {},
        tuple(extra),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingTargets:
    """Targets and loss of a regression.

    Attributes
    ----------
    examples
        Targets in batches, shape (n_tracks, n), float32.
    objective
        Objective to minimise; None for the loss that the settings name, with scaled factors as targets.
    """

    examples: Matrix
    objective: Objective | None = None


def open_extra_factors(dataset: Dataset, factors: Factors, training: TrainingConfig) -> list[Factors]:
    """Open the factors that a network learns in addition to `factors`.

    Raises
    ------
    ConfigError
        When `factors` are named again, or others were fitted on held-out interactions or for another split.
    DataError
        When factors of a name do not exist, or lack a train or validation track that `factors` have.
    """
    if not training.extra_factors:
        return []
    tracks = dataset.tracks
    needed = factors.has_factors & ~tracks.in_split("test")
    found = []
    for name in training.extra_factors:
        if not name:
            raise ConfigError("training.extra_factors must name factors. Received: a name that is empty.")
        if name == factors.name or training.extra_factors.count(name) > 1:
            raise ConfigError(
                f"training.extra_factors names {name!r} more than once or as the main factors. Received: "
                f"{', '.join(training.extra_factors)}."
            )
        extra = adapt_to_split(
            open_factors(dataset.folder, tracks, name), factors.split_name, tracks.in_split("train")
        )
        if factors.protocol == "strict" and extra.protocol == "thesis":
            raise ConfigError(
                f"Factors {name!r} were fitted on interactions with test tracks (protocol thesis), which "
                f"{factors.name!r} hold out (protocol strict); make them by protocol strict as well."
            )
        n_missing = int(np.count_nonzero(needed & ~extra.has_factors))
        if n_missing:
            raise DataError(
                f"Factors {name!r} lack {n_missing} of the train and validation tracks that have {factors.name!r}: "
                "make both from the same interactions."
            )
        found.append(extra)
    return found


def make_training_targets(data: TrainingData, factors: Factors, training: TrainingConfig) -> TrainingTargets:
    """Make the targets for ``training.loss``: scaled factors, followed by those of the extra factors.

    For ``unit_mse``, factors are first brought to one length, the mean of the train tracks; they are scaled like
    other targets, so that predictions are scaled back in the same way.

    Losses of interactions use those of train tracks, and of validation tracks for early stopping.

    Raises
    ------
    ConfigError
        When the loss needs interactions that do not exist or do not match the factors.
    """
    if training.loss in LOSSES_OF_TRACKS:
        if len(data.targets) > MAX_TRACKS:
            raise ConfigError(
                f"training.loss = {training.loss} takes at most {MAX_TRACKS} tracks. "
                f"Received: {len(data.targets)}."
            )
        loss = LOSSES_OF_TRACKS[training.loss](data, factors, training)
        return TrainingTargets(make_track_numbers(len(data.targets)), Objective(loss))
    several = [_examples(data, one, training.loss) for one in (factors, *data.extra)]
    return TrainingTargets(np.hstack(several) if data.extra else several[0])


def _make_weighted_prediction_error(
    data: TrainingData, factors: Factors, training: TrainingConfig
) -> keras.losses.Loss:
    config = factors.config
    if config is None:
        raise ConfigError(
            "training.loss = wpe needs the interactions that factors were fitted on, and factors "
            f"{factors.name!r} are imported: use another loss, or factors made by `cs-keras factors`."
        )
    wmf = read_wmf_config(config)
    user_items = weigh_counts(_seen_interactions(data, factors, "loss = wpe"), wmf.weight)
    return weighted_prediction_error(user_items, factors.playlist_factors, factors.scaler, wmf.alpha)


def _make_info_nce(data: TrainingData, factors: Factors, training: TrainingConfig) -> keras.losses.Loss:
    prior, share = None, training.popularity_correction
    if share:
        user_items = _seen_interactions(data, factors, "popularity_correction")
        prior = share * np.log(np.maximum(user_items.getnnz(axis=0), 1)).astype(np.float32)
    return info_nce(data.item_factors, factors.scaler, training.temperature, prior)


LOSSES_OF_TRACKS: dict[str, Callable[[TrainingData, Factors, TrainingConfig], keras.losses.Loss]] = {
    "wpe": _make_weighted_prediction_error,
    "infonce": _make_info_nce,
}
"""Losses whose examples are track numbers, by their names in settings."""


def _examples(data: TrainingData, factors: Factors, loss: str) -> Matrix:
    """Scale factors, shape (n_tracks, n_factors), for ``unit_mse`` after bringing them to one length."""
    if loss != "unit_mse":
        return scaled_factors(factors)
    lengths = np.linalg.norm(factors.item_factors, axis=1, keepdims=True)
    directions = factors.item_factors / np.where(lengths > 0, lengths, 1)
    return factors.scaler.transform(directions * lengths[data.train].mean())


def scaled_factors(factors: Factors) -> Matrix:
    """Scale factors, shape (n_tracks, n_factors), float32; tracks without factors get zeros."""
    scaled = np.where(factors.has_factors[:, None], factors.scaler.transform(factors.item_factors), 0)
    return scaled.astype(np.float32)


def _seen_interactions(data: TrainingData, factors: Factors, setting: str) -> scipy.sparse.csr_matrix:
    """Open the interactions of train and validation tracks, in the order of `factors`, for a setting of training.

    Counts, shape (n_playlists, n_tracks); columns of other tracks are empty.
    """
    path = data.dataset.folder / INTERACTIONS_FILE
    needed = f"training.{setting} needs the interactions that factors were fitted on"
    if not is_file(path):
        raise ConfigError(f"{needed}, and there is no {path}; `cs-keras factors` makes it.")
    interactions = align(load_interactions(path), factors.track_ids)
    if interactions.playlist_ids.tolist() != factors.playlist_ids.tolist():
        raise ConfigError(
            f"{needed}, and {path} holds other playlists than factors {factors.name!r}; make these again with "
            "`cs-keras factors`."
        )
    seen = np.zeros(len(data.targets))
    seen[np.concatenate([data.train, data.validation])] = 1
    user_items = interactions.user_items.multiply(seen[np.newaxis]).tocsr()
    user_items.eliminate_zeros()
    return user_items
