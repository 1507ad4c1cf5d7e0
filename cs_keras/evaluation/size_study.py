"""Metrics of a size study: two training sizes, each evaluated on two test sizes."""

from collections.abc import Mapping
from dataclasses import dataclass

from cs_keras.evaluation.checks import FloatArray
from cs_keras.evaluation.losses import measure_cosine_distances
from cs_keras.evaluation.overlap import evaluate_overlap
from cs_keras.evaluation.statistics.comparison import Comparison, compare_with
from cs_keras.evaluation.statistics.resampling import Resampling, bootstrap_interval
from cs_keras.run_files.evaluation import OverlapAtK

SMALL, LARGE = SIZES = ("small", "large")


@dataclass(frozen=True)
class SizeResult:
    """Metrics of one model on one set of test tracks.

    Attributes
    ----------
    cosine_distance, low, high : float
        Mean over tracks of 1 - cosine of predicted and reference factors, and its 95 % bootstrap interval.
    overlap : OverlapAtK
        Overlap of the lists of the most similar tracks of the set.
    """

    cosine_distance: float
    low: float
    high: float
    overlap: OverlapAtK


@dataclass(frozen=True)
class SizeStudy:
    """Results of two models, one trained on part of the other's tracks, on two nested sets of test tracks.

    Attributes
    ----------
    model : str
        Model key.
    small : str
        How the small part was chosen, in words.
    n_train, n_test : mapping of str to int
        Tracks, by size.
    results : mapping of (str, str) to SizeResult
        Results by training size and test size.
    gains : mapping of str to Comparison
        By test size: cosine distance of the small model minus that of the large one, per track.
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


def evaluate_size(
    reference: FloatArray, predicted: FloatArray, k: int, resampling: Resampling, max_queries: int
) -> SizeResult:
    """Evaluate predictions of some test tracks, with lists among these tracks.

    Parameters
    ----------
    reference, predicted : ndarray of float32, shape (n_tracks, n_factors)
    k : int
        List length.
    resampling : Resampling
        Settings of intervals and tests.
    max_queries : int
        Tracks whose lists are compared at most; a larger set is sampled.
    """
    distances = measure_cosine_distances(reference, predicted)
    low, high = bootstrap_interval(distances, resampling.n_bootstrap, resampling.level, resampling.seed)
    (overlap,) = evaluate_overlap(
        reference,
        predicted,
        ks=(k,),
        n_permutations=resampling.n_permutations,
        seed=resampling.seed,
        max_queries=max_queries,
    )
    return SizeResult(float(distances.mean()), low, high, overlap)


def compare_sizes(reference: FloatArray, predicted: Mapping[str, FloatArray]) -> Comparison:
    """Compare the cosine distances of the two models, track by track: small minus large.

    `predicted` holds factors of the shape of `reference`, (n_tracks, n_factors), by training size.
    """
    distances = {size: measure_cosine_distances(reference, predicted[size]) for size in SIZES}
    (comparison,) = compare_with(distances, LARGE)
    return comparison
