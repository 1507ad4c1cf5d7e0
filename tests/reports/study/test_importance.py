import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cs_keras.run_files.study import TrialRecord
from reports.study.importance import clip_outliers, count_settings, encode, measure_importance
from reports.study.importance import study_importance as weigh
from reports.study.reading import read_study
from reports.study.records import Parameter
from tests.reports.study.study_folders import SPACE, draw, write_settings, write_study, write_trial


def trials_with(*values: object) -> list[TrialRecord]:
    parameters: list[dict[str, object]] = [{} if value is None else {"x": value} for value in values]
    return [
        TrialRecord(trial=f"{i:04}", status="failed", cause="lost", reason="lost", parameters=one)
        for i, one in enumerate(parameters)
    ]


def test_the_only_parameter_that_matters_comes_first(tmp_path: Path) -> None:
    found = weigh(read_study(write_study(tmp_path, 60)))
    assert found is not None and found.explained[1] > 0.5
    (name, (_, low, _)), *others = found.by_parameter.items()
    assert name == "training.learning_rate" and low > 0.5
    assert len(others) == len(SPACE) - 1
    assert all(low <= 0.005 and high < 0.05 for _, (_, low, high) in others)


@pytest.mark.usefixtures("few_resamples")
def test_permuting_a_step_function_costs_twice_its_variance() -> None:
    random = np.random.default_rng(0)
    table = random.random((400, 2))
    scores = np.where(
        table[:, 0] > 0.5, 1.0, 0.0
    )  # variance 1/4; permuted, half of the values are wrong by 1
    explained, losses = measure_importance(table, scores, range(400), seed=0)
    assert explained.mean() == pytest.approx(1, abs=0.05)  # errors at the step alone
    assert losses.mean(axis=0) == pytest.approx(
        [2, 0], abs=0.15
    )  # 1/2 over 1/4; 133 trials held out, 5 splits


def test_noise_explains_nothing(tmp_path: Path) -> None:
    found = weigh(read_study(write_study(tmp_path, 40, lambda parameters: 0.3, noise=0.02)))
    assert found is not None and found.explained[0] < 0
    assert all(low <= 0 <= high for _, low, high in found.by_parameter.values())


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.study.importance.N_RESAMPLES", 5)


@pytest.mark.usefixtures("few_resamples")
def test_the_same_study_gives_the_same_numbers_and_another_seed_others(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, 14))
    assert weigh(study) == weigh(study)
    other = dataclasses.replace(study, settings=dataclasses.replace(study.settings, seed=1))
    assert weigh(other) != weigh(study)


@pytest.mark.usefixtures("few_resamples")
def test_lower_losses_weigh_as_higher_overlaps_do(tmp_path: Path) -> None:
    up = read_study(write_study(tmp_path / "up", 20))
    down = read_study(write_study(tmp_path / "down", 20, objective="val_loss", direction="min"))
    flipped = [
        dataclasses.replace(trial, score=None if trial.score is None else -trial.score) for trial in up.trials
    ]
    assert weigh(dataclasses.replace(down, trials=tuple(flipped))) == weigh(up)


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize(("n_trials", "n_completed"), [(10, 9), (11, 10)])
def test_fewer_than_ten_completed_trials_give_no_numbers(
    tmp_path: Path, n_trials: int, n_completed: int
) -> None:
    study = read_study(write_study(tmp_path, n_trials))
    assert count_settings(study) == n_completed
    assert (weigh(study) is None) == (n_completed < 10)


def test_equal_scores_give_no_numbers(tmp_path: Path) -> None:
    write_settings(tmp_path)
    random = np.random.default_rng(0)
    for number in range(12):
        write_trial(tmp_path, number, [[0.5, 0.25]], parameters=draw(random, SPACE))
    assert weigh(read_study(tmp_path)) is None


def test_continued_trials_count_once(tmp_path: Path) -> None:
    write_settings(tmp_path)
    random = np.random.default_rng(0)
    for number in range(8):
        parameters = draw(random, SPACE)
        for place, epochs in enumerate((2, 6)):
            hyperband = {"bracket": 1, "round": place, "from_trial": None, "epochs": epochs}
            queries = [[0.5, number / 50]]
            write_trial(tmp_path, 2 * number + place, queries, parameters=parameters, hyperband=hyperband)
    study = read_study(tmp_path)
    assert count_settings(study) == 8
    assert study.varied[-1].name == "hyperband.epochs"


def test_numbers_are_coded_by_their_scale_and_levels_by_their_index() -> None:
    log, linear = Parameter("x", log=True), Parameter("x")
    assert encode(log, trials_with(1e-3, 0.1)) == pytest.approx([-3, -1])
    assert encode(linear, trials_with(2, 5)).tolist() == [2, 5]
    assert encode(Parameter("x", (10, 20, 40)), trials_with(40, 10)).tolist() == [2, 0]
    named = Parameter("x", ("a", "b", "c"))
    assert encode(named, trials_with("c", None, "a")).tolist() == [2, -1, 0]


@pytest.mark.parametrize("parameter", [Parameter("x"), Parameter("x", log=True), Parameter("x", (1, 2, 3))])
def test_inactive_is_a_level_below_all_others(parameter: Parameter) -> None:
    inactive, *known = encode(parameter, trials_with(None, 1, 2, 3))
    assert inactive < min(known)


def test_outliers_are_raised_to_the_outer_fence() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, -50.0])
    clipped = clip_outliers(scores)
    first, third = np.quantile(scores, [0.25, 0.75])
    assert clipped.tolist() == [0.1, 0.2, 0.3, 0.4, pytest.approx(first - 3 * (third - first))]
    equal = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    assert clip_outliers(equal).tolist() == equal.tolist()
