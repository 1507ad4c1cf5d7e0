"""Cross-validation of classifiers on features of tracks with several labels each, one against the rest."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.labels.classification import Integers, check_fold_numbers, corrected_interval
from cs_keras.evaluation.labels.multi_label import (
    Metric,
    average_precision,
    evaluate_labels,
    roc_auc,
    within_folds,
)
from cs_keras.evaluation.labels.one_vs_rest import TaggedTracks, is_classifiable, make_tag_folds, score_tags
from cs_keras.progress import Progress
from cs_keras.run_files.evaluation import MeanRecord
from cs_keras.run_files.labels import CHANCE
from pipelines.evaluation.label_folds import FoldsConfig, choose_folds
from pipelines.evaluation.labels import Labelled, LabelledFeatures

Scores = npt.NDArray[np.float64]

DEFAULT_LABELS = 50


def classify_tags(
    tracks: LabelledFeatures,
    labelled: Labelled,
    heads: Sequence[str],
    config: FoldsConfig,
    n_labels: int,
    progress: Progress,
) -> dict[str, Any]:
    """Return labels, folds, and ROC AUC and average precision of each head and of chance, ready for JSON.

    Parameters are those of `pipelines.evaluation.classify.classify_features`, with the tracks that have features.
    Labels that cannot be fitted without some fold, or evaluated in any, are left out and listed.

    Raises
    ------
    ConfigError, StorageError, DataError
        As by `choose_folds`; or fewer than two labels are left.
    """
    examples = tracks.tagged(n_labels)
    folds, about = choose_folds(
        tracks,
        labelled,
        config,
        lambda n: make_tag_folds(examples, n, config.repeats, config.seed),
        "stratified by the rarest label of each track",
    )
    check_fold_numbers(folds)
    is_used = is_classifiable(examples, folds)
    if np.count_nonzero(is_used) < 2:
        raise DataError(
            f"{labelled.source}: expected at least two labels that, outside each of {about['n_folds']} folds, two "
            f"tracks have and two lack. Received: {np.count_nonzero(is_used)} of {len(is_used)}."
        )
    used = TaggedTracks(examples.features, examples.names[is_used], examples.has[:, is_used], examples.groups)
    zeros = np.zeros((len(folds), *used.has.shape))
    results = {CHANCE: _summary(used, folds, zeros)}
    n_fits = len(folds) * about["n_folds"] * len(used.names)
    for head in heads:
        with progress.task(f"{head}: labels in folds", n_fits) as advance:
            scores = score_tags(used, folds, head, config.seed, advance)
        results[head] = _summary(used, folds, scores)
    return {
        "classes": dict(zip(used.names.tolist(), used.has.sum(axis=0).tolist(), strict=True)),
        "left_out": examples.names[~is_used].tolist(),
        "folds": about,
        "heads": results,
    }


def _summary(examples: TaggedTracks, folds: Integers, scores: Scores) -> dict[str, Any]:
    """Return means over labels, by fold and by label; of repeated cross-validations means, bounds included."""
    found = [
        evaluate_labels(examples.has, own, examples.groups, row)
        for row, own in zip(folds, scores, strict=True)
    ]
    summary: dict[str, Any] = {}
    for name, metric in (("auc", roc_auc), ("average_precision", average_precision)):
        summary[name] = _mean([getattr(one.over_labels, name) for one in found])
        by_fold = _by_fold(metric, examples, folds, scores)
        summary[f"fold_{name}"] = [
            [None if np.isnan(one) else one for one in row] for row in by_fold.tolist()
        ]
        if len(folds) > 1 and not np.isnan(by_fold).any():
            summary[f"interval_repeats_{name}"] = corrected_interval(by_fold)
    summary["by_label"] = {
        label: {
            name: _mean([getattr(one.by_label[number], name) for one in found])
            for name in ("auc", "average_precision")
        }
        for number, label in enumerate(examples.names.tolist())
    }
    return summary


def _by_fold(metric: Metric, examples: TaggedTracks, folds: Integers, scores: Scores) -> Scores:
    """Return the mean over labels of each fold, shape (n_repeats, n_folds); NaN where none can be evaluated."""
    means = np.full((len(folds), int(folds.max()) + 1), np.nan)
    for repeat, (row, own) in enumerate(zip(folds, scores, strict=True)):
        for number, values in enumerate(within_folds(metric, examples.has, own, row)):
            if not np.isnan(values).all():
                means[repeat, number] = np.nanmean(values)
    return means


def _mean(records: Sequence[MeanRecord | None]) -> dict[str, Any]:
    """Return the mean of means and of bounds; a bound that one has not is None."""
    values = [msgspec.to_builtins(one) for one in records]
    return {
        key: None if any(one[key] is None for one in values) else float(np.mean([one[key] for one in values]))
        for key in ("mean", "low", "high")
    }
