"""A study's folder: what it says, what may go on in it, its best trial, and what a person is shown."""

import dataclasses
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cs_keras import config
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.models import get_baseline
from cs_keras.run_files.study import Search, TrialPlan, TrialRecord
from cs_keras.runs import read_json, write_json
from pipelines.training.run_config import resolve
from reports.study.reading import read_study as read_report
from tests.tuning.studies import UPSTREAM, grid_study, make_study, records
from tests.tuning.test_oracles import EPOCHS, next_trial, search
from tuning.grid import find_grid
from tuning.oracles import make_oracle
from tuning.plan import plan_search
from tuning.progress import measure_progress
from tuning.records import issue_plan, note_start, settings_of
from tuning.results import find_best, is_logged, to_toml, write_best
from tuning.search import WorkerPool, report_ended
from tuning.study import DONE, Study, needs_search, new_study, open_study, read_study

pytestmark = pytest.mark.filterwarnings(UPSTREAM)


def ended(study: Study, **record: Any) -> dict[str, Any]:
    """Put a trial that has ended on file."""
    execution = {"seed": 0, "metrics": {}, "epochs": 1, "best_epoch": 1, "seconds": 1.0}
    content = {
        "schema_version": 1,
        "status": "completed",
        "score": 0.5,
        "executions": [execution],
        "parameters": {},
        "cause": "diverged",
        "reason": "it grew",
        **record,
    }
    write_json(study.trial_folder(record["trial"]) / "trial.json", content)
    return content


def test_a_study_is_read_as_it_was_begun(tmp_path: Path) -> None:
    for study in (make_study(tmp_path / "random"), grid_study(tmp_path / "grid", "model.deltas=[0, 1]")):
        open_study(study)
        found = read_study(study.folder)
        assert found.record == study.record
        assert not study.is_done() and study.read_trial("0000") is None
    assert read_json(tmp_path / "random/study.json")["direction"] == "max"


OTHERS: dict[str, dict[str, Any]] = {
    "tuner": {"tuner": "bayesian"},
    "objective": {"objective": "val_loss"},
    "seed": {"seed": 1},
    "executions": {"executions": 2},
    "prune_after": {"prune_after": 0},
    "space": {"only": ("training.learning_rate",)},
    "base": {"sets": {"model": {"deltas": 1}}},
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_study_in_the_folder_is_refused_by_what_differs(name: str, tmp_path: Path) -> None:
    open_study(make_study(tmp_path))
    before = read_json(tmp_path / "study.json")
    with pytest.raises(
        ConfigError, match=f"contains another study, whose {name} is .* \\(--study\\). Received: "
    ):
        open_study(make_study(tmp_path, **{"max_trials": 6, **OTHERS[name]}))
    assert read_json(tmp_path / "study.json") == before


def test_other_data_are_refused_and_another_path_to_the_same_is_not(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    open_study(study)
    open_study(dataclasses.replace(study, record=dataclasses.replace(study.record, dataset="elsewhere")))
    with pytest.raises(ConfigError, match="whose data_digest is 'ddd"):
        open_study(dataclasses.replace(study, record=dataclasses.replace(study.record, data_digest="e" * 64)))


def test_a_budget_may_be_another_and_then_the_search_continues(tmp_path: Path) -> None:
    study = make_study(tmp_path, max_trials=6)
    open_study(study)
    assert needs_search(study)
    (tmp_path / DONE).touch()
    assert not needs_search(study)
    for budget in ({"max_trials": 7}, {"max_epochs": 3}, {"max_time_s": 5.0}):
        assert needs_search(make_study(tmp_path, **budget))
    more = make_study(tmp_path, max_trials=7)
    open_study(more)
    assert read_study(tmp_path).search.max_trials == 7


def test_a_study_of_an_earlier_version_has_its_settings_by_their_current_names(tmp_path: Path) -> None:
    open_study(make_study(tmp_path))
    former = {"model": {"model.ear".removeprefix("model."): "lstm"}}
    content = read_json(tmp_path / "study.json")
    write_json(tmp_path / "study.json", {**content, "base": former, "points": {"a": former}})
    record = read_study(tmp_path).record
    assert record.base == record.points["a"] == {"model": {"estimator": "lstm"}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"schema_version": 9}, "expected schema_version 1. Received: 9"),
        ([], "expected schema_version 1. Received: None"),
        ({"schema_version": 1}, "study.json lacks model"),
    ],
)
def test_a_folder_that_is_no_study_is_reported_in_one_sentence(
    content: Any, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="is not a study: expected a folder of .* with a file study.json"):
        read_study(tmp_path)
    write_json(tmp_path / "study.json", content)
    with pytest.raises(DataError, match=expected):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"tuner": "genetic"}, "tuner must be one of random, hyperband, bayesian, grid"),
        ({"max_trials": 0}, "A random search needs a limit of trials, epochs or time"),
        ({"tuner": "bayesian", "max_trials": 0}, "A bayesian search needs a limit"),
        ({"max_trials": -1}, "max_trials must be at least 0"),
        ({"executions": 0}, "executions must be at least 1"),
        ({"factor": 1}, "factor must be at least 2"),
        ({"objective": "val_accuracy"}, "The objective must be val_loss, val_cosine, or val_overlap@K"),
    ],
)
def test_a_search_that_cannot_be_is_refused(wish: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        plan_search(Search("bot", **wish), {}, {})
    Search("bot", "hyperband", max_trials=0)  # ends by itself


def test_a_lease_outlives_two_signs_of_life() -> None:
    with pytest.raises(ConfigError, match=r"--lease must be at least 4\.0. Received: 1\.0"):
        WorkerPool(lease_s=1.0)
    with pytest.raises(ConfigError, match="--workers must be at least 0"):
        WorkerPool(n_workers=-1)


def test_the_best_is_the_highest_or_lowest_and_the_first_of_equals(tmp_path: Path) -> None:
    trials = ["0000", "0001", "0002", "0003", "0004"]
    for objective, expected in (("val_overlap@10", "0001"), ("val_loss", "0003")):
        study = make_study(tmp_path / objective, objective=objective)
        assert find_best(study, trials) is None
        for trial, score in zip(trials, (0.3, 0.5, 0.5, 0.2, 0.2), strict=True):
            ended(study, trial=trial, score=score)
        ended(study, trial="0005", status="failed", score=None)
        best = find_best(study, [*trials, "0005", "0006"])
        assert best is not None and best.trial == expected


def test_of_hyperband_only_whole_trainings_compete(tmp_path: Path) -> None:
    study = make_study(tmp_path, "hyperband")
    for trial, score, epochs in (("0000", 0.9, 2), ("0001", 0.4, 4), ("0002", 0.3, 4)):
        ended(study, trial=trial, score=score, hyperband={"epochs": epochs})
    best = find_best(study, ["0000", "0001", "0002"])
    assert best is not None and best.trial == "0001"


def test_the_best_settings_give_the_same_baseline_to_run_baselines(tmp_path: Path) -> None:
    sets = {"model": {"dense": [[64], [32, 16]]}, "training": {"patience": [1, 2]}}
    study = make_study(tmp_path, "random", sets, ("model.dense", "front_end.f_max", "training.patience"))
    search(make_oracle(study, EPOCHS))
    for trial in records(tmp_path):
        write_best(study, TrialRecord.read(study.trial_folder(trial)))
        given = tomllib.loads((tmp_path / "best.toml").read_text())
        expected = config.replace(
            get_baseline("bot"), settings_of(study, TrialPlan.read(study.trial_folder(trial)).values)
        )
        run = resolve("bot", given)
        assert {f.name: getattr(run, f.name) for f in dataclasses.fields(expected)} == vars(expected)
    assert {record["settings"]["front_end"]["f_max"] for record in records(tmp_path).values()} >= {None}
    assert (
        (tmp_path / "best.toml").read_text().startswith("# Trial 0005 of a search of bot: val_overlap@10 0.")
    )


def test_toml_says_what_settings_say() -> None:
    settings = {"a": {"b": [1, 2], "c": {"d": 'x "y"\n', "e": True}}, "f": 1e-7, "g": None, "h": {}}
    assert tomllib.loads(to_toml(settings)) == {"a": settings["a"], "f": 1e-7, "g": "none"}


def test_interruptions_are_all_starts_but_the_first(tmp_path: Path) -> None:
    study = make_study(tmp_path, max_trials=1)
    oracle = make_oracle(study, EPOCHS)
    assert next_trial(oracle) == "0000"
    for after in ("the start", "the start", "epoch 2"):
        note_start(study, "0000", after)
    search(oracle)
    assert records(tmp_path)["0000"]["interruptions"] == ["the start", "epoch 2"]


def test_a_plan_that_is_issued_again_keeps_its_start(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    issue_plan(study, "0000", {"model.deltas": 1}, 3.0)
    issue_plan(study, "0000", {"model.deltas": 1}, 8.0)
    plan = TrialPlan.read(study.trial_folder("0000"))
    assert (plan.started_s, plan.issued_s, plan.until, plan.continued) == (3.0, 8.0, None, None)


def test_reports_read_what_a_search_leaves(tmp_path: Path) -> None:
    for name, study in (
        ("random", make_study(tmp_path / "random")),
        ("hyperband", make_study(tmp_path / "hyperband", "hyperband", factor=2)),
        ("grid", grid_study(tmp_path / "grid", "model.dense=[[8], [8, 8]]", "model.scaling=['log', 'none']")),
        ("file", thesis_study(tmp_path / "file")),
    ):
        open_study(study)
        search(make_oracle(study, EPOCHS), fails=lambda trial: trial == "0001")
        report = read_report(tmp_path / name)
        assert not report.left_out
        assert len(report.trials) == len(records(tmp_path / name)) > 1
        report_ended(study, make_oracle(study, EPOCHS), set(), Listener())  # TensorBoard takes them, too
    assert records(tmp_path / "grid")["0001"]["parameters"] == {
        "model.dense": "[8, 8]",
        "model.scaling": "log",
    }
    assert records(tmp_path / "file")["0003"]["parameters"] == {
        "model.batch_norm": True,
        "model.dense": "[512, 512, 512]",
    }


def thesis_study(folder: Path) -> Study:
    wish = Search("cnn", "grid", max_trials=0)
    plan = plan_search(wish, {}, {}, (), find_grid("thesis-cnn"))
    return new_study(folder, wish, dataset="dataset", factors="wmf", data_digest="d" * 64, **vars(plan))


class Listener:
    """Records what is reported to it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)

    def task(self, description: str, total: int) -> Iterator[Any]:
        raise NotImplementedError


def test_reports_of_a_search(tmp_path: Path) -> None:
    study = make_study(tmp_path, max_trials=3)
    oracle = make_oracle(study, EPOCHS)
    search(oracle, fails=lambda trial: trial == "0001", at_most=2)
    listener, reported = Listener(), set[str]()
    report_ended(study, oracle, reported, listener)
    score = records(tmp_path)["0000"]["score"]
    assert [line.partition("; ")[0] for line in listener.lines] == [
        f"trial 0000: val_overlap@10 {score:.4f}",
        "trial 0001: failed, diverged: it grew",
    ]
    line = f"1 done, 1 failed; best val_overlap@10 {score:.4f} (trial 0000); 0:00 so far, about 0:00 left"
    assert measure_progress(study, oracle).describe() == line
    assert reported == {"0000", "0001"} and (tmp_path / "best.toml").exists()
    assert {path.name for path in (tmp_path / "hparams").iterdir()} == reported
    assert [is_logged(study, trial) for trial in ("0000", "0001", "0002")] == [True, True, False]
    assert next_trial(oracle) == "0002"
    assert "running 0002" in measure_progress(study, oracle).describe()
