"""Fusion of evidence: as good as what all branches know together, and as one branch where the other is missing."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cs_keras import config
from cs_keras.data.attributes.columns import LabelColumn, NumericColumn
from cs_keras.data.attributes.table import make_table
from cs_keras.data.dataset import Dataset
from cs_keras.errors import ConfigError, StorageError
from cs_keras.evaluation.losses import measure_regression_losses
from cs_keras.models import fusion, load_model
from cs_keras.progress import SilentProgress
from cs_keras.runs import read_json
from pipelines.inference.trained_run import read_run, track_function
from pipelines.run_baselines import run_baselines
from pipelines.training.procedures.fusion import join_vectors
from pipelines.training.procedures.track_vectors import TrackVectors
from pipelines.training.run_config import resolve, resolve_branch
from tests.command_line import run
from tests.pipelines.planted_evidence import AUDIO, Planted, write_evidence

N_TRACKS = 1500
ENCODER = {
    "model": {"filters": 8, "pool_frames": [1], "pool_mels": [1], "dense": [32], "batch_norm": False},
    "training": {"learning_rate": 3e-3, "epochs": 6, "batch_size": 64},
    "front_end": {"n_mels": 8, "f_max": 1000.0},
    "sequence": {"frames": 4},
}
HEAD = {"model": {"dense": [64], "dropout": 0.0}, "training": {"epochs": 40}}
QUICK = {
    "evaluation": {"n_permutations": 9, "ks": [10]},
    "models": {"cnn-bn": ENCODER}
    | dict.fromkeys(
        ("attributes", "genre-label", "fusion", "fusion-genres", "estimated-attributes", "fusion-estimated"),
        HEAD,
    ),
}
"""A tiny audio model and small heads, which learn the planted factors in seconds."""

# Distances of what was learnt from 1,000 tracks to that of the known best prediction, on the very same test tracks:
# a small network loses a few hundredths, most where half of them lack a branch; to be better would be a leak.
LOSS = 0.06
LUCK = 0.01


class RecordedLines(SilentProgress):
    """Remembers the lines, and is interrupted at one of them."""

    def __init__(self, until: str = "never") -> None:
        self.lines: list[str] = []
        self._until = until

    def log(self, line: str) -> None:
        self.lines.append(line)
        if line.startswith(self._until):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return write_evidence(tmp_path_factory.mktemp("planted") / "dataset", N_TRACKS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def fused(planted: Planted, runs: Path) -> Path:
    return train(planted, runs, "fusion", every(N_TRACKS))


def every(n: int) -> np.ndarray:
    return np.ones(n, np.bool_)


def half(n: int) -> np.ndarray:
    """Half of the tracks of every fold."""
    return np.asarray(np.arange(n) // 10 % 2 == 0)


def train(
    planted: Planted, runs: Path, model: str, has: np.ndarray | None, progress: SilentProgress | None = None
) -> Path:
    """Train `model` with attributes of the tracks that have them, or without a table, and return its run folder."""
    tables = {} if has is None else {"": planted.table(has)}
    done = run_baselines(planted.folder, [model], runs, QUICK, tables=tables, progress=progress)
    assert not done.failed
    return done.runs[0]


def distances(
    folder: Path, planted: Planted, best: np.ndarray, chosen: np.ndarray | None = None
) -> tuple[float, float]:
    """Return the cosine distances of a run's and of the best predictions of test tracks, or of some of them."""
    rows = np.flatnonzero(planted.test if chosen is None else planted.test & chosen)
    with np.load(folder / "predictions.npz") as stored:
        predicted = dict(zip(stored["track_ids"].tolist(), stored["factors"], strict=True))
    found = np.stack([predicted[track_id] for track_id in planted.ids[rows].tolist()])
    return tuple(
        measure_regression_losses(planted.factors[rows], one.astype(np.float32)).cosine_distance
        for one in (found, best[rows])
    )


def assert_near(pair: tuple[float, float]) -> None:
    found, best = pair
    assert best - LUCK < found < best + LOSS


@pytest.mark.slow
def test_it_reaches_what_all_inputs_together_can_explain(planted: Planted, fused: Path) -> None:
    both = distances(fused, planted, planted.by_audio + planted.by_attributes)
    assert_near(both)
    for alone in (planted.by_audio, planted.by_attributes):
        assert both[0] < distances(fused, planted, alone)[1] - 0.2


@pytest.mark.slow
def test_without_any_attributes_it_is_as_good_as_its_audio_branch(planted: Planted, runs: Path) -> None:
    folder = train(planted, runs, "fusion", None)
    assert_near(distances(folder, planted, planted.by_audio))
    (_, left_out) = read_json(folder / "training.json")["notes"]
    assert left_out == "its branch attributes was left out, as no train track has its input"
    assert [path.name for path in (folder / "branches").iterdir()] == ["cnn-bn"]


@pytest.mark.slow
def test_with_attributes_of_half_of_the_tracks_each_half_gets_its_due(planted: Planted, runs: Path) -> None:
    has = half(N_TRACKS)
    folder = train(planted, runs, "fusion", has)
    assert_near(distances(folder, planted, planted.by_audio + planted.by_attributes, has))
    assert_near(distances(folder, planted, planted.by_audio, ~has))


@pytest.mark.slow
def test_tracks_without_sound_have_their_attributes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    has_audio, has = half(N_TRACKS), np.arange(N_TRACKS) % 50 > 10
    planted = write_evidence(tmp_path / "dataset", N_TRACKS, has_audio)
    folder = train(planted, tmp_path / "runs", "fusion", has)
    both = planted.by_audio + planted.by_attributes
    assert_near(distances(folder, planted, both, has_audio & has))
    assert_near(distances(folder, planted, planted.by_attributes, ~has_audio & has))
    neither = planted.test & ~has_audio & ~has
    with np.load(folder / "predictions.npz") as stored:
        is_mean = ~stored["scaled_factors"].any(axis=1)
        assert set(stored["track_ids"][is_mean].tolist()) >= set(planted.ids[neither].tolist())
        unseen = np.isin(planted.ids, stored["track_ids"])
        assert is_mean.sum() == (unseen & ~has_audio & ~has).sum() > 0
    out = tmp_path / "out.npz"
    assert (
        run("predict", folder, planted.folder, "--features", table_file(planted, tmp_path), "--out", out) == 0
    )
    with np.load(out) as stored:  # now every track has attributes
        assert stored["track_ids"].tolist() == planted.ids.tolist()
    assert run("predict", folder, planted.folder, "--out", out) == 0
    with np.load(out) as stored:
        assert stored["track_ids"].tolist() == planted.ids[has_audio].tolist()
    printed = capfd.readouterr().err
    assert "no --features: tracks are predicted without the branch attributes" in printed
    assert "left out t00010: it has no input of any branch" in printed


def table_file(planted: Planted, folder: Path) -> Path:
    path = folder / "attributes.csv"
    lines = [",".join(["id", *(f"number {n}" for n in range(planted.attributes.shape[1]))])]
    lines += [
        ",".join([track_id, *map(repr, row)])
        for track_id, row in zip(planted.ids.tolist(), planted.attributes.tolist(), strict=True)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.slow
def test_new_predictions_are_those_of_training(
    planted: Planted, fused: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.npz"
    given = ["--features", table_file(planted, tmp_path)]
    assert run("predict", fused, planted.folder, *given, "--split", "test", "--out", out) == 0
    with np.load(out) as found, np.load(fused / "predictions.npz") as stored:
        known = dict(zip(stored["track_ids"].tolist(), stored["scaled_factors"], strict=True))
        ids = found["track_ids"].tolist()
        assert ids == planted.ids[planted.test].tolist()
        # Float32 sums in another order, since batches are others.
        expected = np.stack([known[track_id] for track_id in ids])
        np.testing.assert_allclose(found["scaled_factors"], expected, rtol=1e-3, atol=1e-4)
    capfd.readouterr()
    recording = tmp_path / "a.wav"
    recording.write_bytes(b"")
    for refused, expected in (
        (
            ["predict", fused, recording],
            "a.wav is empty.",
        ),
        (["features", fused, planted.folder], "needs an audio model. Received: that of"),
    ):
        assert run(*refused, "--out", out) == 1
        assert expected in capfd.readouterr().err


@pytest.mark.slow
def test_blocks_predicted_before_a_kill_are_not_predicted_again(
    planted: Planted, fused: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [
        "predict",
        fused,
        planted.folder,
        "--features",
        table_file(planted, tmp_path),
        "--split",
        "test",
    ]
    assert run(*arguments, "--out", tmp_path / "expected.npz") == 0
    out, parts = tmp_path / "out.npz", tmp_path / "out.npz.parts"

    def fail(*given: object) -> None:
        raise StorageError("killed at the end")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.inference.predict.write_vectors", fail)
        assert run(*arguments, "--out", out) == 1
    assert list(parts.glob("part-*.npz")) and not out.exists()
    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "read_track", fail)
        assert run(*arguments, "--out", out) == 0
    assert out.read_bytes() == (tmp_path / "expected.npz").read_bytes()
    assert not parts.exists()


@pytest.mark.slow
def test_a_branch_is_what_its_own_run_would_be(planted: Planted, fused: Path, runs: Path) -> None:
    alone = train(planted, runs, "attributes", every(N_TRACKS))
    models = [load_model(folder / "model.keras") for folder in (alone, fused / "branches" / "attributes")]
    one, two = (model.get_weights() for model in models)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    encodings = [folder / "attributes.json" for folder in (alone, fused / "branches" / "attributes")]
    assert encodings[0].read_bytes() == encodings[1].read_bytes()
    training = read_json(fused / "training.json")
    assert list(training["branches"]) == ["cnn-bn", "attributes"]
    own = read_json(alone / "training.json")
    assert training["branches"]["attributes"]["val_loss"] == own["history"][own["best_epoch"] - 1]["val_loss"]
    assert training["seconds"] > sum(epoch["seconds"] for epoch in training["history"])


@pytest.mark.slow
def test_branches_are_shared(planted: Planted, fused: Path, runs: Path) -> None:
    progress = RecordedLines()
    train(planted, runs, "fusion-genres", every(N_TRACKS), progress)
    assert any(line.startswith("genre-label: epoch ") for line in progress.lines)
    assert not any(line.startswith(("cnn-bn: epoch ", "attributes: epoch ")) for line in progress.lines)


@pytest.mark.slow
@pytest.mark.parametrize("until", ["cnn-bn: epoch 3 of", "fusion: epoch 5 of"])
def test_an_interrupted_fusion_resumes_to_the_same_numbers(
    until: str, planted: Planted, fused: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(planted, tmp_path, "fusion", every(N_TRACKS), RecordedLines(until))
    progress = RecordedLines()
    folder = train(planted, tmp_path, "fusion", every(N_TRACKS), progress)
    assert not any(line.startswith("cnn-bn: epoch 1 of") for line in progress.lines)
    assert (folder / "predictions.npz").read_bytes() == (fused / "predictions.npz").read_bytes()
    assert not list(tmp_path.rglob("checkpoint"))


def test_settings_of_a_branch_are_those_of_its_own_run_unless_they_are_set() -> None:
    changes = config.merge(
        QUICK, {"seed": 5, "models": {"fusion": {"model": {"branch_settings": {"cnn-bn": {"seed": 1}}}}}}
    )
    fusion = resolve("fusion", changes)
    branch, own = resolve_branch(fusion, "cnn-bn"), resolve("cnn-bn", changes)
    assert branch == own and branch.seed == 5 and branch.model.filters == 8
    changes["models"]["fusion"]["model"]["branch_settings"]["cnn-bn"] = {"model": {"filters": 4}}
    branch = resolve_branch(resolve("fusion", changes), "cnn-bn")
    assert branch.model.filters == 4 and branch.model.dense == (32,)


@pytest.mark.slow
def test_audible_attributes_are_estimated_from_sound(planted: Planted, tmp_path: Path) -> None:
    """Numbers that are levels, and a word for each sign of the first: everything is audible."""
    words = [("low",) if value < 0 else ("high",) for value in planted.audible[:, 0].tolist()]
    columns = {
        "level": NumericColumn(planted.audible.copy()),
        "word": LabelColumn(tuple(words), "categorical"),
    }
    table, progress = make_table(planted.ids.tolist(), columns, "the table"), RecordedLines()
    models = ["estimated-attributes", "fusion-estimated"]
    done = run_baselines(planted.folder, models, tmp_path, QUICK, tables={"": table}, progress=progress)
    assert not done.failed
    folder, fused = done.runs
    assert_near(distances(folder, planted, planted.by_audio))
    assert_near(distances(fused, planted, planted.by_audio))
    assert sum(line == "cnn-bn: training on attributes, encoded as 6 numbers" for line in progress.lines) == 1
    training = read_json(folder / "training.json")
    found = training["branches"]["cnn-bn"]["estimates"]
    assert found["r2"] > 0.9 and found["auc"] > 0.95 and (found["n_numbers"], found["n_labels"]) == (4, 2)
    assert (
        f"R² {found['r2']:.3f} over 4 numbers and AUC {found['auc']:.3f} over 2 labels"
        in training["notes"][0]
    )
    assert list(read_json(fused / "training.json")["branches"]) == [
        "cnn-bn",
        "estimated-attributes",
        "genre-label",
    ]
    assert not list(tmp_path.rglob("checkpoint"))


@pytest.mark.slow
def test_estimates_are_means_over_sequences_before_they_lead_to_factors(
    planted: Planted, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = train(planted, tmp_path, "estimated-attributes", half(N_TRACKS))
    notes = read_json(folder / "training.json")["notes"]
    assert "525 of 1050 train tracks have no attributes and did not train the estimator" in notes
    audio_model, head = load_model(folder / "model.keras").layers[-2:]
    predict = track_function(read_run(folder))
    frames = np.random.default_rng(0).lognormal(0, 3, (12, AUDIO.n_bins)).astype(np.float32)
    estimates = audio_model(frames.reshape(3, 4, -1), training=False).numpy()
    expected = head(estimates.mean(axis=0, keepdims=True), training=False).numpy()[0]
    # Float32 sums in another order.
    np.testing.assert_allclose(predict(frames), expected, rtol=1e-4, atol=1e-5)
    of_sequences = head(estimates, training=False).numpy().mean(axis=0)
    assert np.abs(of_sequences - expected).max() > 0.02 * np.abs(expected).max()
    data = Dataset(planted.folder)
    with np.load(folder / "predictions.npz") as stored:
        row = planted.ids.tolist().index(stored["track_ids"][5])
        known = stored["scaled_factors"][5]
    np.testing.assert_allclose(predict(data.read_track(row)), known, rtol=1e-3, atol=1e-4)
    capfd.readouterr()
    assert run("export", folder, tmp_path / "exported") == 1
    assert "cannot be exported: it averages over sequences between" in capfd.readouterr().err


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"branches": ["cnn-bn", "eat"]}, "There is no model 'eat'"),
    "itself": ({"branches": ["cnn-bn", "fusion-genres"]}, "neither fusions nor of artists"),
    "one": ({"branches": ["cnn-bn"]}, "at least two distinct models"),
    "other": ({"branch_settings": {"bot": {}}}, "must name one of cnn-bn, attributes. Received: 'bot'"),
    "setting": ({"branch_settings": {"cnn-bn": {"model": {"filter": 4}}}}, "Did you mean model.filters?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_branches_are_refused_before_anything_is_trained(name: str) -> None:
    changes, message = WRONG[name]
    with pytest.raises(ConfigError, match=message):
        resolve("fusion", {"models": {"fusion": {"model": changes}}})


def test_a_branch_needs_a_hidden_layer(planted: Planted, tmp_path: Path) -> None:
    changes = config.merge(
        QUICK, {"models": {"fusion": {"model": {"branches": ["attributes-linear", "genre-label"]}}}}
    )
    done = run_baselines(planted.folder, ["fusion"], tmp_path, changes, tables={"": planted.table()})
    assert done.failed["fusion"].startswith("attributes-linear cannot be a branch: it has no hidden layer")


def test_vectors_are_joined_by_track() -> None:
    """By hand: tracks 7, 3 and 5, of which the first branch knows 5 and 7, and the second 3 alone."""
    one = TrackVectors(np.array([[1, 2], [3, 4]], np.float32), np.array([5, 7]))
    two = TrackVectors(np.array([[9]], np.float32), np.array([3]))
    joined = join_vectors([one, two], np.array([7, 3, 5, 4]))
    assert joined.rows.tolist() == [7, 3, 5]
    assert joined.values.tolist() == [[3, 4, 0, 1, 0], [0, 0, 9, 0, 1], [1, 2, 0, 1, 0]]
    nobody = join_vectors([one, two], np.array([4]))
    assert nobody.values.shape == (0, 5)


@pytest.mark.slow
def test_with_branch_dropout_the_head_falls_back_to_the_branch_that_is_left() -> None:
    """Both branches measure the factors with equal noise; tracks to be trained on have both, new ones a single one.

    The best prediction from one branch is that branch times 1 / (1 + noise²), with the error noise² / (1 + noise²).
    """
    rng, noise = np.random.default_rng(0), 0.5
    factors = rng.standard_normal((4000, 4)).astype(np.float32)
    branches = [factors + noise * rng.standard_normal(factors.shape).astype(np.float32) for _ in range(2)]
    vectors = np.hstack([*branches, np.ones((len(factors), 2), np.float32)])
    without = np.copy(vectors[3000:])
    without[:, 4:8] = without[:, 9] = 0
    errors = {}
    for dropout in (0.0, 0.3):
        keras.utils.set_random_seed(0)
        own = {"dense": [64], "dropout": 0.0, "branch_dropout": dropout}
        head = fusion.build_head(resolve("fusion", {"models": {"fusion": {"model": own}}}), 4, [4, 4])
        fusion.adapt(head, vectors[:3000])
        head.compile(keras.optimizers.Adam(0.003), "mse")
        head.fit(vectors[:3000], factors[:3000], 64, 30, verbose=0)
        errors[dropout] = [
            float(np.mean(np.square(head.predict(x, verbose=0) - factors[3000:])))
            for x in (vectors[3000:], without)
        ]
    of_one, of_two = noise**2 / (1 + noise**2), noise**2 / (2 + noise**2)
    assert errors[0.3][1] < of_one + 0.02 and errors[0.3][0] < of_two + 0.03
    assert errors[0.0][1] > of_one + 0.05
