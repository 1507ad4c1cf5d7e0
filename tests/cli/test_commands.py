"""The commands, as a user runs them."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from cs_keras.cli import COMMANDS
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig
from cs_keras.models import REGISTRY, load_model
from cs_keras.training.predict import apply_to_tracks, predict_tracks
from tests.command_line import SMALL, run
from tests.conftest import TrainDemo

RATE = 22050


def write_tone(path: Path, seconds: float = 2.0, level: float = 0.5) -> None:
    times = np.arange(int(seconds * RATE)) / RATE
    soundfile.write(path, level * np.sin(2 * np.pi * 440 * times), RATE)


def imported_by(*arguments: str) -> set[str]:
    """Return the top-level modules that a command line imports in a fresh process."""
    code = (
        "import sys; from cs_keras.cli import group; "
        f"group.main({list(arguments)!r}, standalone_mode=False); "
        "print('MODULES', *{name.partition('.')[0] for name in sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(out.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_needs_no_heavy_import(command: str) -> None:
    heavy = {"tensorflow", "keras", "numpy", "pyarrow", "librosa", "rich"}
    assert not heavy & imported_by(*command.split(), "--help")


def test_report_needs_no_tensorflow(demo: Path, finished: Path) -> None:
    assert not {"tensorflow", "keras"} & imported_by("report", str(finished))


@pytest.fixture(scope="module")
def finished(demo: Path, train_demo: TrainDemo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    for model in ("bot", "cnn-bn", "lstm"):
        trained = train_demo(model)
        shutil.copytree(trained, runs / trained.name)
    assert run("run-baselines", demo, "--out", runs, *SMALL) == 0
    return runs


def table(runs: Path) -> list[dict[str, str]]:
    with open(runs / "report" / "tables.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_same_seed_gives_the_same_tables(demo: Path, finished: Path, tmp_path: Path) -> None:
    assert run("run-baselines", demo, "--out", tmp_path, *SMALL) == 0
    first, second = (
        [row for row in table(runs) if "seconds" not in row["column"]] for runs in (finished, tmp_path)
    )
    assert first == second
    assert {row["row"] for row in first} >= {"bot", "cnn-bn", "lstm", "chance", "random factors"}


def test_run_folder_holds_what_was_promised(finished: Path) -> None:
    for folder in finished.glob("????-*"):
        names = {path.name for path in folder.iterdir()}
        assert names == {
            "config.json",
            "environment.json",
            "metrics.jsonl",
            "model.keras",
            "signature.json",
            "training.json",
            "predictions.npz",
            "queries.npz",
            "evaluation.json",
            "tensorboard",
            "DONE",
        }


@pytest.mark.parametrize("key", ["bot", "cnn-bn", "lstm"])
def test_stored_model_gives_the_stored_predictions(key: str, demo: Path, finished: Path) -> None:
    (folder,) = finished.glob(f"????-??-??-{key}-*")
    with np.load(folder / "predictions.npz") as stored:
        ids, expected = stored["track_ids"].tolist(), stored["scaled_factors"]
    dataset = Dataset(demo)
    rows = np.array([dataset.tracks.ids.tolist().index(i) for i in ids])
    model = load_model(folder / "model.keras")
    if key == "bot":
        predicted = apply_to_tracks(model, dataset, rows)
    else:
        predicted = predict_tracks(model, dataset, rows, SequenceConfig(), batch_size=7)
    # float32 sums in another order: batches of 7 instead of 16
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-5)


def test_finished_runs_are_not_done_again(
    demo: Path, finished: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.glob("????-*/*")}
    assert run("run-baselines", demo, "--out", finished, *SMALL) == 0
    assert capfd.readouterr().err.count("done before") == 3
    assert {path: path.stat().st_mtime_ns for path in finished.glob("????-*/*")} == before


def test_one_failing_model_does_not_stop_the_others(
    demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    codebook = "--set=models.bot.model.n_centroids=1000000"
    status = run("run-baselines", demo, "--models", "bot,cnn-bn", "--out", tmp_path, *SMALL, codebook)
    assert status == 1
    message = capfd.readouterr().err
    assert "bot: failed: " in message and "fewer frames" in message and "1 of 2 models failed: bot" in message
    assert "cnn-bn" in {row["row"] for row in table(tmp_path)}


def test_settings_come_from_toml_and_the_command_line_wins(demo: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(
        'seed = 3\n[training]\nepochs = 7\n[models."cnn-bn".model]\nfilters = 2\ndense = [8]\n'
    )
    options = ["--models", "cnn-bn", "--epochs", 1, "--train-fraction", 0.1]
    assert run("run-baselines", demo, "--out", tmp_path / "runs", "--config", settings, *options) == 0
    (folder,) = (tmp_path / "runs").glob("????-*")
    config = json.loads((folder / "config.json").read_text())
    assert (config["seed"], config["training"]["epochs"], config["model"]["filters"]) == (3, 1, 2)
    n_train = pq.read_table(demo / "tracks.parquet")["fold"].to_numpy()
    training = json.loads((folder / "training.json").read_text())
    assert training["n_train_tracks"] == round(0.1 * np.isin(n_train, range(7)).sum())


def test_unusable_recordings_are_counted_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    for i in range(6):
        write_tone(audio / f"good-{i}.wav")
    write_tone(audio / "silent.wav", level=0)
    write_tone(audio / "short.wav", seconds=0.01)
    (audio / "garbage.mp3").write_bytes(b"not sound")
    (audio / "empty.ogg").touch()
    write_tone(audio / "cut.wav")
    os.truncate(audio / "cut.wav", 20_000)
    soundfile.write(audio / "nan.wav", np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    soundfile.write(audio / "slow.wav", np.full(8000, 0.5), 1000)

    assert run("ingest", audio, "--out", tmp_path / "out") == 0

    out, err = capfd.readouterr()
    assert "6 tracks, 6 of them new, 7 recordings left out" in out
    left_out = {
        entry["track_id"] for entry in json.loads((tmp_path / "out/dataset.json").read_text())["left_out"]
    }
    assert left_out == {"silent", "short", "garbage", "empty", "cut", "nan", "slow"}
    for name in left_out:
        assert f"left out {name}: " in err


def test_appending_moves_nothing(demo: Path, tmp_path: Path) -> None:
    with open(demo / "source" / "tracks.csv", encoding="utf-8") as file:
        header, *rows = file.read().splitlines()
    rows = [row.replace("audio/", f"{demo}/source/audio/") for row in rows]
    out = tmp_path / "out"
    for n in (40, 60):
        (tmp_path / "tracks.csv").write_text("\n".join([header, *rows[:n]]))
        old = {path: path.read_bytes() for path in out.glob("shards/*/*")}
        assert run("ingest", "--tracks", tmp_path / "tracks.csv", "--out", out, "--append") == 0
        assert all(path.read_bytes() == content for path, content in old.items())

    def folds(folder: Path) -> dict[str, int]:
        tracks = pq.read_table(folder / "tracks.parquet")
        return dict(zip(tracks["track_id"].to_pylist(), tracks["fold"].to_pylist(), strict=True))

    assert folds(out) == folds(demo)
    assert len(folds(out)) == 60


def test_minmax_warns(demo: Path, dataset: Path, capfd: pytest.CaptureFixture[str]) -> None:
    interactions = demo / "source" / "listening.csv"
    assert run("factors", interactions, dataset, "--n-factors", 8, "--scaling", "minmax", "--name", "mm") == 0
    assert "Warning" in capfd.readouterr().err


def test_ready_made_factors_are_taken(dataset: Path, tmp_path: Path) -> None:
    ids = pq.read_table(dataset / "tracks.parquet")["track_id"].to_pylist()
    rng = np.random.default_rng(0)
    given = {"ids": np.array([*ids[1:], "unheard"]), "item_factors": rng.standard_normal((60, 5))}
    np.savez(tmp_path / "given.npz", **given, playlist_factors=rng.standard_normal((9, 5)))
    assert run("factors", "--from-npz", tmp_path / "given.npz", dataset, "--name", "mine") == 0
    options = ["--factors", "mine", "--models", "cnn-bn", "--out", tmp_path / "runs"]
    assert run("run-baselines", dataset, *options, *SMALL) == 0
    assert {row["table"] for row in table(tmp_path / "runs")} >= {
        "Overlap by similarity",
        "Overlap by dot product",
    }


@pytest.mark.slow
def test_real_recordings_go_all_the_way(
    recordings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The README's own words, on music: ingest, factors, run-baselines, report."""
    files = sorted(path for path in recordings.iterdir() if path.suffix in (".ogg", ".mp3"))
    assert len(files) == 14
    artists = ["Supertropica" if path.stem.startswith("supertropica") else path.stem[:12] for path in files]
    with open(tmp_path / "tracks.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "track_id", "artist", "title"])
        for path, artist in zip(files, artists, strict=True):
            writer.writerow([os.path.relpath(path, tmp_path), path.stem[-20:], artist, path.stem])
    rng = np.random.default_rng(0)
    with open(tmp_path / "listening.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["playlist_id", "track_id"])
        for playlist in range(40):
            for path in rng.choice(files, size=5, replace=False):
                writer.writerow([playlist, path.stem[-20:]])

    out = tmp_path / "dataset"
    assert run("ingest", "--tracks", tmp_path / "tracks.csv", "--out", out) == 0
    message = capfd.readouterr()
    assert "13 tracks, 13 of them new, 1 recording left out" in message.out
    assert "odisea-carnavalera" in message.err and "is silent" in message.err
    folds = pq.read_table(out / "tracks.parquet")["fold"].to_numpy()
    for split in (range(7), [7], [8, 9]):
        assert np.isin(folds, split).any()

    assert run("factors", tmp_path / "listening.csv", out, "--n-factors", 8) == 0
    assert "Quality: explained preference" in capfd.readouterr().out
    assert run("run-baselines", out, "--out", tmp_path / "runs") == 0
    assert run("report", tmp_path / "runs", "--format", "md") == 0
    assert "Warning: models will be trained, but not evaluated by overlap: " in capfd.readouterr().err
    for row in table(tmp_path / "runs"):
        if row["table"].startswith("Overlap") and row["column"] in (
            "overlap@50",
            "overlap@100",
            "overlap@500",
        ):
            assert row["value"] == "", "lists longer than the candidates must not be available"


ROWS = {  # a key of every model file that the demo dataset can feed
    "bot",
    "mlr",
    "multiscale-laplacian",
    "cnn-bn",
    "cnn-time",
    "dieleman-3s",
    "lstm",
    "xception-random",
    "choi",
    "choi-features",
    "musicnn",
    "triplet",
    "genre-label-linear",
    "genre-space",
    "fusion-genres",
}
NOT_FED = {
    "raw",
    "attributes",
    "estimated_attributes",
    "artist_mean",
    "artist_residual",
    "artist_attention",
}  # waveforms, tables of attributes, artists of train tracks; all keys but some


@pytest.mark.slow
def test_every_kind_of_baseline_has_numbers(demo: Path, tmp_path: Path) -> None:
    assert {REGISTRY[key].module for key in ROWS} >= {entry.module for entry in REGISTRY.values()} - NOT_FED
    settings = {
        "sequence": "{frames = 64, skip_start_s = 0.0, skip_end_s = 0.0}",
        "training.batch_size": 8,
        "models.bot.model.n_centroids": 20,
        "models.mlr.model.n_centroids": 20,
        "models.mlr.model.n_components": 4,
        "models.multiscale-laplacian.model.n_centroids": 20,
        "models.triplet.model.filters": 4,
        "models.triplet.model.embedding_epochs": 1,
        "models.genre-space.model.min_tracks": 1,
        "evaluation.n_permutations": 9,
    }
    options = [f"--set={name}={value}" for name, value in settings.items()]
    small = ["--epochs", 1, "--train-fraction", 0.2]
    keys = ",".join(sorted(ROWS))
    assert run("run-baselines", demo, "--models", keys, "--out", tmp_path, *small, *options) == 0
    found = {}
    for path in tmp_path.glob("*/evaluation.json"):
        evaluation = json.loads(path.read_text())
        found[evaluation["model"]] = evaluation
    assert set(found) == ROWS
    for evaluation in found.values():
        numbers = [evaluation["losses"]["test"]["mse"], evaluation["overlap"]["similarity"][0]["overlap"]]
        assert np.isfinite(numbers).all(), evaluation["model"]
    table = (tmp_path / "report" / "tables.md").read_text()
    assert all(f"| {key} " in table for key in ROWS)
