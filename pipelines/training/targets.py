"""Training data: a dataset with splits, attributes and scaled factors."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.data.attributes.table import Attributes
from cs_keras.data.dataset import Dataset
from cs_keras.data.folds import sample_rows
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.store import Factors, adapt_to_split
from cs_keras.models.spec import TrainingConfig
from cs_keras.runs import digest
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


def scaled_factors(factors: Factors) -> Matrix:
    """Scale factors, shape (n_tracks, n_factors), float32; tracks without factors get zeros."""
    scaled = np.where(factors.has_factors[:, None], factors.scaler.transform(factors.item_factors), 0)
    return scaled.astype(np.float32)
