"""Ranking metrics of multi-label predictions, over labels and over tracks, with intervals that respect artists.

Over labels, as of a retrieval by tag: each label ranks the tracks, and metrics are averaged over labels with equal
weight (macro average). Over tracks, as of tagging: each track ranks the labels. ROC AUC counts ties half, average
precision takes tied scores as one threshold, as in scikit-learn, which would need a call for each label and each
deleted artist.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.stats

from cs_keras.errors import DataError
from cs_keras.evaluation.statistics.jackknife import QuerySums, cluster_artists, estimate, sum_values
from cs_keras.run_files.evaluation import MeanRecord
from cs_keras.run_files.labels import RankingMetrics

Flags = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelMetrics:
    """Metrics over labels and over tracks, and of each label; see `evaluate_labels`."""

    over_labels: RankingMetrics
    over_tracks: RankingMetrics
    by_label: tuple[RankingMetrics, ...]


def roc_auc(labels: Flags, scores: Scores) -> Values:
    """Return the area under the ROC curve of each column: the share of ordered pairs, ties counting half.

    Parameters
    ----------
    labels, scores
        Shape (n, n_labels).

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        NaN where all rows have the label, or none.
    """
    n_with = labels.sum(axis=0)
    n_pairs = n_with * (len(labels) - n_with)
    ranks = scipy.stats.rankdata(scores, axis=0)
    above = np.where(labels, ranks, 0).sum(axis=0) - n_with * (n_with + 1) / 2
    return np.where(n_pairs > 0, above / np.maximum(n_pairs, 1), np.nan)


def average_precision(labels: Flags, scores: Scores) -> Values:
    """Return the average precision of each column: the mean over rows with the label of the precision there.

    Rows of equal scores are ranked together: the precision of each is that of the last of them. Parameters and
    result are those of `roc_auc`; NaN where no row has the label.
    """
    if not len(labels):
        return np.full(labels.shape[1], np.nan)
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked, sorted_scores = np.take_along_axis(labels, order, 0), np.take_along_axis(scores, order, 0)
    rows = np.arange(len(labels))[:, np.newaxis]
    is_last = np.ones(labels.shape, np.bool_)
    is_last[:-1] = sorted_scores[1:] != sorted_scores[:-1]
    last = np.minimum.accumulate(np.where(is_last, rows, len(labels))[::-1])[::-1]
    precision = np.take_along_axis(ranked.cumsum(axis=0), last, 0) / (last + 1)
    n_with = labels.sum(axis=0)
    total = np.where(ranked, precision, 0).sum(axis=0)
    return np.where(n_with > 0, total / np.maximum(n_with, 1), np.nan)


Metric = Callable[[Flags, Scores], Values]
METRICS: tuple[Metric, ...] = (roc_auc, average_precision)


def within_folds(metric: Metric, labels: Flags, scores: Scores, folds: npt.NDArray[np.int64]) -> Values:
    """Return a metric of each column within each fold, shape (n_folds, n_labels), NaN where it says nothing.

    That is, where all tracks of the fold have the label, or none. `folds` are numbers from 0, shape (n,).
    """
    by_fold = np.full((folds.max() + 1, labels.shape[1]), np.nan)
    for number, row in enumerate(by_fold):
        own = labels[folds == number]
        varies = own.any(axis=0) & ~own.all(axis=0)
        row[varies] = metric(own[:, varies], scores[folds == number][:, varies])
    return by_fold


def evaluate_labels(
    labels: Flags, scores: Scores, artists: npt.ArrayLike, folds: npt.NDArray[np.int64] | None = None
) -> LabelMetrics:
    """Evaluate scores of the labels of test tracks.

    Over labels, labels that all tracks have or none has are left out, over tracks the same of tracks. 95 %
    intervals are by jackknife: over labels, the artists' tracks are deleted in turn and all metrics computed again,
    for the same labels; over tracks, a mean over tracks in clusters of artists.

    Parameters
    ----------
    labels, scores
        Shape (n_tracks, n_labels).
    artists
        Artist of each track, shape (n_tracks,), int; -1 is unknown, and counts as an artist of its own.
    folds
        Fold of each track from 0, shape (n_tracks,), int64, where scores are of cross-validated models: metrics
        over labels are means over the folds that have tracks with and without the label, see `within_folds`.

    Raises
    ------
    DataError
        Shapes do not match, scores are not finite, or no label and no track can be evaluated.
    """
    if labels.shape != scores.shape or labels.ndim != 2 or not np.isfinite(scores).all():
        raise DataError(
            f"label scores must be finite numbers of shape {labels.shape}. Received: shape {scores.shape}."
        )
    varies = labels.any(axis=0) & ~labels.all(axis=0)
    is_evaluated = labels.any(axis=1) & ~labels.all(axis=1)
    if not varies.any() or not is_evaluated.any():
        raise DataError(
            f"labels cannot be evaluated: expected one at least that some of {len(labels)} test tracks have and "
            "others lack, and a track with some labels and not all."
        )
    clusters = cluster_artists(artists)
    sizes = np.bincount(clusters)
    everything = np.ones(len(labels), np.bool_)
    without = [clusters != number for number in range(len(sizes))]
    over_labels, over_tracks, by_label = [], [], []
    for metric in METRICS:
        values = np.array(
            [_of_labels(metric, labels, scores, folds, rows) for rows in (everything, *without)]
        )
        over_labels.append(_jackknife(values[:, varies], sizes))
        by_label.append([_jackknife(own[:, np.newaxis], sizes) for own in values.T])
        per_track = metric(labels[is_evaluated].T, scores[is_evaluated].T)
        known = np.unique(clusters[is_evaluated], return_inverse=True)[1]
        over_tracks.append(_record(sum_values(per_track, known)))
    return LabelMetrics(
        RankingMetrics(*over_labels),
        RankingMetrics(*over_tracks),
        tuple(RankingMetrics(*own) for own in zip(*by_label, strict=True)),
    )


def _of_labels(
    metric: Metric, labels: Flags, scores: Scores, folds: npt.NDArray[np.int64] | None, rows: Flags
) -> Values:
    """Return the metric of each label by the tracks `rows`, shape (n_labels,); of folds their mean."""
    if folds is None:
        return metric(labels[rows], scores[rows])
    by_fold = within_folds(metric, labels[rows], scores[rows], folds[rows])
    n_known = np.count_nonzero(~np.isnan(by_fold), axis=0)
    return np.where(n_known > 0, np.nansum(by_fold, axis=0) / np.maximum(n_known, 1), np.nan)


def _jackknife(values: Values, sizes: npt.NDArray[np.int64]) -> MeanRecord | None:
    """Return the mean over labels, from values with nothing deleted (row 0) and without each cluster of tracks.

    Shape (1 + n_clusters, n_labels). A label that a deletion leaves without a value is left out of that mean; None
    where there is no value at all.
    """
    if np.isnan(values[0]).any():
        return None
    if np.isnan(values).all(axis=1).any():  # one artist has all tracks with, or without, the only label
        return MeanRecord(float(values[0].mean()), None, None)
    sums = np.nanmean(values, axis=1) * values.shape[1]
    n_labels = np.array([values.shape[1]])
    return _record(QuerySums(sums[np.newaxis, np.newaxis], n_labels, sizes, by_similarity=False))


def _record(sums: QuerySums) -> MeanRecord:
    """Return the mean with its interval, within 0 and 1; without one where there is a single artist."""
    found = estimate(sums)
    low, high = found.interval()
    if not np.isfinite([low, high]).all():
        return MeanRecord(found.mean, None, None)
    return MeanRecord(found.mean, max(0.0, low), min(1.0, high))
