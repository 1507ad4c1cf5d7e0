"""Metrics of a size study: two training sizes, each evaluated on two test sizes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.checks import FloatArray
from cs_keras.evaluation.losses import measure_cosine_distances
from cs_keras.evaluation.overlap import evaluate_overlap
from cs_keras.evaluation.statistics.comparison import Comparison, compare_with
from cs_keras.evaluation.statistics.jackknife import QuerySums, cluster_artists, estimate, sum_values
from cs_keras.run_files.evaluation import Kind, OverlapAtK
from cs_keras.run_files.settings import EvaluationConfig

SMALL, LARGE = SIZES = ("small", "large")


@dataclass(frozen=True)
class SizeResult:
    """Metrics of one model on one set of test tracks.

    Attributes
    ----------
    cosine_distance, low, high : float
        Mean over tracks of 1 - cosine of predicted and reference factors, and its 95 % interval over artists.
    overlap : mapping of str to OverlapAtK
        Overlap of the lists of the most similar tracks of the set: artist-filtered ("filtered") where artists are
        known, and among all candidates ("similarity").
    """

    cosine_distance: float
    low: float
    high: float
    overlap: Mapping[Kind, OverlapAtK]


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
    reference: FloatArray,
    predicted: FloatArray,
    k: int,
    artists: npt.NDArray[np.int64],
    settings: EvaluationConfig,
    seed: int,
) -> SizeResult:
    """Evaluate predictions of some test tracks, with lists among these tracks.

    Parameters
    ----------
    reference, predicted : ndarray of float32, shape (n_tracks, n_factors)
    k : int
        List length.
    artists : ndarray of int, shape (n_tracks,)
        Artist of each track, -1 if unknown.
    settings : EvaluationConfig
        Permutations and queries at most; its list lengths and metric are not used.
    seed : int
        Seed of permutations and of the sample of queries.
    """
    distance = estimate(_sum_distances(reference, predicted, artists))

    def measure(filtered: bool) -> OverlapAtK:
        (overlap,) = evaluate_overlap(
            reference,
            predicted,
            ks=(k,),
            artists=artists,
            filtered=filtered,
            n_permutations=settings.n_permutations,
            max_queries=settings.max_queries,
            seed=seed,
        )
        return overlap

    kinds: tuple[Kind, ...] = ("filtered", "similarity") if (artists >= 0).any() else ("similarity",)
    overlap = {kind: measure(filtered=kind == "filtered") for kind in kinds}
    return SizeResult(distance.mean, *distance.interval(), overlap)


def compare_sizes(
    reference: FloatArray, predicted: Mapping[str, FloatArray], artists: npt.NDArray[np.int64]
) -> Comparison:
    """Compare the cosine distances of the two models, track by track: small minus large.

    `predicted` holds factors of the shape of `reference`, (n_tracks, n_factors), by training size; `artists` are as
    in `evaluate_size`.
    """
    distances = {size: _sum_distances(reference, predicted[size], artists) for size in SIZES}
    (comparison,) = compare_with(distances, LARGE)
    return comparison


def _sum_distances(reference: FloatArray, predicted: FloatArray, artists: npt.NDArray[np.int64]) -> QuerySums:
    return sum_values(measure_cosine_distances(reference, predicted), cluster_artists(artists))
