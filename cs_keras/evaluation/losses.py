"""Losses between predicted and reference factors: the quantities models are trained on."""

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.checks import Float64Array, FloatArray, check_factors, check_same_shape
from cs_keras.evaluation.search.search import blocks
from cs_keras.run_files.evaluation import RegressionLosses

ROWS_PER_BLOCK = 2**14  # in float64 at a time: 26 MB of 200 factors


def measure_regression_losses(reference: npt.ArrayLike, predicted: npt.ArrayLike) -> RegressionLosses:
    """Return MSE, R² and mean cosine distance of predicted factors.

    R² is 1 - SSE / SST, both summed over tracks and factors, SST about the mean of each factor over the given
    tracks. Factors thus weigh by their variance, as in `sklearn.metrics.r2_score` with
    `multioutput="variance_weighted"` (which leaves out factors that are constant in the reference; here their
    errors count). The mean of these very tracks scores 0; the mean of other tracks scores below.

    A row of zeros has no direction: its cosine is taken as 0, so its distance is 1.

    Parameters
    ----------
    reference, predicted : array_like, shape (n_tracks, n_factors), float32

    Returns
    -------
    RegressionLosses
        Computed in float64.

    Raises
    ------
    DataError
        Not two finite factor matrices of one shape.
    """
    reference, predicted = _check_pair(reference, predicted)
    mean = reference.mean(axis=0, dtype=np.float64)
    sums = np.zeros(3)
    for block in blocks(len(reference), ROWS_PER_BLOCK):
        truth, estimate = reference[block].astype(np.float64), predicted[block].astype(np.float64)
        distances = _cosine_distances(truth, estimate)
        sums += np.square(truth - estimate).sum(), np.square(truth - mean).sum(), distances.sum()
    squared_error, variation, distance = sums.tolist()
    varies = (reference != reference[0]).any()  # a rounded mean would leave a constant factor some variance
    return RegressionLosses(
        mse=squared_error / reference.size,
        r2=1 - squared_error / variation if varies else None,
        cosine_distance=distance / len(reference),
    )


def measure_cosine_distances(reference: npt.ArrayLike, predicted: npt.ArrayLike) -> Float64Array:
    """Return 1 - cosine for each track, shape (n_tracks,), float64; arguments and errors as for the losses."""
    truth, estimate = (factors.astype(np.float64) for factors in _check_pair(reference, predicted))
    return _cosine_distances(truth, estimate)


def _check_pair(reference: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    pair = check_factors("reference factors", reference), check_factors("predicted factors", predicted)
    check_same_shape(*pair)
    return pair


def _cosine_distances(truth: Float64Array, estimate: Float64Array) -> Float64Array:
    lengths = np.linalg.norm(truth, axis=1) * np.linalg.norm(estimate, axis=1)
    return np.asarray(1 - (truth * estimate).sum(axis=1) / np.where(lengths > 0, lengths, 1.0))
