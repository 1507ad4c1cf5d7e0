"""Whole trainings in settings that are not the default, and what is left when one fails."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.sparse
from sklearn.metrics.pairwise import cosine_similarity

from cs_keras.data.dataset import Dataset
from cs_keras.factors.interactions import load_interactions, save_interactions
from cs_keras.models import load_model
from pipelines.factors.open import open_factors
from pipelines.inference.trained_run import read_run, track_function
from tests.command_line import SMALL, run


def train(folder: Path, runs: Path, model: str, *settings: str) -> int:
    chosen = [f"--set=models.{model}.{setting}" for setting in settings]
    return run("run-baselines", folder, "--models", model, "--out", runs, *SMALL, *chosen)


def finished(runs: Path, model: str) -> Path:
    (folder,) = runs.glob(f"????-??-??-{model}-*")
    assert (folder / "DONE").exists()
    return folder


def history(runs: Path, model: str) -> list[dict[str, float]]:
    epochs: list[dict[str, float]] = json.loads((finished(runs, model) / "training.json").read_text())[
        "history"
    ]
    return epochs


@pytest.mark.slow
@pytest.mark.parametrize("mining", ["semi_hard", "batch_hard"])
def test_triplets_are_mined_in_batches_larger_than_memory(mining: str, demo: Path, tmp_path: Path) -> None:
    settings = [f"model.mining={mining}", "model.embedding_batch_size=24", "model.micro_batch=10"]
    assert train(demo, tmp_path, "triplet", *settings, "training.l2=0.001") == 0
    folder = finished(tmp_path, "triplet")
    embedding = json.loads((folder / "training.json").read_text())["embedding"]
    lines = [json.loads(line) for line in (folder / "embedding" / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"epoch": n, **epoch} for n, epoch in enumerate(embedding["history"], 1)]
    assert embedding["margin"] == 0.4 and len(lines) == 2
    for epoch in lines:
        assert 0 < epoch["active_share"] <= 1 and 0 < epoch["val_embedding_spread"] < 1
        assert 0 < epoch["loss"] < 4


@pytest.mark.slow
def test_a_track_is_the_mean_of_the_whole_model_over_its_sequences(demo: Path, tmp_path: Path) -> None:
    assert train(demo, tmp_path, "triplet") == 0
    folder = finished(tmp_path, "triplet")
    data, model = Dataset(demo), load_model(folder / "model.keras")
    with np.load(folder / "predictions.npz") as stored:
        ids, scaled = stored["track_ids"].tolist(), stored["scaled_factors"]
    row = int(np.flatnonzero(data.tracks.ids == ids[3])[0])
    frames = data.read_track(row).astype(np.float32)
    starts = [*range(0, len(frames) - 256, 256), len(frames) - 256]
    expected = model(np.stack([frames[start : start + 256] for start in starts]), training=False).numpy()
    # Sums of float32 in another order, of outputs of size 0.1 and less.
    np.testing.assert_allclose(scaled[3], expected.mean(axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cnn-bn", "triplet"])
def test_mixed_precision_goes_with_averages_schedules_and_augmentation(
    model: str, demo: Path, tmp_path: Path
) -> None:
    settings = [
        'execution.dtype_policy="mixed_float16"',
        "training.ema=0.9",
        'training.schedule="cosine"',
        "training.warmup=0.2",
        "training.l2=0.0001",
        "augment.gain_db=6.0",
        "augment.n_time_masks=1",
        "augment.n_mel_masks=1",
    ]
    assert train(demo, tmp_path, model, *settings) == 0
    assert np.isfinite([epoch["val_loss"] for epoch in history(tmp_path, model)]).all()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cnn-bn", "bot", "triplet"])
def test_the_weighted_prediction_error_falls_below_that_of_zero(
    model: str, demo: Path, tmp_path: Path
) -> None:
    settings = ["training.loss=wpe", "training.epochs=8", "training.learning_rate=0.003"]
    assert train(demo, tmp_path, model, *settings) == 0
    losses = [epoch["loss"] for epoch in history(tmp_path, model)]
    assert losses[-1] < losses[0] and losses[-1] < 1


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["infonce", "infonce_histories", "bpr", "sampled_softmax", "drlim"])
def test_losses_that_compare_tracks_fall(loss: str, demo: Path, tmp_path: Path) -> None:
    settings = [f"training.loss={loss}", "training.learning_rate=0.003", "training.n_neighbours=2"]
    correction = ["training.popularity_correction=1.0"] if loss in ("infonce", "sampled_softmax") else []
    assert train(demo, tmp_path, "bot", *settings, *correction) == 0
    losses = [epoch["loss"] for epoch in history(tmp_path, "bot")]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "setting",
    [
        "training.loss=wpe",
        "training.loss=infonce_histories",
        "training.loss=bpr",
        "training.loss=sampled_softmax",
    ],
)
def test_losses_of_interactions_need_them(
    setting: str, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (dataset / "interactions.npz").unlink()
    assert train(dataset, tmp_path / "runs", "bot", setting) == 1
    needed = f"{setting.replace('=', ' = ')} needs the interactions that factors were fitted on"
    assert needed in capfd.readouterr().err


@pytest.mark.slow
def test_dislikes_are_negatives_if_there_are_any(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = ["training.loss=bpr", "training.learning_rate=0.003", "training.negatives=disliked"]
    assert train(dataset, tmp_path / "runs", "bot", *settings) == 1
    assert "needs dislikes of train tracks" in " ".join(capfd.readouterr().err.split())
    interactions = load_interactions(dataset / "interactions.npz")
    is_disliked = np.random.default_rng(0).random(interactions.user_items.shape) < 0.3
    is_disliked &= interactions.user_items.toarray() == 0
    dislikes = scipy.sparse.csr_matrix(is_disliked, dtype=np.float32)
    save_interactions(dataset / "interactions.npz", dataclasses.replace(interactions, dislikes=dislikes))
    assert train(dataset, tmp_path / "runs", "bot", *settings) == 0
    losses = [epoch["loss"] for epoch in history(tmp_path / "runs", "bot")]
    assert 0 < losses[-1] < losses[0]


def test_the_weighted_prediction_error_and_xla_exclude_each_other(
    demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(demo, tmp_path, "bot", "training.loss=wpe", "execution.jit=true") == 1
    assert "train without --jit" in capfd.readouterr().err


@pytest.mark.slow
def test_a_failure_says_why_and_the_other_model_is_trained(
    demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "tagger.h5"
    weights.write_bytes(b"no weights")
    choi = f"--set=models.choi-features.model.weights={weights}"
    models = ["--models", "choi-features,bot"]
    assert run("run-baselines", demo, *models, "--out", tmp_path / "runs", *SMALL, choi) == 1
    (failed,) = (tmp_path / "runs").glob("*-choi-features-*.partial")
    failure = json.loads((failed / "failure.json").read_text())
    assert list(failure) == ["model", "reason", "is_left_out"] and failure["model"] == "choi-features"
    assert f"choi-features: failed: {failure['reason']}" in capfd.readouterr().err
    assert not (finished(tmp_path / "runs", "bot") / "failure.json").exists()


@pytest.mark.slow
def test_a_failure_is_forgotten_by_success(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ValueError("not foreseen\nand long")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.run_baselines.evaluate", fail)
        assert train(demo, tmp_path, "bot") == 1
    (failed,) = tmp_path.glob("*-bot-*.partial")
    reason = json.loads((failed / "failure.json").read_text())["reason"]
    assert reason == f"ValueError: not foreseen (details: {failed / 'error.log'})"
    assert "and long" in (failed / "error.log").read_text()
    assert train(demo, tmp_path, "bot") == 0
    assert not (finished(tmp_path, "bot") / "failure.json").exists()


SOLVED = [
    ("bot", "ridge", ["model.scaling=tfidf", "model.penalty=1000.0"]),
    ("bot", "svm", ["model.scaling=log", "model.assignment=soft"]),
    ("choi-features", "ridge", []),
    ("choi-features", "svm", ["model.max_examples=20"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "regressor", "settings"), SOLVED)
def test_a_solved_regressor_leaves_a_run_like_any_other(
    model: str, regressor: str, settings: list[str], demo: Path, tmp_path: Path
) -> None:
    assert train(demo, tmp_path, model, f"model.regressor={regressor}", *settings) == 0
    folder = finished(tmp_path, model)
    (epoch,) = history(tmp_path, model)
    assert list(epoch) == ["loss", "val_loss", "seconds", "sequences_per_s", "mb_per_s", "input_wait_share"]
    (line,) = (folder / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line) == {"epoch": 1, **epoch}
    notes = json.loads((folder / "training.json").read_text())["notes"]
    sampled = [note for note in notes if note.startswith("its regressor uses 20 of ")]
    assert len(sampled) == ("model.max_examples=20" in settings)
    with np.load(folder / "predictions.npz") as stored:
        ids, scaled = stored["track_ids"].tolist(), stored["scaled_factors"]
    assert scaled.std(axis=0).max() > 0
    data, predict = Dataset(demo), track_function(read_run(folder))
    row = int(np.flatnonzero(data.tracks.ids == ids[3])[0])
    # Float32 sums in another order, of at most 50 kernels or centroids.
    np.testing.assert_allclose(scaled[3], predict(data.read_track(row)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_ways_to_count_tones_share_their_codebook(demo: Path, tmp_path: Path) -> None:
    made = {}
    for settings in (
        ["assignment=hard"],
        ["assignment=hard", "scaling=log", "regressor=ridge"],
        ["assignment=soft"],
    ):
        assert train(demo, tmp_path, "bot", *(f"model.{setting}" for setting in settings)) == 0
        (folder,) = (tmp_path / ".shared").glob("*/")
        for path in folder.glob("*.npz"):
            assert made.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert sorted(made) == ["codebook.npz", "histograms-soft-5-5.0.npz", "histograms.npz"]


def test_mel_bands_are_standardised_by_train_tracks(demo: Path, tmp_path: Path) -> None:
    assert train(demo, tmp_path, "cnn-bn", "front_end.normalize=true", "model.filters=4") == 0
    folder = finished(tmp_path, "cnn-bn")
    data, model = Dataset(demo), load_model(folder / "model.keras")
    front_end = keras.Model(model.input, model.get_layer("normalize_bands").output)
    outputs = []
    for row in np.flatnonzero(data.tracks.in_split("train")):
        frames = data.read_track(int(row)).astype(np.float32)
        outputs.append(front_end(frames[: len(frames) // 256 * 256].reshape(-1, 256, frames.shape[1])))
    levels = np.concatenate(outputs)
    # It was fitted on random crops of the same tracks.
    assert abs(levels.mean(axis=(0, 1))).max() < 0.1
    assert abs(levels.std(axis=(0, 1)) - 1).max() < 0.1
    with np.load(folder / "predictions.npz") as stored:
        ids, scaled = stored["track_ids"].tolist(), stored["scaled_factors"]
    row = int(np.flatnonzero(data.tracks.ids == ids[0])[0])
    frames = data.read_track(row).astype(np.float32)
    starts = [*range(0, len(frames) - 256, 256), len(frames) - 256]
    predicted = model(np.stack([frames[start : start + 256] for start in starts]), training=False).numpy()
    np.testing.assert_allclose(scaled[0], predicted.mean(axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "monitor"),
    [("cnn-bn", "val_overlap@2"), ("triplet", "val_cosine"), ("genre-label", "val_cosine")],
)
def test_the_monitored_metric_is_that_of_the_predictions(
    model: str, monitor: str, demo: Path, tmp_path: Path
) -> None:
    assert train(demo, tmp_path, model, f"training.monitor={monitor}", "training.epochs=3") == 0
    folder = finished(tmp_path, model)
    record = json.loads((folder / "training.json").read_text())
    values = [epoch[monitor] for epoch in record["history"]]
    assert record["monitor"] == monitor and record["best_epoch"] == 1 + int(np.argmax(values))
    data = Dataset(demo)
    factors = open_factors(demo, data.tracks, None)
    rows = np.flatnonzero(data.tracks.in_split("validation") & factors.has_factors)
    with np.load(folder / "predictions.npz") as stored:
        row = {track: n for n, track in enumerate(stored["track_ids"].tolist())}
        predicted = stored["factors"][[row[track] for track in data.tracks.ids[rows].tolist()]]
    cosine = cosine_similarity(factors.item_factors[rows], predicted)
    if monitor == "val_cosine":
        assert max(values) == pytest.approx(np.diag(cosine).mean(), abs=1e-5)
        return
    artists = np.array(data.tracks.strings("artist"))[rows]
    shares = []
    for query, artist in enumerate(artists):
        others = np.flatnonzero(artists != artist)
        reference = cosine_similarity(factors.item_factors[rows[[query]]], factors.item_factors[rows[others]])
        estimate = cosine_similarity(predicted[[query]], predicted[others])
        best = [set(np.argsort(-one[0])[:2]) for one in (reference, estimate)]
        shares.append(len(best[0] & best[1]) / 2)
    assert max(values) == pytest.approx(np.mean(shares))
