"""Cross-validation of classifiers on features of labelled tracks: accuracy by fold, and confusion."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
from cs_keras.factors.arrays import check_ids, read_arrays, require_arrays
from cs_keras.progress import Progress, SilentProgress
from cs_keras.storage.location import Location
from pipelines.evaluation.labels import Labelled, read_folds

ID_ARRAYS = ("track_ids", "ids")
ABOUT = ("layer", "run_digest")
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


def _read_features(path: Location) -> tuple[list[str], npt.NDArray[np.float64], dict[str, str]]:
    """Return track ids, features of shape (n, n_features), and the model layer and run that they were made with."""
    arrays = read_arrays(path)
    name = next((name for name in ID_ARRAYS if name in arrays), ID_ARRAYS[0])
    require_arrays(arrays, (name, "features"), path)
    ids, matrix = arrays[name], arrays["features"]
    check_ids(ids, name, path)
    if matrix.ndim != 2 or len(matrix) != len(ids) or matrix.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: expected features of shape ({len(ids)}, n_features), numbers. Received: {matrix.dtype} "
            f"{matrix.shape}."
        )
    if not np.isfinite(matrix).all():
        raise DataError(
            f"{path}: track {str(ids[~np.isfinite(matrix).all(axis=1)][0])!r} has features that are not finite."
        )
    about = {key: str(arrays[key]) for key in ABOUT if key in arrays}
    return ids.tolist(), matrix.astype(np.float64), about


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
        File of `cs-keras features`, with all labelled tracks; tracks of a dataset without features are left out.
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
    all_ids, matrix, about = _read_features(features)
    row_of = {track_id: row for row, track_id in enumerate(all_ids)}
    ids = [track_id for track_id in labelled.labels if track_id in row_of]
    n_missing = len(labelled.labels) - len(ids)
    if n_missing and not labelled.is_catalogue:
        first = next(track_id for track_id in labelled.labels if track_id not in row_of)
        raise DataError(
            f"{labelled.source}: {n_missing} of {len(labelled.labels)} tracks, the first of them {first!r}, have "
            f"no features in {features}."
        )
    if not ids:
        raise DataError(f"None of the tracks of {features} has a label in {labelled.source}.")
    examples = LabelledTracks(
        matrix[[row_of[track_id] for track_id in ids]],
        np.array([labelled.labels[track_id] for track_id in ids], np.str_),
        _groups(ids, labelled.artists or {}),
    )
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
        **about,
        "labels": str(labelled.source),
        "n_tracks": len(ids),
        "n_features": matrix.shape[1],
        "classes": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "folds": {"kind": kind, "n_folds": n_fits // len(folds), "repeats": len(folds), "seed": config.seed},
        "heads": results,
    }


def _groups(ids: Sequence[str], artists: Mapping[str, str]) -> Integers:
    """Return the number of the artist of each track; an unknown artist counts as one with a single track."""
    number_of: dict[tuple[str, str], int] = {}
    keys = [
        (artist, "" if artist else track_id) for track_id in ids for artist in [artists.get(track_id, "")]
    ]
    return np.array([number_of.setdefault(key, len(number_of)) for key in keys], np.int64)


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
        kind = "stratified, grouped by artist" if is_grouped else "stratified"
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
