"""Nothing about a test track reaches k-means, scaling, the strict factorisation, early stopping or the weights."""

import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.data.schema import write_dataset
from cs_keras.data.shards import read_shard, write_shard
from cs_keras.factors.store import load_factors
from cs_keras.models import load_model
from cs_keras.runs import read_json
from pipelines.factors.fit import FactorsConfig, WmfConfig, make_factors
from tests.command_line import SMALL, run

MODELS = ("bot", "cnn-bn", "triplet", "choi-features", "multiscale-gaussian")


def spoil_test_tracks(folder: Path, interactions: Path) -> None:
    """Replace the sound of all test tracks by noise, and assign their interactions to other playlists."""
    rng = np.random.default_rng(0)
    dataset = Dataset(folder)
    names = np.array(dataset.tracks.strings("shard"))
    is_test = dataset.tracks.in_split("test")
    checksums, headers = dict(dataset.info.shards), dict(dataset.info.headers)
    for name in np.unique(names[is_test]):
        rows = np.flatnonzero(names == name)
        noise = [(str(dataset.tracks.ids[r]), rng.random((dataset.n_frames[r], 513)) * 50) for r in rows]
        write_shard(folder / name, noise, dataset.info.audio)
        spoilt_shard = read_shard(folder / name)
        checksums[str(name)] = spoilt_shard.attributes["checksum"]
        headers[str(name)] = spoilt_shard.rest_checksum
    info = dataclasses.replace(dataset.info, shards=checksums, headers=headers)
    write_dataset(folder, info, dataset.tracks)
    test_ids = set(dataset.tracks.ids[is_test].tolist())
    with open(interactions, encoding="utf-8") as file:
        header, *table = csv.reader(file)
    shuffled = rng.permutation([row[0] for row in table if row[1] in test_ids]).tolist()
    spoilt = [[shuffled.pop(), row[1], "77"] if row[1] in test_ids else row for row in table]
    with open(interactions, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *spoilt])


def learn(folder: Path, interactions: Path, runs: Path) -> dict[str, object]:
    """Fit factors and train; return all that was learned from the data."""
    factors, _ = make_factors(interactions, folder, FactorsConfig(WmfConfig(factors=8, alpha=10.0)))
    stored = load_factors(folder / "factors" / "wmf.npz")
    is_train = Dataset(folder).tracks.in_split("train")
    learned: dict[str, object] = {
        "playlists": stored.playlist_factors.tobytes(),
        "train items": stored.item_factors[is_train].tobytes(),
        "scaler": (stored.scaler.offset.tobytes(), stored.scaler.scale.tobytes()),
        "test items": stored.item_factors[Dataset(folder).tracks.in_split("test")].tobytes(),
    }
    assert run("run-baselines", folder, "--out", runs, "--models", ",".join(MODELS), *SMALL) == 0
    for key in MODELS:
        (path,) = runs.glob(f"????-??-??-{key}-*")
        training = read_json(path / "training.json")
        history = training["history"] + (training["embedding"] or {"history": []})["history"]
        learned[f"{key} history"] = [(epoch["loss"], epoch["val_loss"]) for epoch in history]
        learned[f"{key} weights"] = [w.tobytes() for w in load_model(path / "model.keras").get_weights()]
    return learned


@pytest.mark.slow
def test_spoiling_all_test_tracks_changes_nothing_that_is_learned(demo: Path, tmp_path: Path) -> None:
    results = []
    for name in ("as it is", "spoilt"):
        folder = tmp_path / name / "dataset"
        shutil.copytree(demo, folder, ignore=shutil.ignore_patterns("source"))
        interactions = Path(shutil.copy(demo / "source" / "listening.csv", tmp_path / name))
        if name == "spoilt":
            spoil_test_tracks(folder, interactions)
        results.append(learn(folder, interactions, tmp_path / name / "runs"))
    clean, spoilt = results
    assert clean.pop("test items") != spoilt.pop("test items"), "the test tracks were not spoilt"
    for what, learned in clean.items():
        assert learned == spoilt[what], f"{what} depends on test tracks"
