"""How far predicted factors lie from reference factors, track by track: the quantities models are trained on."""

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.checks import check_factors, check_same_shape
from cs_keras.evaluation.search.search import blocks
from cs_keras.run_files.evaluation import RegressionLosses

ROWS_PER_BLOCK = 2**14  # in float64 at a time: 26 MB of 200 factors


def measure_regression_losses(reference: npt.ArrayLike, predicted: npt.ArrayLike) -> RegressionLosses:
    """Return MSE, R² and mean cosine distance of predicted factors.

    R² is 1 - SSE / SST, both summed over tracks and factors, SST about the mean of each factor over the tracks
    given here. Factors thus weigh by their variance, as in `sklearn.metrics.r2_score` with
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
    reference = check_factors("reference factors", reference)
    predicted = check_factors("predicted factors", predicted)
    check_same_shape(reference, predicted)
    mean = reference.mean(axis=0, dtype=np.float64)
    sums = np.zeros(3)
    for block in blocks(len(reference), ROWS_PER_BLOCK):
        truth, guess = reference[block].astype(np.float64), predicted[block].astype(np.float64)
        lengths = np.linalg.norm(truth, axis=1) * np.linalg.norm(guess, axis=1)
        cosines = (truth * guess).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)
        sums += np.square(truth - guess).sum(), np.square(truth - mean).sum(), (1 - cosines).sum()
    squared_error, variation, distance = sums.tolist()
    varies = (reference != reference[0]).any()  # a rounded mean would leave a constant factor some variance
    return RegressionLosses(
        mse=squared_error / reference.size,
        r2=1 - squared_error / variation if varies else None,
        cosine_distance=distance / len(reference),
    )
