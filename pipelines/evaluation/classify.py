"""Cross-validation of classifiers on features of labelled tracks: accuracy by fold, and confusion."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.labels.classification import (
    MAJORITY,
    CrossValidation,
    Integers,
    LabelledTracks,
    bootstrap_accuracy,
    corrected_interval,
    count_confusions,
    cross_validate,
    make_folds,
)
from cs_keras.progress import Progress, SilentProgress
from cs_keras.storage.location import Location
from pipelines.evaluation.labels import Labelled, match_features, read_folds

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


def classify_features(
    features: Location,
    labelled: Labelled,
    heads: Sequence[str],
    config: FoldsConfig,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Cross-validate heads and return a JSON-ready report: data, folds, and accuracy of each head and the majority.

    Parameters
    ----------
    features
        See `pipelines.evaluation.labels.match_features`.
    labelled
        Labels of `pipelines.evaluation.labels`.
    heads
        Some of `cs_keras.evaluation.labels.classification.HEADS`.
    config
        Folds.

    Raises
    ------
    ConfigError
        When given folds are to be repeated.
    StorageError
        When the features cannot be read.
    DataError
        When they are not a row of finite numbers for each id, labelled tracks have none, or a label has too few
        tracks.
    """
    progress = progress or SilentProgress()
    tracks = match_features(features, labelled)
    ids, examples = tracks.ids, tracks.examples
    folds, kind = _folds(ids, examples, labelled, config)
    n_fits = len(folds) * (int(folds.max()) + 1)
    results = {}
    for head in (MAJORITY, *heads):
        with progress.task(f"{head}: folds", n_fits) as advance:
            results[head] = _summary(
                examples, cross_validate(examples, folds, head, config.seed, advance), config.seed
            )
    names, counts = np.unique(examples.labels, return_counts=True)
    return {
        "features": str(features),
        **tracks.about,
        "labels": str(labelled.source),
        "n_tracks": len(ids),
        "n_features": examples.features.shape[1],
        "classes": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "folds": {"kind": kind, "n_folds": n_fits // len(folds), "repeats": len(folds), "seed": config.seed},
        "heads": results,
    }


def _folds(
    ids: Sequence[str], examples: LabelledTracks, labelled: Labelled, config: FoldsConfig
) -> tuple[Integers, str]:
    """Return the fold of each track, shape (n_repeats, n), and the kind of folds."""
    given = read_folds(config.folds) if isinstance(config.folds, Path) else None
    if given is None and config.folds is None:
        given = labelled.folds
    if given is None:
        n_folds = config.folds if isinstance(config.folds, int) else DEFAULT_FOLDS
        is_grouped = len(np.unique(examples.groups)) < len(ids)
        kind = f"stratified, grouped by {labelled.grouped_by}" if is_grouped else "stratified"
        return make_folds(examples, n_folds, config.repeats, config.seed), kind
    if config.repeats > 1:
        raise ConfigError(
            "Given folds are the same in every repeat: leave out --repeats, or give --n-folds N."
        )
    missing = [track_id for track_id in ids if track_id not in given]
    if missing:
        raise DataError(
            f"{config.folds}: {len(missing)} of {len(ids)} tracks, the first of them {missing[0]!r}, have no fold."
        )
    _, numbers = np.unique([given[track_id] for track_id in ids], return_inverse=True)
    return numbers[np.newaxis].astype(np.int64), "given"


def _summary(examples: LabelledTracks, classified: CrossValidation, seed: int) -> dict[str, Any]:
    summary = {
        "accuracy": float(np.mean(classified.predicted == examples.labels)),
        "interval_tracks": bootstrap_accuracy(examples, classified, seed),
        "fold_accuracy": classified.fold_accuracy.tolist(),
        "settings": list(classified.settings),
        "confusion": count_confusions(examples, classified).tolist(),
    }
    if len(classified.predicted) > 1:
        summary["interval_repeats"] = corrected_interval(classified)
    return summary
