"""What a larger catalogue to learn from is worth, and how hard a larger one is to place."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.checks import check_factors, check_same_shape
from cs_keras.evaluation.overlap import evaluate_overlap
from cs_keras.evaluation.search.exact import Float64Array
from cs_keras.evaluation.statistics.comparison import Comparison, compare_with
from cs_keras.evaluation.statistics.resampling import Resampling
from cs_keras.evaluation.statistics.significance import bootstrap_interval
from cs_keras.run_files.evaluation import OverlapAtK

SMALL, LARGE = SIZES = ("small", "large")
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SizeResult:
    """How well a model places a set of test tracks.

    Attributes
    ----------
    cosine_distance, low, high : float
        Mean over tracks of 1 - cosine of predicted and reference factors, and its 95 % bootstrap interval.
    overlap : OverlapAtK
        Of lists of the most similar tracks of the set.
    """

    cosine_distance: float
    low: float
    high: float
    overlap: OverlapAtK


@dataclass(frozen=True)
class SizeStudy:
    """Two models, one trained on part of the tracks of the other, on two sets of test tracks, one within the other.

    Attributes
    ----------
    model : str
        Model key.
    small : str
        How the small part was chosen, in words.
    n_train, n_test : mapping of str to int
        Tracks, by size.
    results : mapping of (str, str) to SizeResult
        By the size trained on and the size tested on.
    gains : mapping of str to Comparison
        By the size tested on: cosine distance of the model of the small set less that of the large set, per track.
    k : int
        List length of overlaps.
    """

    model: str
    small: str
    n_train: Mapping[str, int]
    n_test: Mapping[str, int]
    results: Mapping[tuple[str, str], SizeResult]
    gains: Mapping[str, Comparison]
    k: int


def cosine_distances(reference: npt.ArrayLike, predicted: npt.ArrayLike) -> Float64Array:
    """Return 1 - cosine for each track; a row of zeros has no direction, so its distance is 1.

    Parameters
    ----------
    reference, predicted : array_like, shape (n_tracks, n_factors), float32

    Returns
    -------
    numpy.ndarray, shape (n_tracks,), float64

    Raises
    ------
    DataError
        Not two finite factor matrices of one shape.
    """
    reference = check_factors("reference factors", reference)
    predicted = check_factors("predicted factors", predicted)
    check_same_shape(reference, predicted)
    truth, guess = reference.astype(np.float64), predicted.astype(np.float64)
    lengths = np.linalg.norm(truth, axis=1) * np.linalg.norm(guess, axis=1)
    return np.asarray(1 - (truth * guess).sum(axis=1) / np.where(lengths > 0, lengths, 1))


def evaluate_size(
    reference: FloatArray, predicted: FloatArray, k: int, resampling: Resampling, max_queries: int
) -> SizeResult:
    """Return how well predictions place some tracks, each among them all.

    Parameters
    ----------
    reference, predicted : ndarray of float32, shape (n_tracks, n_factors)
    k : int
        List length.
    resampling : Resampling
        Of intervals and tests.
    max_queries : int
        Most tracks whose lists are compared; of more a sample is.
    """
    distances = cosine_distances(reference, predicted)
    low, high = bootstrap_interval(distances, resampling.n_bootstrap, resampling.level, resampling.seed)
    (overlap,) = evaluate_overlap(
        reference,
        predicted,
        ks=(k,),
        n_permutations=resampling.n_permutations,
        n_bootstrap=resampling.n_bootstrap,
        seed=resampling.seed,
        max_queries=max_queries,
    )
    return SizeResult(float(distances.mean()), low, high, overlap)


def compare_sizes(
    reference: FloatArray, predicted: Mapping[str, FloatArray], resampling: Resampling
) -> Comparison:
    """Return by how much the model of the large set lies nearer than that of the small one, track by track.

    Parameters
    ----------
    reference : ndarray of float32, shape (n_tracks, n_factors)
    predicted : mapping of str to ndarray, shape (n_tracks, n_factors)
        By the size that a model was trained on.
    resampling : Resampling
    """
    distances = {size: cosine_distances(reference, predicted[size]) for size in SIZES}
    (found,) = compare_with(distances, LARGE, resampling)
    return found
