"""Runs and trials in MLflow, read back by its own client."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

from cs_keras.errors import ConfigError, StorageError
from cs_keras.run_files.settings import flatten_settings
from cs_keras.runs import read_json
from reports.tracking import MlflowTracker
from tests.reports.conftest import MakeRun
from tests.reports.study.study_folders import write_study

pytestmark = pytest.mark.slow
needs_mlflow = pytest.mark.skipif(
    not importlib.util.find_spec("mlflow"), reason="MLflow is not installed: make test-slow installs it"
)


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    folder = make_run(others={"key": "cnn", "training": {f"setting-{n}": n for n in range(150)}})
    with open(folder / "metrics.jsonl", "w") as file:
        for epoch in range(1, 4):
            file.write(json.dumps({"epoch": epoch, "loss": 1 / epoch, "val_loss": 2 / epoch}) + "\n")
    return folder


@needs_mlflow
def test_a_run_is_logged_once_with_all_that_its_files_hold(run: Path, tmp_path: Path) -> None:
    import mlflow

    uri = str(tmp_path / "mlruns")
    for _ in range(2):
        MlflowTracker(uri).log_run(run)
    client = mlflow.MlflowClient(uri)
    (experiment,) = [one for one in client.search_experiments() if one.name != "Default"]
    assert experiment.name == "cs-keras dddddddddd"
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == run.name and found.info.status == "FINISHED"
    assert found.data.params == dict(flatten_settings(read_json(run / "config.json")))
    history = client.get_metric_history(found.info.run_id, "val_loss")
    assert [(one.step, one.value) for one in history] == [(1, 2.0), (2, 1.0), (3, 2 / 3)]
    evaluation = read_json(run / "evaluation.json")
    for kind, overlaps in evaluation["overlap"].items():
        for one in overlaps:
            for name in ("overlap", "low", "high", "chance", "p_value"):
                assert found.data.metrics.get(f"overlap/{kind}/{one['k']}/{name}") == one[name]
    assert found.data.metrics["test/mse"] == evaluation["losses"]["test"]["mse"]
    model = evaluation["ranking"]["predictors"]["model"]
    assert found.data.metrics["ranking/ndcg/5"] == model["ndcg@5"]["mean"]
    files = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert files == {path.name for path in run.iterdir()} - {"DONE"}
    # What an interrupted command logged in part is replaced.
    client.update_run(found.info.run_id, status="RUNNING")
    MlflowTracker(uri).log_run(run)
    (again,) = client.search_runs([experiment.experiment_id])
    assert again.info.run_id != found.info.run_id and again.info.status == "FINISHED"


@needs_mlflow
def test_trials_are_logged_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    study = write_study(tmp_path / "study", 8)  # of which one fails
    record = read_json(study / "study.json")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    uri = str(tmp_path / "mlruns")
    for _ in range(2):
        MlflowTracker(uri).log_study(study)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("mine")
    found = client.search_runs([experiment.experiment_id])
    trials = {f"study {path.parent.name}": read_json(path) for path in study.glob("trials/*/trial.json")}
    assert sorted(one.info.run_name for one in found) == sorted(trials) and len(trials) == 8
    for one in found:
        trial = trials[one.info.run_name]
        assert one.data.params == dict(flatten_settings(trial["parameters"]))
        assert one.data.metrics.get("score/" + record["objective"].replace("@", "/")) == trial["score"]
        assert one.data.tags["cs_keras.status"] == (trial.get("reason") or "completed")


@needs_mlflow
def test_a_server_that_does_not_answer_is_one_sentence_at_once() -> None:
    with pytest.raises(StorageError, match="MLflow cannot use http://127.0.0.1:9: "):
        MlflowTracker("http://127.0.0.1:9")
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(ConfigError, match=r"pip install 'cs-keras\[mlflow\]'"):
        MlflowTracker("mlruns")
