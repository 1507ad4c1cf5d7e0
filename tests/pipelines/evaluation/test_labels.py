"""Labels as targets: planted labels are recovered, and reports keep them apart from factors."""

import csv

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from cs_keras.config import merge
from cs_keras.data.attributes.columns import NumericColumn
from cs_keras.data.attributes.table import make_table
from cs_keras.data.dataset import Dataset
from cs_keras.data.schema import DatasetInfo, make_tracks, write_dataset
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.wmf import WmfConfig
from cs_keras.run_files.labels import LabelEvaluation, LabelScorer
from cs_keras.run_files.predictions import read_predictions
from cs_keras.runs import read_json
from pipelines.factors.fit import FactorsConfig, make_factors
from pipelines.factors.labels import LabelsConfig, open_labelled, read_labels
from pipelines.factors.open import open_dataset
from pipelines.run_baselines import run_baselines
from pipelines.training.objectives import make_training_targets
from pipelines.training.run_config import resolve, use_loss
from pipelines.training.targets import make_training_data
from reports.commands.runs import list_runs, show_run
from reports.report import build_report

N, N_LABELS = 300, 5
QUICK = {
    "models": {
        "attributes": {
            "model": {"dense": [16], "dropout": 0.0},
            "training": {"epochs": 60, "learning_rate": 0.01, "batch_size": 64},
        }
    },
    "evaluation": {"n_permutations": 19, "ks": [5]},
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A dataset without sound, a table of labels, and attributes of which each label is a half-space with noise."""
    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 4))
    rows = [
        {
            "track_id": f"t{i:03d}",
            "artist": f"a{i // 3}",
            "title": "",
            "album": "",
            "isrc": "",
            "genres": [],
            "duration_s": 1.0,
            "fold": i // 3 % 10,
            "shard": "",
            "first_frame": 0,
            "n_frames": 0,
        }
        for i in range(N)
    ]
    write_dataset(folder / "dataset", DatasetInfo(), make_tracks(rows))
    has = x @ rng.standard_normal((4, N_LABELS)) + 0.3 * rng.standard_normal((N, N_LABELS)) > 0.3
    has[:, 4] &= has[:, 0]  # the rarest
    with open(folder / "tags.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["track_id", "tag"])
        writer.writerows((f"t{i:03d}", f"tag {t}") for i, t in np.argwhere(has))
        writer.writerow(["elsewhere", "tag 0"])
    ids = [f"t{i:03d}" for i in range(N)]
    table = make_table(ids, {"x": NumericColumn(x.astype(np.float32))}, "attributes")
    return folder, has, {"": table}


@pytest.fixture(scope="module")
def runs(planted):
    """Runs of labels by cross-entropy and ridge regression, of factors of the same labels, and of factors alone."""
    folder, _, tables = planted
    labels, dataset, out = LabelsConfig(folder / "tags.csv"), folder / "dataset", folder / "runs"
    wmf = FactorsConfig(WmfConfig(factors=4, alpha=10, regularization=0.1), ceiling=False)
    make_factors(folder / "tags.csv", dataset, wmf, "tags", playlist_column="tag")
    keys = ["attributes", "attributes-linear"]
    done = run_baselines(dataset, keys, out, QUICK, tables=tables, labels=labels)
    reduced = run_baselines(dataset, keys[1:], out, QUICK, "tags", tables=tables, labels=labels)
    of_factors = run_baselines(dataset, keys[1:], out, QUICK, "tags", tables=tables)
    assert not done.failed and not reduced.failed and not of_factors.failed
    return (*done.runs, *reduced.runs, *of_factors.runs)


@pytest.mark.slow
def test_planted_labels_are_recovered_and_measured_as_by_scikit_learn(planted, runs):
    folder, has, _ = planted
    tracks = Dataset(folder / "dataset").tracks
    test = np.flatnonzero(tracks.in_split("test") & has.any(axis=1))
    for run, target in zip(runs[:3], ("labels", "labels", "tags"), strict=True):
        found, scorer = LabelEvaluation.read(run), LabelScorer.read(run)
        order = [int(name[-1]) for name in scorer.labels.tolist()]
        scores = scorer.score(read_predictions(run).select(tracks.ids[test]).factors)
        truth = has[test][:, order]
        metrics = found.predictors["model"]
        assert metrics.over_labels.auc.mean == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
        expected = average_precision_score(truth, scores)
        assert metrics.over_labels.average_precision.mean == pytest.approx(expected, abs=1e-6)
        assert metrics.over_labels.auc.mean > 0.93 and metrics.over_labels.auc.low > 0.9
        assert metrics.over_tracks.auc.mean > found.predictors["frequency"].over_tracks.auc.mean + 0.1
        assert found.predictors["chance"].over_labels.auc.mean == 0.5
        assert found.target == target and found.n_tracks.test == len(test)
        assert [one.n_test for one in found.labels] == truth.sum(axis=0).tolist()
    validation = np.flatnonzero(tracks.in_split("validation") & has.any(axis=1))
    scorer, training = LabelScorer.read(runs[0]), read_json(runs[0] / "training.json")
    probabilities = scorer.score(read_predictions(runs[0]).select(tracks.ids[validation]).factors)
    truth = has[validation][:, [int(name[-1]) for name in scorer.labels.tolist()]]
    best = training["history"][training["best_epoch"] - 1]["val_loss"]
    assert best == pytest.approx(
        np.mean([log_loss(*pair) for pair in zip(truth.T, probabilities.T, strict=True)]), rel=1e-3
    )
    assert (
        best < 0.5 < training["history"][0]["loss"] < 0.75
    )  # from log 2, where all probabilities are one half


@pytest.mark.slow
def test_reports_keep_labels_apart_from_factors(planted, runs):
    folder = planted[0] / "runs"
    report = build_report(folder, ("attributes", "attributes-linear"))
    of_factors, of_labels = report.sections
    assert {row.name for table in of_factors.tables for row in table.rows}.isdisjoint({"attributes"})
    assert [row.name for row in of_labels.tables[0].rows[2:]] == [
        "attributes",
        "attributes-linear (target=labels)",
        "attributes-linear (target=tags)",
    ]
    assert [row.name for row in of_labels.tables[1].rows] == LabelScorer.read(runs[0]).labels.tolist()
    assert "macro AUC" in report.conclusions[1].conclusion[0]
    assert len(list_runs(folder)[0].tables[0].rows) == 4
    assert show_run(runs[0])[1].tables[0].title == "Labels"
    alone = build_report(runs[0], (), planted[0] / "report")
    assert alone.next_command.startswith("tags AUDIO --tagger")
    with pytest.raises(ConfigError, match="html has runs of factors only"):
        build_report(runs[0], (), planted[0] / "report", ("html",))


def test_labels_are_those_of_the_most_train_tracks(planted, tmp_path):
    folder, has, _ = planted
    dataset, factors, labels = open_labelled(LabelsConfig(folder / "tags.csv", 2), folder / "dataset")
    train = dataset.tracks.in_split("train")
    expected = np.argsort(-has[train].sum(axis=0), kind="stable")[:2]
    assert labels.names.tolist() == [f"tag {number}" for number in expected]
    np.testing.assert_array_equal(factors.item_factors, has[:, expected])
    np.testing.assert_array_equal(labels.is_labelled, has.any(axis=1))  # of any label, the rare ones included
    (tmp_path / "other.csv").write_text("track_id,mood\nt000,calm\n", encoding="utf-8")
    with pytest.raises(DataError, match="a column tag or label. Received: track_id, mood"):
        read_labels(LabelsConfig(tmp_path / "other.csv"), dataset.tracks)
    of_test = dataset.tracks.ids[dataset.tracks.in_split("test")][0]
    (tmp_path / "other.csv").write_text(f"track_id,tag\n{of_test},calm\n", encoding="utf-8")
    with pytest.raises(DataError, match="no label of a train track"):
        read_labels(LabelsConfig(tmp_path / "other.csv"), dataset.tracks)


def test_trained_models_and_branches_take_the_cross_entropy():
    changes = use_loss("binary_crossentropy", ["fusion", "attributes-linear"], QUICK)
    assert resolve("fusion", changes).training.loss == "binary_crossentropy"
    for branch in resolve("fusion", changes).model.branches:
        assert resolve(branch, changes).training.loss == "binary_crossentropy"
    assert resolve("attributes-linear", changes).training.loss == "mse"
    own = merge(QUICK, {"training": {"loss": "mse"}})
    assert use_loss("binary_crossentropy", ["cnn"], own) == own


@pytest.mark.slow
def test_the_cross_entropy_of_factors_is_refused(planted, runs):
    dataset, factors = open_dataset(planted[0] / "dataset", "tags")
    training = resolve("cnn", {"training": {"loss": "binary_crossentropy"}}).training
    with pytest.raises(ConfigError, match="needs labels, 0 or 1"):
        make_training_targets(make_training_data(dataset, factors, 1.0), factors, training)
