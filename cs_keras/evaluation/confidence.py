"""Evaluation of predicted standard deviations: their calibration, and their rank correlation with actual errors.

All quantities are of scaled factors, in which a model predicts. Each factor's distribution is taken as normal, with
the mean and the standard deviation that were predicted for it.
"""

import numpy as np
import numpy.typing as npt
import scipy.stats

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, FloatArray, check_factors, check_same_shape
from cs_keras.evaluation.statistics.jackknife import Estimate, cluster_artists, estimate, sum_values
from cs_keras.run_files.evaluation import ConfidenceRecord, ErrorGroup, ExpectedError, MeanRecord

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
N_GROUPS = 5  # of tracks by expected error
N_HARDEST = 10
LEAST_CORRELATED = 3  # tracks


def expected_errors(deviations: npt.ArrayLike) -> FloatArray:
    """Return the root mean square of the predicted standard deviations of each track, shape (n_tracks,), float32.

    It is the expected root mean square error of its scaled factors. Of standardised factors, that of the mean
    predictor is 1.

    Parameters
    ----------
    deviations : array_like, shape (n_tracks, n_factors), float32
    """
    variances = np.square(np.asarray(deviations, np.float64))
    return np.asarray(np.sqrt(variances.mean(axis=1)), np.float32)


def mix_deviations(weights: npt.ArrayLike, means: npt.ArrayLike, deviations: npt.ArrayLike) -> FloatArray:
    """Return the standard deviations of a mixture of predictions, by the law of total variance.

    The variance is the mean of the variances plus the variance of the means.

    Parameters
    ----------
    weights : array_like, shape (n_models,), float
        Their sum is 1.
    means, deviations : array_like, shape (n_models, n_tracks, n_factors), float32

    Returns
    -------
    numpy.ndarray, shape (n_tracks, n_factors), float32
    """
    own, each = np.asarray(weights, np.float64), np.asarray(means, np.float64)
    mean = np.tensordot(own, each, 1)
    variances = np.square(np.asarray(deviations, np.float64)) + np.square(each - mean)
    return np.asarray(np.sqrt(np.tensordot(own, variances, 1)), np.float32)


def measure_confidence(
    reference: npt.ArrayLike,
    predicted: npt.ArrayLike,
    deviations: npt.ArrayLike,
    artists: npt.ArrayLike,
    track_ids: npt.ArrayLike,
) -> ConfidenceRecord:
    """Compare predicted standard deviations with the errors that were made.

    Coverage is the share of factors inside the central interval of each nominal level, averaged over tracks; the
    calibration error is its mean absolute difference from the levels. Intervals leave out an artist at a time.

    Parameters
    ----------
    reference, predicted, deviations : array_like, shape (n_tracks, n_factors), float32
        Scaled factors; deviations are above 0.
    artists : array_like, shape (n_tracks,), int
        -1 is unknown; such a track counts as an artist of its own.
    track_ids : array_like of str, shape (n_tracks,)

    Raises
    ------
    DataError
        Matrices are not finite or not of one shape, or a deviation is not above 0.
    """
    reference, predicted, deviations = (
        check_factors(f"{name} factors", values)
        for name, values in (
            ("reference", reference),
            ("predicted", predicted),
            ("deviations of", deviations),
        )
    )
    check_same_shape(reference, predicted)
    check_same_shape(reference, deviations)
    if not deviations.min() > 0:
        raise DataError(
            f"predicted standard deviations must be above 0. Received: {deviations.min():.3g} as the lowest."
        )
    clusters, sizes = cluster_artists(artists), deviations.astype(np.float64)
    errors = predicted.astype(np.float64) - reference
    scores = np.abs(errors) / sizes
    coverage = [
        estimate(sum_values((scores <= limit).mean(axis=1), clusters))
        for limit in scipy.stats.norm.ppf((1 + np.array(LEVELS)) / 2)
    ]
    expected, made = expected_errors(deviations).astype(np.float64), np.sqrt(np.square(errors).mean(axis=1))
    order = np.argsort(expected, kind="stable")
    ids = np.asarray(track_ids)
    return ConfidenceRecord(
        levels=LEVELS,
        coverage=tuple(_record(one, 0, 1) for one in coverage),
        calibration_error=float(
            np.mean([abs(one.mean - level) for one, level in zip(coverage, LEVELS, strict=True)])
        ),
        nll=float(-scipy.stats.norm.logpdf(errors / sizes).mean() + np.log(sizes).mean()),
        rank_correlation=_correlate(expected, made, clusters),
        groups=tuple(
            ErrorGroup(len(rows), _root_mean_square(expected[rows]), _root_mean_square(made[rows]))
            for rows in np.array_split(order, min(N_GROUPS, len(order)))
        ),
        hardest=tuple(
            ExpectedError(str(ids[row]), float(expected[row]), float(made[row]))
            for row in order[::-1][:N_HARDEST]
        ),
    )


def _root_mean_square(values: Float64Array) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _record(estimated: Estimate, lowest: float, highest: float) -> MeanRecord:
    """Return an estimate with its interval inside the range of its values; without limits of a single artist."""
    if estimated.df <= 0:
        return MeanRecord(estimated.mean, None, None)
    low, high = np.clip(estimated.interval(), lowest, highest).tolist()
    return MeanRecord(estimated.mean, low, high)


def _correlate(
    expected: Float64Array, made: Float64Array, clusters: npt.NDArray[np.int64]
) -> MeanRecord | None:
    """Return Spearman's rank correlation with the interval of the delete-one-artist jackknife, Student's t.

    None for fewer than `LEAST_CORRELATED` tracks, or where either is the same for all.
    """

    def correlate(kept: npt.NDArray[np.bool_]) -> float:
        if np.count_nonzero(kept) < LEAST_CORRELATED or not (np.ptp(expected[kept]) and np.ptp(made[kept])):
            return float("nan")
        return float(scipy.stats.spearmanr(expected[kept], made[kept]).statistic)

    own = correlate(np.ones(len(expected), np.bool_))
    if np.isnan(own):
        return None
    n = int(clusters.max()) + 1
    without = np.array([correlate(clusters != cluster) for cluster in range(n)])
    if n < 2 or np.isnan(without).any():
        return MeanRecord(own, None, None)
    error = np.sqrt((n - 1) / n * np.square(without - without.mean()).sum())
    return _record(Estimate(own, float(error), n - 1), -1, 1)
