import numpy as np
import pytest
import scipy.stats

from cs_keras.errors import DataError
from cs_keras.evaluation.confidence import LEVELS, expected_errors, measure_confidence, mix_deviations

N_TRACKS, N_FACTORS = 400, 8


def draw(seed=0, n_artists=80):
    """Predictions whose deviations are right: reference factors, predictions, deviations and artists."""
    random = np.random.default_rng(seed)
    predicted = random.normal(size=(N_TRACKS, N_FACTORS))
    deviations = np.repeat(random.uniform(0.2, 1.5, (N_TRACKS, 1)), N_FACTORS, axis=1)
    reference = predicted + deviations * random.normal(size=predicted.shape)
    return reference, predicted, deviations, np.arange(N_TRACKS) % n_artists


def measure(reference, predicted, deviations, artists):
    ids = [f"track-{row}" for row in range(len(artists))]
    return measure_confidence(reference, predicted, deviations, artists, ids)


def test_right_deviations_are_calibrated_and_wrong_ones_are_not():
    reference, predicted, deviations, artists = draw()
    right = measure(reference, predicted, deviations, artists)
    assert right.levels == LEVELS and right.calibration_error < 0.02
    for level, coverage in zip(LEVELS, right.coverage, strict=True):
        assert coverage.low < coverage.mean < coverage.high
        assert coverage.mean == pytest.approx(level, abs=0.04)  # 4 standard errors
    narrow = measure(reference, predicted, deviations / 2, artists)
    by_hand = 2 * scipy.stats.norm.cdf(scipy.stats.norm.ppf((1 + np.array(LEVELS)) / 2) / 2) - 1
    np.testing.assert_allclose([one.mean for one in narrow.coverage], by_hand, atol=0.04)
    assert narrow.nll > right.nll
    expected = -scipy.stats.norm.logpdf(reference, predicted, deviations).mean()
    assert right.nll == pytest.approx(expected, rel=1e-5)  # of float32 factors


def test_errors_rise_with_expected_errors_and_the_hardest_tracks_come_first():
    reference, predicted, deviations, artists = draw()
    found = measure(reference, predicted, deviations, artists)
    made = np.sqrt(np.square(reference - predicted).mean(axis=1))
    expected = scipy.stats.spearmanr(deviations[:, 0], made).statistic
    assert found.rank_correlation.mean == pytest.approx(expected, abs=1e-3)  # ties of float32
    assert found.rank_correlation.low < expected < found.rank_correlation.high
    assert [one.n for one in found.groups] == [80] * 5
    errors = [one.error for one in found.groups]
    assert errors == sorted(errors)
    for group in found.groups:
        assert group.error == pytest.approx(group.expected_error, rel=0.1)
    hardest = np.argsort(-deviations[:, 0])[:10]
    assert [one.track_id for one in found.hardest] == [f"track-{row}" for row in hardest]
    assert found.hardest[0].error == pytest.approx(made[hardest[0]], rel=1e-5)


def test_intervals_respect_artists():
    """Four copies of each of twenty tracks: the copies add no information if they are by one artist."""
    reference, predicted, deviations = (np.tile(one[:20], (4, 1)) for one in draw()[:3])
    artists = np.tile(np.arange(20), 4)
    widths = []
    for own in (artists, np.arange(80)):
        found = measure(reference, predicted, deviations, own)
        intervals = (found.coverage[4], found.rank_correlation)
        widths.append([one.high - one.low for one in intervals])
    assert np.divide(*widths) == pytest.approx(2, rel=0.15)


def test_the_interval_of_the_correlation_holds_it_in_19_of_20_catalogues():
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        expected = random.normal(size=(40, 1)) + 0.3 * random.normal(size=(40, 3))
        size = np.exp(0.3 * expected).reshape(-1, 1)
        predicted = np.zeros((120, 20))
        found = measure(
            size * random.normal(size=(120, 20)), predicted, size * np.ones((1, 20)), np.arange(120) // 3
        )
        held += found.rank_correlation.low <= TRUE_CORRELATION <= found.rank_correlation.high
    assert 53 <= held  # of 60, 57 on average


TRUE_CORRELATION = 0.878  # of 120,000 such tracks


def test_few_or_equal_tracks_have_no_correlation_and_one_artist_no_interval():
    reference, predicted, deviations, artists = draw()
    assert measure(reference, predicted, np.ones_like(deviations), artists).rank_correlation is None
    assert measure(reference[:2], predicted[:2], deviations[:2], artists[:2]).rank_correlation is None
    alone = measure(reference, predicted, deviations, np.zeros(N_TRACKS, int))
    assert alone.rank_correlation.low is None and alone.coverage[0].high is None


def test_deviations_of_zero_are_refused():
    reference, predicted, deviations, artists = draw()
    with pytest.raises(DataError, match=r"above 0\. Received: 0 as the lowest\.$"):
        measure(reference, predicted, 0 * deviations, artists)


def test_deviations_of_an_ensemble_are_those_of_draws_from_its_members():
    random, weights = np.random.default_rng(0), [0.5, 0.3, 0.2]
    means, deviations = random.normal(size=(3, 2, 3)), random.uniform(0.1, 1, (3, 2, 3))
    chosen = random.choice(3, 200_000, p=weights)
    drawn = random.normal(means[chosen], deviations[chosen])
    np.testing.assert_allclose(mix_deviations(weights, means, deviations), drawn.std(axis=0), rtol=0.01)


def test_the_expected_error_is_the_root_mean_square():
    assert expected_errors([[3.0, 4.0], [1.0, 1.0]]) == pytest.approx([np.sqrt(12.5), 1])
