"""One training of a trial: what it leaves, how it fails and goes on, and that no test track has a part in it."""

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cs_keras import config
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.errors import ConfigError, CsKerasError, DataError
from cs_keras.run_files.study import ExecutionOutcome
from cs_keras.runs import read_npz
from cs_keras.training.executions import Execution
from pipelines.training.attribute_files import AttributeFiles
from pipelines.training.trial import check_search, run_execution
from pipelines.training.trial_trainer import TrialTrainer

EPOCHS = 4
OBJECTIVE = "val_ndcg@3"  # there are four validation tracks, and many playlists
CHANGES: dict[str, dict[str, Any]] = {
    "cnn-bn": {
        "model": {"filters": 4, "dense": [16]},
        "training": {"epochs": EPOCHS, "batch_size": 16, "learning_rate": 1e-3, "patience": 0},
        "augment": {"gain_db": 6.0},  # draws at random while it trains
        "seed": 0,
    },
    "bot": {
        "model": {"n_centroids": 50, "dense": [16], "dropout": 0.2},
        "training": {"epochs": EPOCHS, "batch_size": 16, "learning_rate": 1e-3, "patience": 0},
        "seed": 0,
    },
}


def execution(data: Path, folder: Path, key: str = "cnn-bn", **wishes: Any) -> tuple[Execution, TrialTrainer]:
    """Return a training that takes a few seconds; ``changes`` are laid over its settings."""
    changes = config.merge(CHANGES.get(key, {}), wishes.pop("changes", {}))
    given: dict[str, Any] = {
        "objective": OBJECTIVE,
        "prune_after": 0,
        "until": None,
        "continued": None,
        "shared": folder.parent,
        "keep": False,
        **wishes,
    }
    own = {name: given.pop(name) for name in ("attributes", "data_digest") if name in given}
    return Execution(key, changes, **given), TrialTrainer(str(data), None, ReadConfig(), **own)


def outcome(data: Path, folder: Path, key: str = "cnn-bn", **wishes: Any) -> dict[str, Any]:
    """Train and return what is left, without what a clock decides."""
    run_execution(*execution(data, folder, key, **wishes), folder)
    left = ExecutionOutcome.read(folder)
    names = ("metrics", "epochs", "best_epoch") if left.cause is None else ("cause", "reason")
    return {name: getattr(left, name) for name in (*names, "n_weights")}


def losses(folder: Path) -> list[tuple[float, float]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(line["loss"], line["val_loss"]) for line in lines]


@pytest.fixture(scope="module")
def undisturbed(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A training from the beginning to the end: its outcome and its folder."""
    folder = tmp_path_factory.mktemp("undisturbed") / "execution"
    return outcome(demo, folder), folder


@pytest.mark.slow
def test_a_training_leaves_its_metrics(undisturbed: tuple[dict[str, Any], Path], demo: Path) -> None:
    left, folder = undisturbed
    assert set(left) == {"metrics", "epochs", "best_epoch", "n_weights"}
    assert set(left["metrics"]) == {"val_loss", OBJECTIVE}  # for lists of ten there are too few tracks
    assert left["epochs"] == EPOCHS == len(losses(folder)) and 1 <= left["best_epoch"] <= EPOCHS
    per_query = read_npz(folder / "validation.npz", "per_query")["per_query"]
    assert left["metrics"][OBJECTIVE] == pytest.approx(np.nanmean(per_query))
    assert np.nanmin(per_query) < np.nanmax(per_query) <= 1
    # of the best epoch, over tracks here and over sequences there
    assert left["metrics"]["val_loss"] == pytest.approx(min(loss for _, loss in losses(folder)), rel=0.2)
    assert not (folder / "checkpoint").exists()


@pytest.mark.slow
def test_a_training_that_is_done_is_not_done_again(
    undisturbed: tuple[dict[str, Any], Path], demo: Path
) -> None:
    left, folder = undisturbed
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert outcome(demo, folder) == left
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


FAILURES: dict[str, tuple[dict[str, Any], str, str]] = {
    "learns too fast": ({"training": {"learning_rate": 1e6}}, "diverged", "Training diverged"),
    "learns nothing": (
        {"training": {"learning_rate": 1e-12}},
        "pruned",
        "After epoch 2 the best validation",
    ),
    "out of range": ({"model": {"dropout": 2.0}}, "invalid", "model.dropout must be 0 to 0.95"),
    "no setting": ({"model": {"nonsense": 2}}, "invalid", "Unknown setting 'model.nonsense'"),
    "does not build": ({"front_end": {"f_max": 1e6}}, "invalid", "f_max"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_says_why(name: str, demo: Path, tmp_path: Path) -> None:
    changes, cause, reason = FAILURES[name]
    left = outcome(demo, tmp_path / "execution", changes=changes, prune_after=2)
    assert set(left) == {"cause", "reason", "n_weights"}
    assert (left["cause"], left["n_weights"] is None) == (cause, cause == "invalid")
    assert reason in left["reason"] and not left["reason"].endswith(".")


@pytest.mark.slow
def test_a_training_that_learns_is_not_pruned(
    undisturbed: tuple[dict[str, Any], Path], demo: Path, tmp_path: Path
) -> None:
    changes = {"training": {"learning_rate": 3e-4}}
    assert "cause" not in outcome(demo, tmp_path / "execution", "bot", changes=changes, prune_after=EPOCHS)


@pytest.mark.slow
def test_a_training_resumes_from_a_shorter_one_as_if_it_had_never_stopped(
    undisturbed: tuple[dict[str, Any], Path], demo: Path, tmp_path: Path
) -> None:
    shorter = outcome(demo, tmp_path / "shorter", until=2, keep=True)
    assert shorter["epochs"] == 2
    longer = outcome(demo, tmp_path / "longer", until=EPOCHS, continued=tmp_path / "shorter", keep=True)
    left, folder = undisturbed
    assert longer == left
    assert losses(tmp_path / "shorter") == losses(folder)[:2]
    assert outcome(demo, tmp_path / "shorter", until=2, keep=True) == shorter  # it was copied, not moved


@pytest.mark.slow
def test_a_killed_training_ends_like_an_undisturbed_one(
    undisturbed: tuple[dict[str, Any], Path], demo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "execution"
    training = multiprocessing.get_context("spawn").Process(
        target=run_execution, args=(*execution(demo, folder), folder)
    )
    training.start()
    deadline = time.monotonic() + 120
    while not (folder / "metrics.jsonl").exists() or len(losses(folder)) < 2:
        assert training.exitcode is None and time.monotonic() < deadline
        time.sleep(0.002)
    training.kill()
    training.join()
    assert not (folder / "outcome.json").exists()
    left, undisturbed_folder = undisturbed
    assert outcome(demo, folder) == left
    assert losses(folder)[-2:] == losses(undisturbed_folder)[-2:]


@pytest.mark.slow
@pytest.mark.parametrize("key", CHANGES)
def test_test_tracks_are_not_even_read(key: str, demo: Path, dataset: Path, tmp_path: Path) -> None:
    tracks = Dataset(dataset).tracks
    shards = set(np.array(tracks.strings("shard"))[tracks.in_split("test")].tolist())
    assert shards.isdisjoint(np.array(tracks.strings("shard"))[~tracks.in_split("test")].tolist())
    for shard in shards:
        os.truncate(dataset / shard, (dataset / shard).stat().st_size // 4)
    with pytest.raises(CsKerasError):
        Dataset(dataset).read_track(int(np.flatnonzero(tracks.in_split("test"))[0]))
    left = [outcome(data, tmp_path / data.name / "execution", key) for data in (demo, dataset)]
    assert "cause" not in left[0] and left[0] == left[1]


def test_a_search_that_cannot_be_is_refused_before_it_begins(demo: Path) -> None:
    changes = CHANGES["cnn-bn"]
    digests = {
        check_search("cnn-bn", changes, demo, None, objective, AttributeFiles())
        for objective in (OBJECTIVE, "val_loss")
    }
    assert len(digests) == 1
    with pytest.raises(ConfigError, match="The objective val_overlap@1000 needs more validation tracks"):
        check_search("cnn-bn", changes, demo, None, "val_overlap@1000", AttributeFiles())
    with pytest.raises(ConfigError, match="Unknown setting 'nonsense'"):
        check_search("cnn-bn", {"nonsense": 3}, demo, None, OBJECTIVE, AttributeFiles())
    with pytest.raises(ConfigError, match="attributes needs a table of attributes"):
        check_search("attributes", {}, demo, None, OBJECTIVE, AttributeFiles())


def test_a_table_of_attributes_is_a_part_of_what_is_searched_on(demo: Path, tmp_path: Path) -> None:
    ids = Dataset(demo).tracks.ids
    tables = []
    for seed in range(2):
        path = tmp_path / f"{seed}.npz"
        np.savez(path, track_ids=ids, features=np.random.default_rng(seed).standard_normal((len(ids), 6)))
        tables.append(AttributeFiles({"": path}))
    with pytest.raises(ConfigError, match="None of cnn-bn takes --features"):
        check_search("cnn-bn", CHANGES["cnn-bn"], demo, None, OBJECTIVE, tables[0])
    digest = check_search("attributes", {}, demo, None, OBJECTIVE, tables[0])
    wishes: dict[str, Any] = {
        "data_digest": digest,
        "changes": {"model": {"dense": [4]}, "training": {"epochs": 2}},
    }
    with pytest.raises(DataError, match="is not the data of the study"):
        outcome(demo, tmp_path / "wrong", "attributes", attributes=tables[1], **wishes)
    with pytest.raises(DataError):  # no failure of the trial's
        nothing = AttributeFiles({"": tmp_path / "nothing.npz"})
        np.savez(nothing.paths[""], track_ids=np.array(["unknown"]), features=np.ones((1, 6)))
        outcome(demo, tmp_path / "wrong", "attributes", attributes=nothing, **wishes)
    assert not (tmp_path / "wrong/outcome.json").exists()
    left = outcome(demo, tmp_path / "execution", "attributes", attributes=tables[0], **wishes)
    assert left["n_weights"] == (6 + 1) * 4 + (4 + 1) * 32
    assert left["epochs"] == 2 and np.isfinite(left["metrics"][OBJECTIVE])
