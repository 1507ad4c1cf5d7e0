import numpy as np
import pytest
from scipy import stats
from sklearn.metrics.pairwise import paired_cosine_distances

from cs_keras.evaluation.overlap import evaluate_overlap
from cs_keras.evaluation.size_study import LARGE, SMALL, compare_sizes, evaluate_size
from cs_keras.run_files.settings import EvaluationConfig

SETTINGS = EvaluationConfig(n_permutations=19)


def test_intervals_and_the_paired_test_are_over_artists(random):
    artists = np.repeat(np.arange(12), 5)
    reference, noise = random.standard_normal((2, 60, 6)).astype(np.float32)
    of_artists = random.gamma(2.0, size=12).astype(np.float32)[artists, np.newaxis]
    predicted = {SMALL: reference + of_artists * noise, LARGE: reference + 0.5 * of_artists * noise}
    distances = {size: paired_cosine_distances(reference, rows) for size, rows in predicted.items()}
    means = {size: own.reshape(12, 5).mean(axis=1) for size, own in distances.items()}  # of equal weight
    found = evaluate_size(reference, predicted[SMALL], 5, artists, SETTINGS, seed=0)
    expected = stats.t.interval(0.95, 11, means[SMALL].mean(), stats.sem(means[SMALL]))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-5)
    gain = compare_sizes(reference, predicted, artists)
    assert gain.p_value == pytest.approx(stats.ttest_rel(means[SMALL], means[LARGE]).pvalue, rel=1e-4)


def test_overlap_is_artist_filtered_first_where_artists_are_known(random):
    artists = np.repeat(np.arange(12), 5)
    reference, predicted = random.standard_normal((2, 60, 6)).astype(np.float32)
    found = evaluate_size(reference, predicted, 5, artists, SETTINGS, seed=0)
    assert list(found.overlap) == ["filtered", "similarity"]
    for kind, overlap in found.overlap.items():
        (expected,) = evaluate_overlap(
            reference, predicted, ks=(5,), artists=artists, filtered=kind == "filtered", n_permutations=19
        )
        assert overlap == expected
    unknown = evaluate_size(reference, predicted, 5, np.full(60, -1), SETTINGS, seed=0)
    assert list(unknown.overlap) == ["similarity"]
