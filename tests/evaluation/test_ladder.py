import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import t, ttest_1samp

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.fits.agreement import measure_agreement
from cs_keras.evaluation.fits.alignment import Fit
from cs_keras.evaluation.ladder import Verdict, build_ladder, decide_verdict, gap_closed
from cs_keras.evaluation.overlap import evaluate_overlap
from cs_keras.evaluation.reference_predictors import mean_predictor, random_predictor
from cs_keras.evaluation.search.intersection import list_overlap
from cs_keras.evaluation.search.topk import top_k_similar
from cs_keras.run_files.evaluation import GapShare


def test_shares_as_by_hand():
    share = gap_closed([0.2, 0.4], chance=0.1, top=0.5)
    assert share.share == pytest.approx(0.5)
    share = gap_closed([0.2, 0.4], chance=0.1, top=[0.4, 0.4])
    assert share.share == pytest.approx(2 / 3)


def test_interval_to_a_number_is_that_of_the_mean_rescaled(random):
    values = random.random(100)
    share = gap_closed(values, chance=0.2, top=0.8)
    expected = [(number - 0.2) / 0.6 for number in ttest_1samp(values, 0).confidence_interval()]
    assert (share.low, share.high) == pytest.approx(expected, abs=1e-12)


def test_interval_of_a_ratio_as_fieller(random):
    """With a top far above chance, the linearised interval is close to Fieller's exact one."""
    top = random.normal(0.8, 0.1, 300)
    values = top * random.normal(0.5, 0.1, 300)
    share = gap_closed(values, 0.1, top)
    roots = []
    for start in (share.low, share.high):
        # Limits are the shares at which value less share times top is just different from what it would be.
        limit = np.sign(start - share.share) * t.ppf(0.975, 299)
        roots.append(
            brentq(
                lambda r, limit=limit: ttest_1samp(values - 0.1 - r * (top - 0.1), 0).statistic + limit, 0, 1
            )
        )
    assert (share.low, share.high) == pytest.approx(tuple(roots), rel=1e-3)


def test_queries_that_are_hard_for_both_do_not_widen_the_interval(random):
    top = random.random(200)
    values = top / 2  # half of the gap, whatever the queries
    paired = gap_closed(values, 0, top)
    assert (paired.low, paired.high) == pytest.approx((0.5, 0.5), abs=1e-12)
    unpaired = gap_closed(values, 0, random.permutation(top))
    assert unpaired.high - unpaired.low > 0.05


def test_seeds_widen_the_interval(random):
    values = random.random(200)
    one = gap_closed(values, 0, 1)
    many = gap_closed(values + 0.2 * random.standard_normal((5, 1)), 0, 1)
    assert many.high - many.low > 2 * (one.high - one.low)


def test_no_gap_without_a_ceiling_clearly_above_chance(random):
    values, top = random.random((2, 50))
    top += 0.51 - top.mean()  # above chance, by a quarter of its standard error
    assert gap_closed(values, 0.5, top) is None
    assert gap_closed(values, 0.6, top) is None
    assert gap_closed(values, 0.1, top) is not None
    assert gap_closed(values, 1, 1) is None


def test_rungs_from_the_lowest(random):
    queries = random.uniform(0.4, 0.6, 100)
    rungs = build_ladder({"half": queries / 2, "low": queries / 10, "all": queries}, 0.05, queries)
    assert [rung.name for rung in rungs] == ["low", "half", "all"]
    assert rungs[2].to_ceiling == GapShare(1, 1, 1)
    assert rungs[0].to_ceiling.share < 0.01 < 0.4 < rungs[1].to_ceiling.share < 0.5
    for rung in rungs:
        assert rung.low <= rung.value <= rung.high
        assert rung.to_reference.share == pytest.approx((rung.value - 0.05) / 0.95)
        assert gap_closed(queries, 0.05, 1) == pytest.approx(rungs[2].to_reference)
    assert build_ladder({"low": queries}, 0.05)[0].to_ceiling is None


def test_verdicts():
    below, at, above = GapShare(0.5, 0.4, 0.6), GapShare(0.9, 0.7, 1.1), GapShare(1.3, 1.1, 1.5)
    assert decide_verdict(0.2, below) is Verdict.CHANCE
    assert decide_verdict(0.001, None) is Verdict.ABOVE_CHANCE
    assert decide_verdict(0.001, below) is Verdict.BELOW_CEILING
    assert decide_verdict(0.001, at) is Verdict.AT_CEILING
    assert decide_verdict(0.001, above) is Verdict.ABOVE_CEILING
    assert decide_verdict(0.001, above, flagged=True) is Verdict.TIED
    assert decide_verdict(0.04, below, alpha=0.01) is Verdict.CHANCE
    assert f"{decide_verdict(0.2, None)}" == "not significantly above chance"
    assert decide_verdict(0.001, below, p_beyond_artist=0.01) is Verdict.BELOW_CEILING
    assert decide_verdict(0.001, below, p_beyond_artist=0.2) is Verdict.ARTISTS_ONLY
    assert decide_verdict(0.2, below, p_beyond_artist=0.01) is Verdict.BELOW_CEILING
    assert decide_verdict(0.2, below, p_beyond_artist=0.2) is Verdict.CHANCE
    few = Verdict.TOO_FEW_PERMUTATIONS
    assert decide_verdict(0.1, below, least_p_values=(0.1, 0)) is few
    assert decide_verdict(0.001, below, p_beyond_artist=0.5, least_p_values=(0.001, 0.25)) is few
    assert decide_verdict(0.2, below, p_beyond_artist=0.5, least_p_values=(0.001, 0.25)) is Verdict.CHANCE


def test_predictors_of_known_worth(random):
    """Noise, the mean, ever less noisy predictions, a second fit, and a leak get what they deserve."""
    truth = random.standard_normal((300, 10))
    first, second = (truth + 0.3 * random.standard_normal(truth.shape) for _ in range(2))
    reference = top_k_similar(first, 10)
    ceiling = measure_agreement([Fit(first), Fit(second)], ks=(10,))[0]
    noise = random.standard_normal(truth.shape)
    predictions = {
        "noise": random_predictor(first, seed=5),
        "mean": mean_predictor(first.mean(axis=0), 300),
        "poor": truth + 3 * noise,
        "fair": truth + noise,
        "another fit": truth + 0.3 * random.standard_normal(truth.shape),
        "leak": first + 0.02 * noise,
    }
    overlaps = {
        name: list_overlap(reference.indices, top_k_similar(predicted, 10).indices)
        for name, predicted in predictions.items()
    }
    rungs = build_ladder(overlaps, 10 / 299, ceiling.per_query)
    assert [rung.name for rung in rungs if rung.name not in ("noise", "mean")] == list(predictions)[2:]
    verdicts = {}
    for rung in rungs:
        row = evaluate_overlap(first, predictions[rung.name], ks=(10,), n_permutations=199)[0]
        assert row.overlap == pytest.approx(rung.value)
        verdicts[rung.name] = decide_verdict(row.p_value, rung.to_ceiling, flagged=row.flagged)
    assert verdicts == {
        "noise": Verdict.CHANCE,
        "mean": Verdict.TIED,
        "poor": Verdict.BELOW_CEILING,
        "fair": Verdict.BELOW_CEILING,
        "another fit": Verdict.AT_CEILING,
        "leak": Verdict.ABOVE_CEILING,
    }


def test_bad_input_is_named(random):
    values = random.random(10)
    with pytest.raises(DataError, match="'the model': 10, 'the top': 9"):
        gap_closed(values, 0.1, values[:9])
    with pytest.raises(DataError, match="values of the model"):
        gap_closed(np.full(10, np.nan), 0.1, 1)
    with pytest.raises(DataError, match="values of the model"):
        gap_closed(0.5, 0.1, 1)
    with pytest.raises(ConfigError, match="chance is out of range"):
        gap_closed(values, np.nan, 1)
    with pytest.raises(ConfigError, match="below 1"):
        build_ladder({"a": values}, 1)
    with pytest.raises(ConfigError, match="p_value is out of range"):
        decide_verdict(1.5, None)
    with pytest.raises(ConfigError, match="alpha is out of range"):
        decide_verdict(0.5, None, alpha=-1)
