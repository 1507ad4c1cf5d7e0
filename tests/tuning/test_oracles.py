"""Searches go on where they were left, spend what they may, and are not held up by what fails."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cs_keras.errors import DataError
from cs_keras.run_files.study import ExecutionOutcome, TrialPlan
from cs_keras.runs import read_json, write_json
from tests.tuning.studies import UPSTREAM, grid_study, make_study, records, results
from tests.tuning.trainers import score_of
from tuning.oracles import DurableOracle, make_oracle
from tuning.records import make_record, settings_of
from tuning.study import Study, open_study

pytestmark = pytest.mark.filterwarnings(UPSTREAM)
EPOCHS = 4
STUDIES: dict[str, Callable[[Path], Study]] = {
    "random": lambda folder: make_study(folder, max_trials=8),
    "bayesian": lambda folder: make_study(folder, "bayesian", max_trials=5),
    "hyperband": lambda folder: make_study(folder, "hyperband", factor=2),
    "grid": lambda folder: grid_study(folder, "training.batch_size=[16, 32]", "model.deltas=[0, 1, 2]"),
}


def train(study: Study, trial: str, fails: bool = False) -> None:
    """Leave the record that a worker would."""
    plan = TrialPlan.read(study.trial_folder(trial))
    epochs = plan.until or EPOCHS
    changes = {**settings_of(study, plan.values), "seed": 0}
    outcome = ExecutionOutcome(cause="diverged", reason="it grew")
    if not fails:
        metrics = {study.search.objective: score_of(changes, epochs)}
        outcome = ExecutionOutcome(
            metrics=metrics, epochs=epochs, best_epoch=epochs, seconds=1.0, n_weights=7
        )
    make_record(study, trial, [outcome], "here", 0.0).write(study.trial_folder(trial))


def next_trial(oracle: DurableOracle, worker: str = "w") -> str | None:
    """Return the trial that a worker is given, if any."""
    trial = oracle.create_trial(worker)
    return str(trial.trial_id) if trial.status == "RUNNING" else None


def search(
    oracle: DurableOracle, fails: Callable[[str], bool] = lambda trial: False, at_most: int = 1000
) -> list[dict[str, Any]]:
    """Run trials one after another, and return the values of each."""
    values = []
    while len(values) < at_most and (trial := next_trial(oracle)) is not None:
        values.append(dict(TrialPlan.read(oracle.study.trial_folder(trial)).values))
        train(oracle.study, trial, fails(trial))
        oracle.end_by_record(trial)
    return values


@pytest.mark.parametrize("tuner", STUDIES)
def test_a_search_that_is_left_at_any_time_tries_the_same_points(tuner: str, tmp_path: Path) -> None:
    undisturbed = search(make_oracle(STUDIES[tuner](tmp_path / "undisturbed"), EPOCHS))
    disturbed: list[dict[str, Any]] = []
    study = STUDIES[tuner](tmp_path / "disturbed")
    while values := search(make_oracle(study, EPOCHS), at_most=1):
        disturbed += values
    assert disturbed == undisturbed
    assert len(undisturbed) == {"random": 8, "bayesian": 5, "hyperband": 15, "grid": 6}[tuner]


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.medium
@pytest.mark.parametrize("tuner", ["random", "hyperband"])
def test_a_kill_after_any_of_its_writes_changes_nothing(
    tuner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def study_in(folder: Path) -> Study:
        return make_study(folder, tuner, factor=2, max_trials=3 if tuner == "random" else 0)

    search(make_oracle(study_in(tmp_path / "undisturbed"), 2))
    n_writes, survived = 0, False
    while not survived:
        n_writes += 1
        study = study_in(tmp_path / str(n_writes))
        with monkeypatch.context() as patch:
            killing = kill_after(n_writes)
            patch.setattr("tuning.oracles.write_json", killing)
            patch.setattr("cs_keras.run_files.records.write_json", killing)
            try:
                search(make_oracle(study, 2))
                survived = True
            except Killed:
                pass
        search(make_oracle(study, 2))
        assert results(tmp_path / str(n_writes)) == results(tmp_path / "undisturbed"), n_writes
    assert n_writes > 3 * len(results(tmp_path / "undisturbed"))  # plan, record and state of each trial


def kill_after(n_writes: int) -> Callable[[Any, Any], None]:
    """Return what writes as `write_json` does until a number of writes is done."""
    left = n_writes

    def write(path: Any, value: Any) -> None:
        nonlocal left
        write_json(path, value)
        left -= 1
        if not left:
            raise Killed

    return write


@pytest.mark.parametrize("tuner", STUDIES)
def test_a_trial_under_way_goes_back_to_its_worker(tuner: str, tmp_path: Path) -> None:
    study = STUDIES[tuner](tmp_path)
    first, second = (next_trial(make_oracle(study, EPOCHS), worker) for worker in ("one", "other"))
    assert (first, second) == ("0000", "0001")
    oracle = make_oracle(study, EPOCHS)
    assert [next_trial(oracle, worker) for worker in ("other", "one")] == [second, first]


def test_an_end_that_the_chief_missed_is_taken_from_the_record(tmp_path: Path) -> None:
    study = STUDIES["random"](tmp_path)
    trial = next_trial(make_oracle(study, EPOCHS))
    assert trial == "0000"
    train(study, trial)
    oracle = make_oracle(study, EPOCHS)
    assert oracle.end_order == ["0000"] and not oracle.ongoing_trials
    assert next_trial(oracle) == "0001"


def test_an_end_that_is_reported_twice_counts_once(tmp_path: Path) -> None:
    study = STUDIES["hyperband"](tmp_path)
    oracle = make_oracle(study, EPOCHS)
    trial = next_trial(oracle)
    assert trial is not None
    oracle.end_by_record(trial)  # before there is a record: not yet
    assert oracle.end_order == []
    train(study, trial)
    for _ in range(2):
        oracle.end_by_record(trial)
    assert oracle.end_order == [trial] and not oracle.ongoing_trials


def test_the_trial_of_a_lost_worker_goes_to_the_next_worker(tmp_path: Path) -> None:
    study = STUDIES["random"](tmp_path)
    oracle = make_oracle(study, EPOCHS)
    assert [next_trial(oracle, worker) for worker in ("lost", "well")] == ["0000", "0001"]
    values = TrialPlan.read(study.trial_folder("0000")).values
    oracle.reassign("0000")
    oracle = make_oracle(study, EPOCHS)  # the chief is killed on top of it
    assert next_trial(oracle, "other") == "0000"
    assert TrialPlan.read(study.trial_folder("0000")).values == values
    train(study, "0000")
    oracle.end_by_record("0000")  # reported by the worker that was taken for lost: the other's is over, too
    assert list(oracle.ongoing_trials) == ["well"] and oracle.end_order == ["0000"]
    assert next_trial(oracle, "other") == "0002"


def test_the_last_trials_are_waited_for_in_case_their_workers_are_lost(tmp_path: Path) -> None:
    oracle = make_oracle(make_study(tmp_path, max_trials=1), EPOCHS)
    assert next_trial(oracle, "lost") == "0000"
    assert oracle.create_trial("well").status == "IDLE"
    assert not oracle.is_exhausted
    oracle.reassign("0000")
    assert next_trial(oracle, "well") == "0000"


def test_a_trial_that_loses_one_worker_after_another_has_failed(tmp_path: Path) -> None:
    study = make_study(tmp_path, max_trials=2)
    oracle = make_oracle(study, EPOCHS)
    for n in range(6):
        assert next_trial(oracle, f"worker-{n}") == "0000"
        oracle.reassign("0000")
        oracle = make_oracle(study, EPOCHS)
    record = records(tmp_path)["0000"]
    assert (record["status"], record["cause"]) == ("failed", "lost")
    assert record["reason"] == "its worker was lost 6 times"
    assert next_trial(oracle, "worker-6") == "0001"


def rounds(study: Study) -> Counter[tuple[int, int]]:
    assert isinstance(study.folder, Path)
    return Counter(map(place_of, records(study.folder).values()))


def place_of(record: dict[str, Any]) -> tuple[int, int]:
    return record["hyperband"]["bracket"], record["hyperband"]["round"]


WHOLE = {(2, 0): 4, (2, 1): 2, (2, 2): 1, (1, 0): 3, (1, 1): 2, (0, 0): 3}


def test_failed_trials_do_not_hold_up_a_bracket(tmp_path: Path) -> None:
    study = STUDIES["hyperband"](tmp_path)
    search(make_oracle(study, EPOCHS), fails=lambda trial: trial in ("0000", "0003"))
    assert rounds(study) == WHOLE  # two of four are left, as many as are promoted
    assert all(
        record["hyperband"]["from_trial"] not in ("0000", "0003") for record in records(tmp_path).values()
    )


def test_a_round_that_is_short_of_trials_still_sends_one_on(tmp_path: Path) -> None:
    study = STUDIES["hyperband"](tmp_path)
    search(make_oracle(study, EPOCHS), fails=lambda trial: trial in ("0000", "0001", "0003"))
    assert rounds(study) == {**WHOLE, (2, 1): 1}


def test_a_bracket_whose_trials_have_all_failed_is_left(tmp_path: Path) -> None:
    study = STUDIES["hyperband"](tmp_path)
    search(make_oracle(study, EPOCHS), fails=lambda trial: trial < "0004")
    assert rounds(study) == {place: n for place, n in WHOLE.items() if place not in ((2, 1), (2, 2))}


def test_the_points_of_a_small_space_are_promoted_though_they_fill_no_bracket(tmp_path: Path) -> None:
    study = make_study(tmp_path, "hyperband", {"model": {"deltas": [1, 2]}}, ("model.deltas",), factor=2)
    search(make_oracle(study, EPOCHS))
    assert rounds(study) == {(2, 0): 2, (2, 1): 2, (2, 2): 1}


def test_promoted_trials_are_the_best_and_go_on_from_themselves(tmp_path: Path) -> None:
    study = STUDIES["hyperband"](tmp_path)
    search(make_oracle(study, EPOCHS))
    found = records(tmp_path)
    for place, n in WHOLE.items():
        earlier = (place[0], place[1] - 1)
        if earlier in WHOLE:
            of_round = [record for record in found.values() if place_of(record) == earlier]
            best = sorted(of_round, key=lambda record: -record["score"])[:n]
            promoted = [r["hyperband"]["from_trial"] for r in found.values() if place_of(r) == place]
            assert sorted(promoted) == sorted(record["trial"] for record in best)
    assert {r["hyperband"]["epochs"] for r in found.values() if r["hyperband"]["round"] == 2} == {4}


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_no_point_is_tried_twice_and_a_small_space_ends_a_search(tuner: str, tmp_path: Path) -> None:
    study = make_study(tmp_path, tuner, {"model": {"deltas": [0, 1, 2]}}, ("model.deltas",), max_trials=20)
    values = search(make_oracle(study, EPOCHS))
    assert sorted(p["model.deltas"] for p in values if "tuner/trial_id" not in p) == [0, 1, 2]


@pytest.mark.slow
def test_a_gaussian_process_finds_the_best_rate(tmp_path: Path) -> None:
    study = make_study(tmp_path, "bayesian", only=("training.learning_rate",), max_trials=8)
    search(make_oracle(study, EPOCHS))
    best = max(records(tmp_path).values(), key=lambda record: record["score"])
    assert best["parameters"]["training.learning_rate"] == pytest.approx(1e-3, rel=0.3)  # of three decades


def test_low_losses_are_the_best_of_a_search_for_loss(tmp_path: Path) -> None:
    study = make_study(tmp_path, "hyperband", factor=2, objective="val_loss")
    search(make_oracle(study, EPOCHS))
    found = records(tmp_path)
    first, second = ([r for r in found.values() if place_of(r) == (2, n)] for n in (0, 1))
    best = sorted(first, key=lambda record: record["score"])[:2]
    assert {r["hyperband"]["from_trial"] for r in second} == {record["trial"] for record in best}


def test_budgets_end_a_search_and_a_higher_one_continues_it(tmp_path: Path) -> None:
    sizes = []
    for wishes in ({"max_trials": 2}, {"max_trials": 5}, {"max_trials": 0, "max_epochs": 7 * EPOCHS}):
        oracle = make_oracle(make_study(tmp_path, **wishes), EPOCHS)
        search(oracle)
        assert oracle.is_exhausted
        sizes.append(len(records(tmp_path)))
    assert sizes == [2, 5, 7]
    points = [tuple(record["parameters"].values()) for record in records(tmp_path).values()]
    others = [tuple(point[name] for name in records(tmp_path)["0000"]["parameters"]) for point in search(
        make_oracle(make_study(tmp_path / "at once", max_trials=7), EPOCHS))]  # fmt: skip
    assert points == others


def test_a_time_limit_counts_all_sittings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr("tuning.oracles.time.monotonic", lambda: now)
    study = make_study(tmp_path, max_trials=0, max_time_s=100.0)
    for _ in range(3):
        oracle = make_oracle(study, EPOCHS)
        assert len(search(oracle, at_most=1)) == 1
        now += 40.0
        oracle.save()
    assert make_oracle(study, EPOCHS).seconds == pytest.approx(120.0)
    assert search(make_oracle(study, EPOCHS)) == []


def test_parameters_keep_all_their_digits(tmp_path: Path) -> None:
    study = STUDIES["random"](tmp_path)
    search(make_oracle(study, EPOCHS))
    for trial, record in records(tmp_path).items():
        rate = record["parameters"]["training.learning_rate"]
        assert record["settings"]["training"]["learning_rate"] == rate
        state = read_json(tmp_path / "oracle.json")["trials"][int(trial)]
        assert state["hyperparameters"]["values"]["training.learning_rate"] == rate


@pytest.mark.parametrize("spoil", [lambda state: state.pop("state"), lambda state: state.update(trials=3)])
def test_a_damaged_state_is_reported_in_one_sentence(
    spoil: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    study = STUDIES["random"](tmp_path)
    open_study(study)
    search(make_oracle(study, EPOCHS), at_most=2)
    state = read_json(tmp_path / "oracle.json")
    spoil(state)
    write_json(tmp_path / "oracle.json", state)
    with pytest.raises(DataError, match=r"oracle\.json is not a file of `cs-keras tune`, or damaged: .*\.$"):
        make_oracle(study, EPOCHS)
