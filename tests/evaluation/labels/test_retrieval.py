"""Average precision as scikit-learn computes it, its chance over all orders, and lists counted by hand."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cs_keras.errors import DataError
from cs_keras.evaluation.labels.retrieval import measure_retrieval
from tests.evaluation.search.full_sort import scores


def test_as_scikit_learn_without_the_querys_group(random):
    n = 60
    labels = np.array([f"composer {i}" for i in random.integers(5, size=n)])
    albums = random.integers(12, size=n)
    features = random.standard_normal((n, 6)) + 2 * np.eye(6)[np.unique(labels, return_inverse=True)[1]]
    found = measure_retrieval(features, labels.tolist(), albums, ks=(1, 5, 59))
    cosines, expected = scores(features, "cosine"), {}
    for query in range(n):
        others = albums != albums[query]
        relevant = labels[others] == labels[query]
        if relevant.any():
            nearest = np.argsort(-cosines[query, others])[:5]
            expected[query] = (
                average_precision_score(relevant, cosines[query, others]),
                relevant[nearest].mean(),
                relevant.mean(),
            )
    np.testing.assert_array_equal(found.queries, list(expected))
    average, precision, share = np.array(list(expected.values())).T
    np.testing.assert_allclose(found.average_precision, average, atol=1e-12)
    assert found.mean_average_precision.mean == pytest.approx(average.mean())
    assert found.precision[5].mean == pytest.approx(precision.mean())
    assert found.chance_precision == pytest.approx(share.mean())
    assert list(found.precision) == [1, 5]  # no query has 59 candidates
    assert found.mean_average_precision.low < average.mean() < found.mean_average_precision.high
    assert found.mean_average_precision.low > found.chance


def test_chance_is_the_mean_over_all_orders(random):
    orders = list(itertools.permutations([1, 1, 0, 0, 0]))
    exact = np.mean([average_precision_score(order, [5, 4, 3, 2, 1]) for order in orders])
    # Six tracks, each of its own album, three of a label: two relevant among five candidates.
    found = measure_retrieval(random.standard_normal((6, 3)), list("aaabbb"), np.arange(6))
    assert found.chance == pytest.approx(exact)
    assert found.chance_precision == pytest.approx(2 / 5)


def test_a_label_of_one_album_has_no_queries_and_is_in_the_way():
    angles = np.radians([0, 1, 2, 3, 40])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = measure_retrieval(features, list("aabba"), [0, 0, 1, 1, 2], ks=(1, 3))
    np.testing.assert_array_equal(found.queries, [0, 1, 4])
    # Tracks 0 and 1 reach track 4 after both of b; track 4 finds 3, 2, 1, 0.
    np.testing.assert_allclose(found.average_precision, [1 / 3, 1 / 3, (1 / 3 + 2 / 4) / 2])
    assert found.precision[1].mean == 0 and found.precision[3].mean == pytest.approx(1 / 3)
    assert found.mean_average_precision.low is None  # a single label


def test_ties_are_in_row_order():
    found = measure_retrieval(np.ones((4, 2)), list("abab"), np.arange(4))
    np.testing.assert_allclose(found.average_precision, [1 / 2, 1 / 3, 1, 1 / 2])


def test_bad_input_is_named():
    with pytest.raises(DataError, match="nothing to retrieve"):
        measure_retrieval(np.eye(3), list("aab"), [0, 0, 1])
    with pytest.raises(DataError, match="a label and a group of each of 3 tracks"):
        measure_retrieval(np.eye(3), list("ab"), [0, 1])
