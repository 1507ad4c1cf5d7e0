"""Runs combined: a row like any other, of the mean of predictions or of fused lists."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.errors import ConfigError
from cs_keras.run_files.training import Training
from cs_keras.runs import read_json, write_json, write_npz
from pipelines.evaluation.ensemble import fit_weights
from pipelines.factors.open import open_factors
from pipelines.inference.trained_run import load_run_model
from tests.command_line import drop_checksums, run
from tests.pipelines.planted_items import write_items

QUICK = [
    "--set=evaluation.n_permutations=99",
    "--set=evaluation.ks=[10, 50]",
]
FACTORS = ["--n-factors", 16, "--alpha", 5, "--regularization", 1, "--no-ceiling"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    planted = write_items(tmp_path_factory.mktemp("planted"), n_items=400, n_plays=12_000)
    out = planted.items.parent / "dataset"
    assert run("ingest", "--no-audio", "--tracks", planted.items, "--out", out) == 0
    assert run("factors", planted.interactions, out, *FACTORS) == 0
    return out


@pytest.fixture(scope="module")
def members(dataset: Path) -> tuple[Path, Path]:
    """Two runs whose predictions are the true factors with noise of its own each, as large as they are."""
    runs = dataset.parent / "runs"
    assert run("run-baselines", dataset, "--models", "genre-label-linear", "--out", runs, *QUICK) == 0
    (first,) = runs.glob("*-genre-label-linear-*")
    factors = open_factors(dataset, Dataset(dataset).tracks)
    row_of = {track_id: row for row, track_id in enumerate(factors.track_ids.tolist())}
    with np.load(first / "predictions.npz") as stored:
        ids = stored["track_ids"]
    truth = factors.scaler.transform(factors.item_factors[[row_of[one] for one in ids.tolist()]])
    made = []
    for seed in range(2):
        folder = drop_checksums(Path(shutil.copytree(first, runs / f"2026-01-01-noisy-000000000{seed}")))
        rng = np.random.default_rng(seed)
        scaled = (truth + 1.5 * truth.std() * rng.normal(size=truth.shape)).astype(np.float32)
        factors_of = factors.scaler.inverse(scaled)
        write_npz(folder / "predictions.npz", track_ids=ids, factors=factors_of, scaled_factors=scaled)
        write_json(
            folder / "config.json", {**read_json(folder / "config.json"), "seed": seed, "key": "noisy"}
        )
        made.append(folder)
    shutil.rmtree(first)
    for folder in made:
        evaluate_again(folder, dataset)
    return made[0], made[1]


def evaluate_again(folder: Path, dataset: Path) -> None:
    """Evaluate what lies in a run folder now, as the ensemble of one run and itself would be."""
    from cs_keras.run_files.settings import read_settings
    from pipelines.evaluation.evaluate import evaluate
    from pipelines.evaluation.evaluator import Evaluator
    from pipelines.evaluation.reference import make_reference
    from pipelines.factors.open import open_interactions

    settings = read_json(folder / "config.json")
    data = Dataset(dataset)
    factors = open_factors(dataset, data.tracks)
    evaluation = read_settings(folder).evaluation
    reference = make_reference(data.tracks, factors, open_interactions(dataset, factors))
    (folder / "evaluation.json").unlink()
    evaluator = Evaluator(reference, evaluation, settings["seed"])
    evaluate("genre-label-linear", evaluator, data, factors, folder)


def ensemble(members: tuple[Path, ...], dataset: Path, by: str) -> Path:
    assert run("ensemble", *members, "--dataset", dataset, "--combine", by) == 0
    (folder,) = members[0].parent.glob(f"????-??-??-ensemble-{by}-*")
    return folder


def overlap(folder: Path, kind: str) -> dict[str, float]:
    found: dict[str, float] = read_json(folder / "evaluation.json")["overlap"][kind][0]
    return found


@pytest.mark.parametrize("by", ["mean", "ranks"])
def test_two_noisy_runs_are_better_together(
    by: str, members: tuple[Path, Path], dataset: Path, tmp_path: Path
) -> None:
    folder = ensemble(members, dataset, by)
    for kind in ("similarity", "dot"):
        assert overlap(folder, kind)["low"] > max(overlap(one, kind)["overlap"] for one in members)
    ranking = [
        read_json(one / "evaluation.json")["ranking"]["predictors"]["model"] for one in (folder, *members)
    ]
    for metric in ("ndcg@10", "auc"):
        assert ranking[0][metric]["mean"] > max(one[metric]["mean"] for one in ranking[1:])
    with np.load(folder / "predictions.npz") as stored:
        scaled = stored["scaled_factors"]
    parts = []
    for member in members:
        with np.load(member / "predictions.npz") as stored:
            parts.append(stored["scaled_factors"])
    np.testing.assert_allclose(scaled, np.mean(parts, axis=0), rtol=1e-6, atol=1e-7)  # of float32
    (note,) = read_json(folder / "training.json")["notes"]
    assert all(member.name in note for member in members)
    assert ("its losses are those of the mean" in note) == (by == "ranks")
    assert run("report", members[0].parent, "--out", tmp_path / "report") == 0
    assert f"| ensemble-{by} " in (tmp_path / "report" / "tables.md").read_text(encoding="utf-8")


def test_lists_are_fused_by_hand(members: tuple[Path, Path], dataset: Path) -> None:
    """Overlap at 10 by dot product, from all ranks by NumPy alone."""
    folder = ensemble(members, dataset, "ranks")
    data = Dataset(dataset)
    factors = open_factors(dataset, data.tracks)
    test = np.flatnonzero(data.tracks.in_split("test") & factors.has_factors)
    ids = data.tracks.ids[test].tolist()
    score = np.zeros((len(factors.playlist_factors), len(test)))
    for member in members:
        with np.load(member / "predictions.npz") as stored:
            place = {track_id: row for row, track_id in enumerate(stored["track_ids"].tolist())}
            own = stored["factors"][[place[track_id] for track_id in ids]].astype(float)
        order = np.argsort(-(factors.playlist_factors.astype(float) @ own.T), axis=1)
        score += 1 / (60 + 1 + np.argsort(order, axis=1))
    true = factors.playlist_factors.astype(float) @ factors.item_factors[test].T.astype(float)
    queries = np.flatnonzero(np.abs(factors.playlist_factors).sum(axis=1))
    lists = [np.argsort(-values, axis=1, kind="stable")[:, :10] for values in (score, true)]
    shared = [len(set(lists[0][u]) & set(lists[1][u])) for u in queries.tolist()]
    # Sums that are equal in whole numbers differ by rounding here, so that single entries may be others.
    assert overlap(folder, "dot")["overlap"] == pytest.approx(np.mean(shared) / 10, abs=0.002)


def test_what_was_combined_is_not_combined_again(
    members: tuple[Path, Path], dataset: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = ensemble(members, dataset, "mean")
    written = (folder / "evaluation.json").stat().st_mtime_ns
    assert ensemble((members[1], members[0]), dataset, "mean") == folder
    assert (folder / "evaluation.json").stat().st_mtime_ns == written
    assert "done before" in capfd.readouterr().err


def test_it_has_no_model_to_predict_with(
    members: tuple[Path, Path], dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = ensemble(members, dataset, "mean")
    assert run("predict", folder, dataset, "--out", tmp_path / "out.npz") == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert "is an ensemble, which has no model of its own" in error
    assert all(member.name in error for member in members)
    with pytest.raises(ConfigError, match="is an ensemble"):
        load_run_model(folder)
    best = ensemble(members, dataset, "best")
    note = Training.read(best).notes[0].partition(": ")[2]
    with pytest.raises(ConfigError, match="its choice is") as caught:
        load_run_model(best)
    assert [one.name for one in members if one.name in str(caught.value)] == [note.partition(" alone,")[0]]
    assert sorted(Training.read(best).weights.values()) == [0, 1]
    assert list(Training.read(folder).weights.values()) == [0.5, 0.5]


def test_what_cannot_be_combined_is_refused(
    members: tuple[Path, Path], dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(members[1], tmp_path / members[1].name))
    settings = read_json(other / "config.json")

    def error(*runs: Path) -> str:
        assert run("ensemble", *runs, "--dataset", dataset, "--out", tmp_path / "out") == 1
        return capfd.readouterr().err

    assert "needs at least two different runs" in error(members[0])
    assert "needs at least two different runs" in error(members[0], members[0])
    write_json(other / "config.json", {**settings, "data_digest": "another"})
    assert "must be trained on the same data" in error(members[0], other)
    write_json(other / "config.json", {**settings, "evaluation": {**settings["evaluation"], "ks": [7]}})
    assert "must have the same evaluation settings" in error(members[0], other)
    (other / "DONE").unlink()
    assert "is not a finished run" in error(members[0], other)
    assert not (tmp_path / "out").exists()


def read_scaled(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(folder / "predictions.npz") as stored:
        return stored["track_ids"], stored["scaled_factors"].astype(float)


@pytest.mark.parametrize("by", ["stack", "best"])
def test_weights_are_those_of_validation_tracks(
    by: str, members: tuple[Path, Path], dataset: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = ensemble(members, dataset, by)
    ids, scaled = read_scaled(folder)
    tracks = Dataset(dataset).tracks
    factors = open_factors(dataset, tracks)
    rows = np.flatnonzero(tracks.in_split("validation") & factors.has_factors)
    position = {track_id: number for number, track_id in enumerate(ids.tolist())}
    is_few = any("is uncertain: at least 50 are recommended" in note for note in Training.read(folder).notes)
    assert is_few == (len(rows) < 50)
    own = [position[track_id] for track_id in tracks.ids[rows].tolist()]
    each = [read_scaled(member)[1] for member in members]
    targets = factors.scaler.transform(factors.item_factors[rows])
    if by == "stack":  # both weights are positive, so that no bound is active
        columns = np.stack([one[own].ravel() for one in each], axis=1)
        weights = np.linalg.lstsq(columns, targets.ravel(), rcond=None)[0]
        assert (weights > 0).all()
    else:
        predicted = [factors.scaler.inverse(one[own].astype(np.float32)) for one in each]
        reference = factors.item_factors[rows]
        cosines = [
            np.mean(
                np.sum(one * reference, axis=1)
                / np.linalg.norm(one, axis=1)
                / np.linalg.norm(reference, axis=1)
            )
            for one in predicted
        ]
        weights = np.eye(2)[int(np.argmax(cosines))]
    np.testing.assert_allclose(scaled, weights[0] * each[0] + weights[1] * each[1], rtol=1e-4, atol=1e-5)


def test_a_member_without_information_has_no_weight() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(400, 8)).astype(np.float32)
    noise = rng.normal(size=(3, 400, 8))
    predicted = np.stack([targets + noise[0], targets + 2 * noise[1], -targets + noise[2]]).astype(np.float32)
    # By the normal equations: with noise of variance v_m, weights are (1 / v_m) / (1 + sum of 1 / v_m).
    np.testing.assert_allclose(fit_weights(predicted, targets), [1 / 2.25, 0.25 / 2.25, 0], atol=0.03)


def test_models_are_combined_by_the_command_that_trains_them(dataset: Path, tmp_path: Path) -> None:
    keys = "attributes-linear,attributes-gcv"
    command = [
        "run-baselines",
        dataset,
        "--models",
        keys,
        "--features",
        dataset.parent / "features.npz",
        "--out",
        tmp_path,
        *QUICK,
    ]
    assert run(*command, "--combine", "stack") == 0
    (folder,) = tmp_path.glob("*-ensemble-stack-*")
    assert overlap(folder, "similarity")["p_value"] == 0.01
    members = [Path(name).name for name in read_json(folder / "config.json")["members"]]
    assert sorted(name.split("-", 3)[3].rpartition("-")[0] for name in members) == sorted(keys.split(","))
    assert run(*command, "--cross-validate", "--combine", "stack") == 2
