import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.fits.agreement import measure_agreement
from cs_keras.evaluation.fits.alignment import Fit, average_fits, find_rotation
from cs_keras.evaluation.search.intersection import list_overlap
from cs_keras.evaluation.search.topk import top_k_similar
from cs_keras.evaluation.statistics.resampling import bootstrap_interval


@pytest.fixture
def fit(random):
    return Fit(random.standard_normal((120, 6)), random.standard_normal((50, 6)) + 0.5)


def turned(fit, seed):
    rotation = ortho_group.rvs(fit.item_factors.shape[1], random_state=seed)
    return Fit(fit.item_factors @ rotation, fit.playlist_factors @ rotation)


def noisy(fit, random, sd):
    return Fit(
        fit.item_factors + sd * random.standard_normal(fit.item_factors.shape),
        fit.playlist_factors + sd * random.standard_normal(fit.playlist_factors.shape),
    )


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot"])
def test_a_rotation_agrees_fully(fit, metric):
    for row in measure_agreement([fit, turned(fit, 1)], ks=(5, 50), metric=metric):
        assert row.overlap > 0.999  # rounding to float32 may swap a pair at the border
        assert row.low <= row.overlap <= row.high
        assert len(row.queries) == len(row.per_query) == (50 if metric == "dot" else 120)


def test_by_dot_product_playlists_must_turn_along(fit):
    half_turned = Fit(turned(fit, 1).item_factors, fit.playlist_factors)
    assert measure_agreement([fit, half_turned], ks=(5,), metric="dot")[0].overlap < 0.5
    assert measure_agreement([fit, half_turned], ks=(5,))[0].overlap > 0.999


def test_mean_over_pairs_whichever_comes_first(fit, random):
    fits = [fit, noisy(fit, random, 0.3), noisy(fit, random, 0.3)]
    row = measure_agreement(fits, ks=(10,))[0]
    lists = [top_k_similar(each.item_factors, 10).indices for each in fits]
    pairs = np.array([list_overlap(lists[a], lists[b]) for a, b in ((0, 1), (0, 2), (1, 2))])
    np.testing.assert_allclose(row.per_query, pairs.mean(axis=0))
    np.testing.assert_allclose(row.per_pair, pairs.mean(axis=1))
    assert row.overlap == pytest.approx(pairs.mean())
    assert (row.low, row.high) == bootstrap_interval(row.per_query)
    for metric in ("cosine", "euclidean", "dot"):
        one_way = measure_agreement(fits[:2], ks=(10,), metric=metric)[0]
        other_way = measure_agreement(fits[1::-1], ks=(10,), metric=metric)[0]
        np.testing.assert_array_equal(one_way.per_query, other_way.per_query)


def test_noise_takes_agreement_down_to_chance(fit, random):
    overlaps = [
        measure_agreement([fit, noisy(fit, random, sd)], ks=(10,))[0].overlap for sd in (0, 0.1, 0.3, 1, 100)
    ]
    assert overlaps[0] == 1
    assert np.all(np.diff(overlaps) < 0)
    assert overlaps[-1] == pytest.approx(10 / 119, abs=0.03)


def test_number_of_factors_may_differ(fit):
    wider = Fit(np.hstack([fit.item_factors, np.zeros((120, 3))]))
    assert measure_agreement([fit, wider], ks=(5,))[0].overlap == 1


def test_queries_without_an_order_under_any_fit_are_left_out(fit, random):
    other = noisy(fit, random, 0.1)
    other.item_factors[[3, 8]] = 0
    fit.item_factors[5] = 0
    rows = measure_agreement([fit, other], ks=(5,))[0].queries
    np.testing.assert_array_equal(rows, np.setdiff1d(np.arange(120), [3, 5, 8]))
    assert len(measure_agreement([fit, other], ks=(5,), metric="euclidean")[0].queries) == 120
    sampled = measure_agreement([fit, other], ks=(5,), queries=[9, 8, 1])[0]
    np.testing.assert_array_equal(sampled.queries, [9, 1])
    everyone = measure_agreement([fit, other], ks=(5,))[0]
    np.testing.assert_array_equal(
        sampled.per_query, [everyone.per_query[everyone.queries == q][0] for q in (9, 1)]
    )


def test_lists_beyond_the_candidates_are_not_available(fit):
    rows = measure_agreement([fit, fit], ks=(120, 119))
    assert [(row.k, row.available, row.overlap, row.n_candidates) for row in rows] == [
        (120, False, None, 119),
        (119, True, 1, 119),
    ]
    assert measure_agreement([fit, fit], ks=(120,), metric="dot")[0].available
    assert not measure_agreement([fit, fit], ks=(500,))[0].available


def test_rotation_as_scipy(fit, random):
    a, b = random.standard_normal((2, 40, 5))
    expected = orthogonal_procrustes(a, b)[0]
    np.testing.assert_allclose(find_rotation(a, b), expected, atol=1e-12)
    rotation = ortho_group.rvs(6, random_state=3)
    items = fit.item_factors.astype(np.float64)
    np.testing.assert_allclose(find_rotation(items, items @ rotation), rotation, atol=1e-12)


def test_mean_of_turned_fits_is_the_fit(fit):
    mean = average_fits([fit, turned(fit, 1), turned(fit, 2)])
    np.testing.assert_allclose(mean.item_factors, fit.item_factors, atol=2e-6)
    np.testing.assert_allclose(mean.playlist_factors, fit.playlist_factors, atol=2e-6)
    assert mean.item_factors.dtype == np.float32
    single = average_fits([fit])
    np.testing.assert_allclose(single.item_factors, fit.item_factors, atol=2e-6)


def test_mean_of_noisy_fits_is_nearer_the_truth_than_each(fit, random):
    fits = [turned(noisy(fit, random, 0.3), seed) for seed in range(6)]
    mean = average_fits(fits)
    for metric in ("cosine", "dot"):
        alone = measure_agreement([fit, fits[0]], ks=(10,), metric=metric)[0].overlap
        assert measure_agreement([fit, mean], ks=(10,), metric=metric)[0].overlap > alone + 0.1
    # Another first fit turns the mean, and nothing else: 1e-4 is what settling leaves of it.
    other = average_fits(fits[::-1])
    scores, others = (each.playlist_factors @ each.item_factors.T for each in (mean, other))
    np.testing.assert_allclose(others, scores, atol=1e-4)


def test_mean_lies_as_the_first_fit(fit, random):
    fits = [turned(noisy(fit, random, 1), seed) for seed in range(3)]
    mean = average_fits(fits)
    # 1e-4 is what settling leaves.
    np.testing.assert_allclose(find_rotation(fits[0].item_factors, mean.item_factors), np.eye(6), atol=1e-4)


def test_items_alone_are_averaged_where_a_fit_has_no_playlists(fit):
    assert average_fits([fit, Fit(fit.item_factors)]).playlist_factors is None


def test_bad_input_is_named(fit):
    with pytest.raises(DataError, match="at least 2. Received: 1"):
        measure_agreement([fit])
    with pytest.raises(DataError, match="at least 1. Received: 0"):
        average_fits([])
    with pytest.raises(DataError, match="Received: 120, 119"):
        measure_agreement([fit, Fit(fit.item_factors[1:])], ks=(5,))
    with pytest.raises(DataError, match="Received: 120 and 50, 120 and 49"):
        measure_agreement([fit, Fit(fit.item_factors, fit.playlist_factors[1:])], ks=(5,), metric="dot")
    with pytest.raises(DataError, match="need playlist factors"):
        measure_agreement([fit, Fit(fit.item_factors)], ks=(5,), metric="dot")
    with pytest.raises(DataError, match=r"\(120, 5\) and \(120, 6\)"):
        average_fits([fit, Fit(fit.item_factors[:, :5])])
    with pytest.raises(DataError, match="no query has an order"):
        measure_agreement([fit, Fit(0 * fit.item_factors)], ks=(5,))
    with pytest.raises(DataError, match="queries are not rows"):
        measure_agreement([fit, fit], ks=(5,), queries=[120])
    with pytest.raises(ConfigError, match="unknown similarity"):
        measure_agreement([fit, fit], ks=(5,), metric="manhattan")
