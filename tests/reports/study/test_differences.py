from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reports.study.differences import compare_trials, paired_differences
from reports.study.reading import read_study
from tests.reports.study.study_folders import write_settings, write_trial

RANDOM = np.random.default_rng(3)
TRACKS = RANDOM.normal(0.3, 0.2, 400)  # between tracks far wider than between trials


def test_the_interval_is_that_of_scipy_over_pairs() -> None:
    other = TRACKS - 0.01 + RANDOM.normal(0, 0.05, 400)
    _, found = paired_differences([TRACKS, other], n_resamples=4000)
    expected = stats.bootstrap(
        (other - TRACKS,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found is not None and found.mean == pytest.approx(np.mean(other - TRACKS))
    assert found.low == pytest.approx(expected.low, abs=3e-4)  # resamples differ: 2 % of the interval's width
    assert found.high == pytest.approx(expected.high, abs=3e-4)


def test_what_all_tracks_share_does_not_widen_it() -> None:
    _, found = paired_differences([TRACKS, TRACKS - 0.01])
    assert found is not None and found.is_significant
    assert (found.low, found.high) == pytest.approx((-0.01, -0.01))


def test_an_equal_trial_does_not_differ() -> None:
    best, same = paired_differences([TRACKS, TRACKS.copy()])
    assert best == same and same is not None and not same.is_significant and same.mean == 0


def test_undefined_queries_are_left_out_of_their_pair_alone() -> None:
    second, third = TRACKS - 0.02, TRACKS - 0.03
    second[:100], third[50:60] = np.nan, np.nan
    whole, gap, other = paired_differences([TRACKS, second, third])
    assert [one.n_queries for one in (whole, gap, other) if one] == [400, 300, 390]
    assert gap is not None and gap.mean == pytest.approx(-0.02)
    alone = paired_differences([TRACKS, second])[1]
    assert alone == gap  # the third trial changes nothing


def test_one_shared_query_gives_no_interval() -> None:
    other = np.full(400, np.nan)
    other[3] = 0.5
    assert paired_differences([TRACKS, other])[1] is None


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [TRACKS, TRACKS + RANDOM.normal(0, 0.1, 400)]
    _, whole = paired_differences(trials)
    monkeypatch.setattr("reports.study.differences.BLOCK_ENTRIES", 999)
    _, parts = paired_differences(trials)
    assert whole is not None and parts is not None
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), rel=1e-12)  # sums round


def test_executions_are_averaged_and_misfits_left_out(tmp_path: Path) -> None:
    write_settings(tmp_path)
    write_trial(tmp_path, 0, [[0.5, 0.5, 0.6], [0.7, 0.7, 0.8]])
    write_trial(tmp_path, 1, [[0.5, 0.4, 0.5]])
    write_trial(tmp_path, 2, [[0.1, 0.2]])
    write_trial(tmp_path, 3, [[0.2, 0.2, 0.2]])
    (tmp_path / "trials" / "0003" / "execution-0" / "validation.npz").unlink()
    differences, left_out = compare_trials(read_study(tmp_path))
    assert differences["0001"].mean == pytest.approx(np.mean([-0.1, -0.2, -0.2]))
    assert set(differences) == {"0000", "0001"}
    missing, misfit = left_out  # as they are ranked
    assert missing.startswith("There is no file") and "0003" in missing
    assert misfit == "Cannot compare trial 0002: expected 3 queries, as in the best trial. Received: 2."
