"""Cross-validation of classifiers on features of labelled tracks.

Accuracy by fold and confusion where each track has one label, ROC AUC and average precision where some have
several.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cs_keras.evaluation.labels.classification import (
    MAJORITY,
    CrossValidation,
    LabelledTracks,
    bootstrap_accuracy,
    corrected_interval,
    count_confusions,
    cross_validate,
    make_folds,
)
from cs_keras.progress import Progress, SilentProgress
from cs_keras.storage.location import Location
from pipelines.evaluation.classify_tags import DEFAULT_LABELS, classify_tags
from pipelines.evaluation.label_folds import FoldsConfig, choose_folds
from pipelines.evaluation.labels import Labelled, LabelledFeatures, match_features


def classify_features(
    features: Location,
    labelled: Labelled,
    heads: Sequence[str],
    config: FoldsConfig,
    progress: Progress | None = None,
    n_labels: int = DEFAULT_LABELS,
) -> dict[str, Any]:
    """Cross-validate heads and return a JSON-ready report: data, folds, and metrics of each head and a baseline.

    Accuracy, and the majority as the baseline; where some track has several labels, ROC AUC and average precision
    (means over labels), and chance.

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
    progress
        Reports the folds.
    n_labels
        Number of labels where some track has several, those of the most tracks.

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
    about = {
        "features": str(features),
        **tracks.about,
        "labels": str(labelled.source),
        "n_tracks": len(tracks.ids),
        "n_features": tracks.features.shape[1],
    }
    if any(len(own) > 1 for own in tracks.labels):
        return about | classify_tags(tracks, labelled, heads, config, n_labels, progress)
    return about | _classify(tracks, labelled, heads, config, progress)


def _classify(
    tracks: LabelledFeatures,
    labelled: Labelled,
    heads: Sequence[str],
    config: FoldsConfig,
    progress: Progress,
) -> dict[str, Any]:
    """Return classes, folds, and accuracy of each head and the majority."""
    examples = tracks.examples
    folds, about = choose_folds(
        tracks, labelled, config, lambda n: make_folds(examples, n, config.repeats, config.seed), "stratified"
    )
    n_fits = len(folds) * (int(folds.max()) + 1)
    results = {}
    for head in (MAJORITY, *heads):
        with progress.task(f"{head}: folds", n_fits) as advance:
            results[head] = _summary(
                examples, cross_validate(examples, folds, head, config.seed, advance), config.seed
            )
    names, counts = np.unique(examples.labels, return_counts=True)
    return {
        "classes": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "folds": about,
        "heads": results,
    }


def _summary(examples: LabelledTracks, classified: CrossValidation, seed: int) -> dict[str, Any]:
    summary = {
        "accuracy": float(np.mean(classified.predicted == examples.labels)),
        "interval_tracks": bootstrap_accuracy(examples, classified, seed),
        "fold_accuracy": classified.fold_accuracy.tolist(),
        "settings": list(classified.settings),
        "confusion": count_confusions(examples, classified).tolist(),
    }
    if len(classified.predicted) > 1:
        summary["interval_repeats"] = corrected_interval(classified.fold_accuracy)
    return summary
