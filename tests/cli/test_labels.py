"""Labels on the command line: training on a table of tags, and tags of recordings by the run."""

import importlib.util
import json

import pytest

from reports.tracking import MlflowTracker
from tests.command_line import SMALL, run

TAGGED = ["--set=models.cnn-bn.training.learning_rate=0.003"]


@pytest.mark.slow
def test_a_network_of_tags_prints_tags_of_recordings(demo, tmp_path, capfd):
    tags, runs = demo / "source" / "tags.csv", tmp_path / "runs"
    options = ("--labels", tags, "--n-labels", 12, "--out", runs, *SMALL, *TAGGED)
    assert run("run-baselines", demo, "--models", "cnn-bn", *options) == 0
    out = capfd.readouterr().out
    assert "cnn-bn ranks test tracks by label with a macro AUC of" in out and "overlap" not in out
    (folder,) = runs.glob("*-cnn-bn-*")
    if importlib.util.find_spec("mlflow"):  # which `make test-slow` installs
        assert_mlflow_logs(folder, tmp_path / "mlruns")
    recordings = sorted((demo / "source" / "audio").iterdir())[:2]
    (tmp_path / "empty.wav").write_bytes(b"")
    assert run("tags", *recordings, tmp_path / "empty.wav", "--tagger", folder, "-n", 3) == 0
    printed = capfd.readouterr()
    lines = printed.out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [path.stem for path in recordings]
    assert "left out empty" in printed.err
    assert run("card", folder) == 1
    assert "a card is of a run that predicts factors" in capfd.readouterr().err
    known = {line.partition(",")[2] for line in tags.read_text(encoding="utf-8").splitlines()}
    for line in lines:
        pairs = [one.rpartition(" ") for one in line.partition(": ")[2].split(", ")]
        values = [float(value) for _, _, value in pairs]
        assert len(pairs) == 3 and {tag for tag, _, _ in pairs} <= known
        assert values == sorted(values, reverse=True) and 0 <= values[-1] and values[0] <= 1


def assert_mlflow_logs(folder, uri):
    """A run of labels, with metrics by epoch, the labels' metrics and files."""
    import mlflow

    MlflowTracker(str(uri)).log_run(folder)
    client = mlflow.MlflowClient(str(uri))
    (experiment,) = [one for one in client.search_experiments() if one.name != "Default"]
    (found,) = client.search_runs([experiment.experiment_id])
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    history = client.get_metric_history(found.info.run_id, "loss")
    assert [(one.step, one.value) for one in history] == [(one["epoch"], one["loss"]) for one in epochs]
    results = json.loads((folder / "label_evaluation.json").read_text())["predictors"]["model"]
    for kind in ("over_labels", "over_tracks"):
        for bound, value in results[kind]["auc"].items():
            assert found.data.metrics.get(f"{kind}/auc/model/{bound}") == value
    files = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert {"model.keras", "labels.npz", "label_evaluation.json"} <= files


def test_labels_are_for_single_models(demo, tmp_path, capfd):
    tags = demo / "source" / "tags.csv"
    assert run("run-baselines", demo, "--labels", tags, "--cross-validate") == 2
    assert run("run-baselines", demo, "--labels", tags, "--models", "best") == 2
    assert run("run-baselines", demo, "--n-labels", 5) == 2
    assert capfd.readouterr().err.count("--labels") == 3
    assert run("tags", tags, "--tagger", demo) == 1
    assert "predicts no labels" in capfd.readouterr().err
