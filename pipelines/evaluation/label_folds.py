"""Folds of a cross-validation of classifiers on labelled tracks: given by a table, or generated."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.labels.classification import Integers
from pipelines.evaluation.labels import Labelled, LabelledFeatures, read_folds

DEFAULT_FOLDS = 10


@dataclasses.dataclass(frozen=True)
class FoldsConfig:
    """Folds of a cross-validation.

    Attributes
    ----------
    folds
        Number of folds, 2 or more; a table with columns ``track_id`` and ``fold``; or None for the folds of the
        table of labels, and ten if it has none.
    repeats
        Number of times that new folds are made.
    seed
        Seed of the folds that are made.
    """

    folds: int | Path | None = None
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.folds, int) and self.folds < 2:
            raise ConfigError(f"folds must be at least 2. Received: {self.folds}.")
        if self.repeats < 1:
            raise ConfigError(f"repeats must be at least 1. Received: {self.repeats}.")


def choose_folds(
    tracks: LabelledFeatures,
    labelled: Labelled,
    config: FoldsConfig,
    generate: Callable[[int], Integers],
    generated: str,
) -> tuple[Integers, dict[str, Any]]:
    """Return the fold of each of n tracks from 0, shape (n_repeats, n), and what a report says of the folds.

    Parameters
    ----------
    tracks, labelled, config
        As of `pipelines.evaluation.classify.classify_features`.
    generate
        Returns that number of folds, where none are given.
    generated
        Words for the kind of these.

    Raises
    ------
    ConfigError
        When given folds are to be repeated.
    StorageError, DataError
        When the table of folds cannot be read or lacks a track.
    """
    given = read_folds(config.folds) if isinstance(config.folds, Path) else None
    if given is None and config.folds is None:
        given = labelled.folds
    if given is None:
        folds = generate(config.folds if isinstance(config.folds, int) else DEFAULT_FOLDS)
        is_grouped = len(np.unique(tracks.groups)) < len(tracks.ids)
        kind = f"{generated}, grouped by {labelled.grouped_by}" if is_grouped else generated
    elif config.repeats > 1:
        raise ConfigError(
            "Given folds are the same in every repeat: leave out --repeats, or give --n-folds N."
        )
    else:
        missing = [track_id for track_id in tracks.ids if track_id not in given]
        if missing:
            raise DataError(
                f"{config.folds or labelled.source}: {len(missing)} of {len(tracks.ids)} tracks, the first of them "
                f"{missing[0]!r}, have no fold."
            )
        _, numbers = np.unique([given[track_id] for track_id in tracks.ids], return_inverse=True)
        folds, kind = numbers[np.newaxis].astype(np.int64), "given"
    n_folds = int(folds.max()) + 1
    return folds, {"kind": kind, "n_folds": n_folds, "repeats": len(folds), "seed": config.seed}
