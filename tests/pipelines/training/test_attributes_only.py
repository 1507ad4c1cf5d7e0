"""From files to the full report with no audio at all, through the commands as a user types them."""

import csv
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.errors import ConfigError, DataError
from cs_keras.models.declaration import ATTRIBUTES, GENRES
from cs_keras.runs import read_json
from pipelines.factors.open import open_factors
from pipelines.inference.predict_items import TableFiles, open_encoding, predict_items
from pipelines.inference.trained_run import read_run, track_function
from pipelines.training.attribute_files import read_attributes
from tests.command_line import run
from tests.pipelines.planted_items import Planted, write_items

FACTORS = ["--n-factors", 16, "--alpha", 5, "--regularization", 1]  # which the planted interactions bears
QUICK = [
    "--set=evaluation.n_permutations=99",
    "--set=models.attributes.training.epochs=10",
]
MODELS = ["attributes", "attributes-linear", "genre-label", "genre-label-linear"]
CPU_LIMIT_S = 150  # of two cores: well under three minutes where nothing else runs


def command(*arguments: object) -> str:
    """Run the command line in a process of its own and return what it printed."""
    line = [sys.executable, "-c", "from cs_keras.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
    return done.stdout


def cpu_seconds() -> float:
    """Return how long processors have worked for processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def finished(runs: Path, model: str) -> Path:
    (folder,) = runs.glob(f"????-??-??-{model}-??????????")
    assert (folder / "DONE").exists()
    return folder


def overlap(runs: Path, model: str) -> dict[str, float]:
    """Return a model's overlap by similarity at k = 10 with its interval, and chance, all as shares."""
    found: dict[str, float] = read_json(finished(runs, model) / "evaluation.json")["overlap"]["similarity"][0]
    assert found["k"] == 10
    return found


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return write_items(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Planted, Path]:
    """400 items and their dataset."""
    planted = write_items(tmp_path_factory.mktemp("few"), n_items=400, n_plays=12_000)
    out = planted.items.parent / "dataset"
    assert run("ingest", "--no-audio", "--tracks", planted.items, "--out", out) == 0
    assert run("factors", planted.interactions, out, *FACTORS, "--no-ceiling") == 0
    return planted, out


@pytest.fixture(scope="module")
def began() -> float:
    return cpu_seconds()


@pytest.fixture(scope="module")
def dataset(planted: Planted, began: float) -> Path:
    out = planted.items.parent / "dataset"
    assert "1,500 items without audio" in command(
        "ingest", "--no-audio", "--tracks", planted.items, "--out", out
    )
    assert "Ceiling: another seed agrees" in command("factors", planted.interactions, out, *FACTORS)
    return out


@pytest.fixture(scope="module")
def runs(planted: Planted, dataset: Path) -> Path:
    """All that can run, as they are."""
    out = planted.items.parent / "runs"
    command("run-baselines", dataset, "--features", planted.table, "--out", out)
    command("report", out)
    return out


@pytest.fixture(scope="module")
def runs_of_arrays(planted: Planted, dataset: Path) -> Path:
    out = planted.items.parent / "runs-of-arrays"
    models = ["--models", ",".join(MODELS[:2])]
    assert run("run-baselines", dataset, "--features", planted.features, *models, "--out", out, *QUICK) == 0
    return out


@pytest.mark.slow
def test_items_come_to_the_full_report_in_time(runs: Path, began: float) -> None:
    spent = cpu_seconds() - began
    with open(runs / "report" / "tables.csv", encoding="utf-8") as file:
        rows = {(row["table"], row["row"]) for row in csv.DictReader(file)}
    for table in (
        "Overlap by similarity",
        "Overlap by dot product",
        "Gap ladder by similarity, artist-filtered",
    ):
        for row in (*MODELS, "chance", "refit ceiling"):
            assert (table, row) in rows
    assert any(table == "Ranking metrics on held-out interactions" for table, _ in rows)
    assert 0 < spent < CPU_LIMIT_S


@pytest.mark.slow
def test_attributes_are_clearly_above_chance_and_genres_that_say_nothing_are_not(runs: Path) -> None:
    sceptic, linear = overlap(runs, "genre-label"), overlap(runs, "attributes-linear")
    for found in (overlap(runs, "attributes"), linear):
        assert found["low"] > 4 * found["chance"] and found["p_value"] <= 0.001
        assert found["low"] > 3 * sceptic["high"]
    assert sceptic["low"] < 1.3 * sceptic["chance"]


@pytest.mark.slow
def test_attributes_explain_what_was_planted(planted: Planted, dataset: Path, runs_of_arrays: Path) -> None:
    """A ridge regression by scikit-learn from the planted numbers finds as much of the factors."""
    from sklearn.linear_model import Ridge

    data = Dataset(dataset)
    factors = open_factors(dataset, data.tracks)
    train = data.tracks.in_split("train") & factors.has_factors
    scaled = factors.scaler.transform(factors.item_factors)
    x = (planted.known - planted.known[train].mean(axis=0)) / planted.known[train].std(axis=0)
    ridge = Ridge(100.0).fit(x[train], scaled[train])
    with np.load(finished(runs_of_arrays, "attributes-linear") / "predictions.npz") as stored:
        rows = [data.tracks.ids.tolist().index(track_id) for track_id in stored["track_ids"].tolist()]
        # Features are stored in float32, and so are the weights.
        np.testing.assert_allclose(stored["scaled_factors"], ridge.predict(x[rows]), atol=1e-4)
    test = data.tracks.in_split("test") & factors.has_factors
    errors = read_json(finished(runs_of_arrays, "attributes-linear") / "evaluation.json")["losses"]["test"]
    assert errors["mse"] == pytest.approx(np.square(ridge.predict(x[test]) - scaled[test]).mean(), rel=1e-4)
    assert errors["r2"] > 0.2


@pytest.mark.slow
def test_a_run_depends_on_the_attributes_where_its_model_does(
    planted: Planted, dataset: Path, runs: Path, tmp_path: Path
) -> None:
    text = planted.table.read_text(encoding="utf-8")
    unknown = tmp_path / "unknown.csv"
    unknown.write_text(text + "nowhere,,1,1,1,1,1,1,C,calm\n", encoding="utf-8")
    assert read_attributes(unknown).ids[-1] == "nowhere"
    changed = tmp_path / "changed.csv"
    changed.write_text(text.replace(",C,", ",D,", 1), encoding="utf-8")
    copies = Path(shutil.copytree(runs, tmp_path / "runs"))
    solved = ["--models", "attributes-linear,genre-label-linear", "--out", copies]
    before = {path.name for path in copies.glob("????-*")}
    assert run("run-baselines", dataset, "--features", unknown, *solved) == 0
    assert {path.name for path in copies.glob("????-*")} == before  # nothing about the dataset's items is new
    assert run("run-baselines", dataset, "--features", changed, *solved) == 0
    (new,) = {path.name for path in copies.glob("????-*")} - before
    assert "-attributes-linear-" in new
    old, other = (
        read_json(path / "config.json") for path in (finished(runs, "attributes-linear"), copies / new)
    )
    assert (
        old.pop("attributes") != other.pop("attributes") and old == other
    )  # of one dataset, so in one table


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_new_items_are_encoded_as_those_of_training(
    suffix: str, planted: Planted, dataset: Path, runs: Path, tmp_path: Path
) -> None:
    out, folder = tmp_path / f"out{suffix}", finished(runs, "attributes")
    with open(planted.table, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    order = np.random.default_rng(1).permutation(len(rows))[:300]
    names = ["moods", "key", *(f"number_{n}" for n in reversed(range(6)))]  # in another order, among others
    table = tmp_path / "new.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "more", *names])
        writer.writerows([rows[i]["track_id"], "x", *(rows[i][name] for name in names)] for i in order)
        writer.writerow(["empty", "x", *[""] * len(names)])
    trained = read_run(folder)
    done = predict_items(trained, TableFiles({"": table}, "id"), out)
    assert (done.n_tracks, done.n_factors, list(done.left_out)) == (300, 16, ["empty"])
    if suffix == ".npz":
        with np.load(out) as stored:
            found = dict(zip(stored["track_ids"].tolist(), stored["factors"], strict=True))
    else:
        read = pq.read_table(out)
        found = dict(zip(read["track_id"].to_pylist(), read["factors"].to_pylist(), strict=True))
    assert list(found) == [rows[i]["track_id"] for i in order]
    with np.load(folder / "predictions.npz") as stored:
        known = dict(zip(stored["track_ids"].tolist(), stored["factors"], strict=True))
    common = sorted(found.keys() & known.keys())
    assert len(common) > 50
    # Float32 sums in another order, since batches are others.
    np.testing.assert_allclose([found[i] for i in common], [known[i] for i in common], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_what_a_model_of_attributes_takes_is_reported(
    planted: Planted, dataset: Path, runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trained, out = read_run(finished(runs, "attributes")), tmp_path / "out.npz"
    assert trained.procedure is ATTRIBUTES
    assert read_run(finished(runs, "genre-label")).procedure is GENRES
    with pytest.raises(ConfigError, match="takes attributes, not audio: expected a table"):
        track_function(trained)
    with pytest.raises(DataError, match="has no attribute 'number_0' that the model was trained on"):
        predict_items(trained, TableFiles({"": planted.items}), out)
    with pytest.raises(DataError, match="has no attribute 'number_0'"):
        predict_items(trained, TableFiles({"": planted.features}), out)
    genres = predict_items(read_run(finished(runs, "genre-label")), TableFiles({"": planted.items}), out)
    assert genres.n_tracks == 1500
    out.unlink()
    wrong = {dataset: "dataset", tmp_path / "a.wav": "a.wav", tmp_path: str(tmp_path)}
    for source, received in wrong.items():
        assert run("predict", trained.folder, source, "--out", out) == 1
        error = capfd.readouterr().err
        assert "expected a table or npz of these" in error and f"{received}.\n" in error
    assert run("predict", trained.folder, planted.table, planted.table, "--out", out) == 1
    assert "Received: 2 files." in capfd.readouterr().err
    assert run("predict", trained.folder, planted.table, "--out", out, "--runner", "DirectRunner") == 1
    assert "--runner is for a model that takes audio" in capfd.readouterr().err
    assert not out.exists()
    assert run("predict", trained.folder, planted.table, "--out", out) == 0
    assert "factors of 1,500 tracks in 16 dimensions, 0 left out" in capfd.readouterr().out
    damaged = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    (damaged / "attributes.json").write_text("{}")
    with pytest.raises(DataError, match="attributes.json has schema version None"):
        open_encoding(damaged)


@pytest.mark.slow
def test_the_encoding_is_fitted_to_train_tracks_alone(
    planted: Planted, dataset: Path, runs_of_arrays: Path
) -> None:
    data = Dataset(dataset)
    train = data.tracks.in_split("train") & open_factors(dataset, data.tracks).has_factors
    (column,) = read_json(finished(runs_of_arrays, "attributes") / "attributes.json")["columns"]
    single = planted.known.astype(np.float32).astype(float)
    np.testing.assert_allclose(column["mean"], single[train].mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(column["scale"], single[train].std(axis=0), rtol=1e-9)


@pytest.mark.slow
def test_tracks_without_attributes_are_left_out_and_get_the_mean(
    few: tuple[Planted, Path], tmp_path: Path
) -> None:
    planted, dataset = few
    tracks = Dataset(dataset).tracks
    with np.load(planted.features) as arrays:
        ids, features = arrays["track_ids"], arrays["features"]
    has = np.arange(len(ids)) % 3 > 0
    np.savez(tmp_path / "some.npz", ids=ids[has], features=features[has])
    models = ["--models", "attributes,attributes-linear", "--out", tmp_path / "runs", *QUICK]
    assert run("run-baselines", dataset, "--features", tmp_path / "some.npz", *models) == 0
    has_factors = open_factors(dataset, tracks).has_factors
    is_train = tracks.in_split("train")
    n_train, n_unseen = int((is_train & has_factors).sum()), int((~is_train).sum())
    n_known = int((is_train & has_factors & has).sum())
    n_unknown = int((~is_train & ~has).sum())
    for model in MODELS[:2]:
        folder = finished(tmp_path / "runs", model)
        training = read_json(folder / "training.json")
        assert training["n_train_tracks"] == n_known
        notes = "\n".join(training["notes"])
        assert f"{n_train - n_known} of {n_train} train tracks have no attributes and were not used" in notes
        assert (
            f"{n_unknown} of {n_unseen} validation and test tracks have no attributes: the mean is" in notes
        )
        with np.load(folder / "predictions.npz") as stored:
            predicted = dict(zip(stored["track_ids"].tolist(), stored["scaled_factors"], strict=True))
        is_known = dict(zip(ids.tolist(), has.tolist(), strict=True))
        assert all(values.any() == is_known[track_id] for track_id, values in predicted.items())


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_numbers(few: tuple[Planted, Path], tmp_path: Path) -> None:
    planted, dataset = few
    line = ["run-baselines", dataset, "--features", planted.features, "--models", "attributes", *QUICK]
    assert run(*line, "--out", tmp_path / "whole") == 0
    code = (
        "import os, pipelines.training.procedures.job as job\n"
        "def die(number, epoch):\n    if number == 4: os._exit(9)\n"
        "made = job.TrainingJob.__init__\n"
        "def init(self, *a, **k):\n    made(self, *a, **k); object.__setattr__(self, 'watch', die)\n"
        "job.TrainingJob.__init__ = init\nfrom cs_keras.cli import main; main()"
    )
    arguments = [sys.executable, "-c", code, *map(str, line), "--out", str(tmp_path / "killed")]
    killed = subprocess.run(arguments, cwd=Path(__file__).parents[3], capture_output=True, env={**os.environ})
    assert killed.returncode == 9
    assert run(*line, "--out", tmp_path / "killed") == 0
    whole, resumed = (
        finished(tmp_path / name, "attributes") / "predictions.npz" for name in ("whole", "killed")
    )
    assert whole.read_bytes() == resumed.read_bytes()


@pytest.mark.slow
def test_items_may_be_artists(few: tuple[Planted, Path], tmp_path: Path) -> None:
    planted, _ = few
    lines = planted.items.read_text(encoding="utf-8").splitlines()
    artists = tmp_path / "artists.csv"
    artists.write_text("\n".join(["track_id", *(line.split(",")[0] for line in lines[1:])]), encoding="utf-8")
    out, runs = tmp_path / "dataset", tmp_path / "runs"
    assert run("ingest", "--no-audio", "--tracks", artists, "--folds", "track", "--out", out) == 0
    assert run("factors", planted.interactions, out, *FACTORS, "--no-ceiling") == 0
    assert run("run-baselines", out, "--features", planted.table, "--out", runs, *QUICK) == 0
    assert {path.name[11:-11] for path in runs.glob("????-*")} == set(MODELS[:2])  # there are no genres
    assert overlap(runs, "attributes-linear")["low"] > overlap(runs, "attributes-linear")["chance"]


def test_audio_models_are_rejected(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    planted = write_items(tmp_path, n_items=60, n_plays=2400)
    out = tmp_path / "dataset"
    assert run("ingest", "--no-audio", "--tracks", planted.items, "--out", out) == 0
    assert run("factors", planted.interactions, out, "--n-factors", 4, "--no-ceiling") == 0
    capfd.readouterr()
    assert run("run-baselines", out, "--models", "genre-label,cnn-bn", "--out", tmp_path / "runs") == 1
    error = capfd.readouterr().err
    assert (
        "cnn-bn needs audio, and 60 of 60 tracks of the dataset have no audio; models without audio: "
        in error
    )
    named = error.partition("models without audio: ")[2].rstrip(".\n").split(", ")
    assert set(MODELS) < set(named) and "cnn-bn" not in named
    assert run("run-baselines", out, "--models", "attributes", "--out", tmp_path / "runs") == 1
    assert "attributes needs a table of attributes: name one by --features." in capfd.readouterr().err
    assert run("run-baselines", out, "--attribute", "x=labels", "--out", tmp_path / "runs") == 1
    assert "--attribute describe the table of --features, which is missing" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()
