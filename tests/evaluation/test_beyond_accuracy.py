import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import skew

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.beyond_accuracy import (
    artist_repetition,
    measure_exposure,
    popularity_ratio,
)
from cs_keras.evaluation.search.topk import top_k_ranking, top_k_similar


def test_hand_counted():
    lists = [[0, 1], [0, 2], [0, 1]]
    exposure = measure_exposure(lists, 5)
    np.testing.assert_array_equal(exposure.occurrences, [3, 2, 1, 0, 0])
    assert exposure.coverage == 3 / 5
    assert exposure.never_reached == 2 / 5
    assert popularity_ratio(lists, [8, 4, 2, 0, 6]) == pytest.approx((17 / 3) / 4)
    assert popularity_ratio(lists, np.zeros(5)) is None
    np.testing.assert_array_equal(artist_repetition(lists, [0, 0, 1, 2, 2]), [1 / 2, 0, 1 / 2])


@given(st.integers(2, 12), st.integers(1, 12), st.data())
@settings(max_examples=60, deadline=None)
def test_as_scipy_and_brute_force(n_items, n_queries, data):
    k = data.draw(st.integers(1, n_items))
    lists = [data.draw(st.permutations(range(n_items)))[:k] for _ in range(n_queries)]
    exposure = measure_exposure(lists, n_items)
    counts = [sum(item in row for row in lists) for item in range(n_items)]
    np.testing.assert_array_equal(exposure.occurrences, counts)
    differences = np.abs(np.subtract.outer(counts, counts))
    assert exposure.gini == pytest.approx(differences.mean() / (2 * np.mean(counts)), abs=1e-12)
    if len(set(counts)) == 1:
        assert exposure.hubness is None
    else:
        assert exposure.hubness == pytest.approx(skew(counts), abs=1e-9)
    artists = data.draw(st.lists(st.integers(-1, 3), min_size=n_items, max_size=n_items))
    # Tracks of unknown artist repeat none.
    known = [[artists[item] for item in row if artists[item] >= 0] for row in lists]
    expected = [(len(row) - len(set(row))) / k for row in known]
    np.testing.assert_allclose(artist_repetition(lists, artists), expected, atol=1e-15)


def test_one_ranking_reaches_k_items_alone():
    lists = top_k_ranking(np.arange(100.0), 10, queries=np.arange(50)).indices
    exposure = measure_exposure(lists, 100)
    assert exposure.coverage == 0.1
    assert exposure.gini == pytest.approx(0.9)
    assert popularity_ratio(lists, np.arange(100)) == pytest.approx(94.5 / 49.5)


def test_equal_exposure_has_no_gini_and_no_skewness():
    ring = (np.arange(12)[:, None] + [1, 2, 3]) % 12
    exposure = measure_exposure(ring, 12)
    assert (exposure.coverage, exposure.gini, exposure.hubness) == (1, 0, None)


def test_hubs_come_with_dimensions(random):
    # Radovanović et al., figure 1: by Euclidean distance N_k of Gaussian data grows skewed with the dimension.
    few, many = (
        measure_exposure(
            top_k_similar(random.standard_normal((1000, n)), 5, metric="euclidean").indices, 1000
        )
        for n in (3, 100)
    )
    assert few.hubness < 1 < 3 < many.hubness
    assert few.never_reached < 0.05 < 0.2 < many.never_reached


def test_bad_input_is_named():
    with pytest.raises(DataError, match="from 0 to 4"):
        measure_exposure([[0, 5]], 5)
    with pytest.raises(DataError, match="from 0 to 4"):
        measure_exposure([[0, -1]], 5)
    with pytest.raises(DataError, match=r"Received: shape \(2,\)"):
        measure_exposure([0, 1], 5)
    with pytest.raises(DataError, match="dtype float64"):
        popularity_ratio([[0.0, 1.0]], np.ones(5))
    with pytest.raises(DataError, match="Received: 1 such lists, the first is row 1"):
        measure_exposure([[0, 1], [3, 3]], 5)
    with pytest.raises(ConfigError, match="n_items"):
        measure_exposure([[0, 1]], 0)
    with pytest.raises(DataError, match="item scores are not valid"):
        popularity_ratio([[0, 1]], [1.0, np.nan])
    with pytest.raises(DataError, match="artists are not valid"):
        artist_repetition([[0, 1]], ["a", "b"])
