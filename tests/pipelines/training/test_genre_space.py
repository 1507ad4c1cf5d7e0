"""Genre spaces learnt from audio that determines the genre: runs, evaluation on another collection, no leakage."""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.errors import ConfigError
from cs_keras.models import get_baseline, load_model
from cs_keras.runs import read_json
from pipelines.inference.trained_run import read_run, track_function
from pipelines.training.requirements import choose_attributes, choose_models, require_input
from pipelines.training.run_config import identity, resolve
from tests.command_line import run
from tests.pipelines.planted_genres import (
    FACTORS,
    GENRES,
    N_TRACKS,
    QUICK,
    genre_of,
    true_labels,
    write_interactions,
    write_sounds,
)
from tests.pipelines.training.test_attribute_files import tracks

SETTINGS = [
    *QUICK,
    "--set=models.genre-space.training.epochs=12",
    "--set=models.genre-space.training.patience=0",
]


def write_data(folder: Path, labels: list[list[str]]) -> Path:
    folder.mkdir()
    out = write_sounds(folder / "dataset", labels)
    assert run("factors", write_interactions(folder / "listening.csv"), out, *FACTORS) == 0
    return out


def train(data: Path, out: Path, *settings: str) -> Path:
    assert run("run-baselines", data, "--models", "genre-space", "--out", out, *SETTINGS, *settings) == 0
    (folder,) = out.glob("????-??-??-genre-space-??????????")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "planted", true_labels())


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(data, tmp_path_factory.mktemp("runs"))


def test_genres_of_the_audio_are_predicted(data: Path, trained: Path) -> None:
    with np.load(trained / "genres.npz") as genres:
        assert genres["genres"].tolist() == list(GENRES)
        probabilities, ids, is_test = genres["probabilities"], genres["track_ids"].tolist(), genres["is_test"]
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)  # float32 sums
    rows = [int(track_id[1:]) for track_id in ids]
    assert rows == [row for row in range(N_TRACKS) if row % 10 > 6]
    np.testing.assert_array_equal(is_test, [row % 10 > 7 for row in rows])
    assert np.mean(probabilities.argmax(axis=1) == [genre_of(row) for row in rows]) > 0.9
    classifier = read_json(trained / "training.json")["classifier"]
    assert classifier["genres"] == dict.fromkeys(GENRES, 21) and classifier["n_train_tracks"] == 63
    assert classifier["accuracy"] > 0.9 and len(classifier["history"]) == 12
    assert not list(trained.rglob("checkpoint"))


def test_lists_are_near_in_genre_space(trained: Path) -> None:
    beyond = read_json(trained / "evaluation.json")["beyond_accuracy"]["predictors"]
    assert beyond["model"]["shared_genre"] > 0.9 > 0.6 > beyond["random"]["shared_genre"]
    assert beyond["model"]["genre_entropy"] < beyond["random"]["genre_entropy"]
    assert beyond["model"]["diversity"] < beyond["random"]["diversity"]
    assert "shared_genre" not in beyond["popularity-oracle"]
    with np.load(trained / "genres.npz") as genres, np.load(trained / "predictions.npz") as predicted:
        np.testing.assert_array_equal(predicted["places"], genres["probabilities"])


def test_the_model_predicts_the_mean_over_sequences(data: Path, trained: Path) -> None:
    dataset, predict = Dataset(data), track_function(read_run(trained))
    with np.load(trained / "predictions.npz") as stored:
        ids, scaled = stored["track_ids"].tolist(), stored["scaled_factors"]
    model = load_model(trained / "model.keras")
    classifier, regressor = model.layers[-2:]
    row = int(np.flatnonzero(dataset.tracks.ids == ids[3])[0])
    frames = dataset.read_track(row).astype(np.float32)
    windows = np.stack([frames[start : start + 16] for start in (0, 16, len(frames) - 16)])
    place = classifier(windows, training=False).numpy().mean(axis=0, keepdims=True)
    # Ridge is linear, so the mean may be taken before it or after; float32 sums in another order.
    np.testing.assert_allclose(scaled[3], regressor(place).numpy()[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scaled[3], predict(frames), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_nothing_that_is_learnt_depends_on_genres_of_test_tracks(trained: Path, tmp_path: Path) -> None:
    labels = true_labels()
    for row in range(N_TRACKS):
        if row % 10 > 7:
            labels[row] = [["Treble", "Bass", "unheard"][row % 3]]
    spoilt = train(write_data(tmp_path / "spoilt", labels), tmp_path / "runs")
    names = [path / "model.keras" for path in (trained, spoilt)]
    for clean, other in zip(*(load_model(name).get_weights() for name in names), strict=True):
        np.testing.assert_array_equal(clean, other)
    histories = [read_json(path / "training.json")["classifier"]["history"] for path in (trained, spoilt)]
    losses = [[(epoch["loss"], epoch["val_loss"]) for epoch in history] for history in histories]
    assert losses[0] == losses[1]
    with np.load(trained / "genres.npz") as one, np.load(spoilt / "genres.npz") as two:
        np.testing.assert_array_equal(one["probabilities"], two["probabilities"])
        assert one["labels"].tolist() != two["labels"].tolist()


def test_genres_of_train_tracks_are_part_of_a_runs_identity() -> None:
    settings = resolve("genre-space", {})
    digests = []
    for genre in ("pop", "rock"):
        learnt = choose_attributes(settings, tracks(["folk"], [genre], sound=2), {})
        assert learnt is not None
        digests.append(identity(settings, learnt.digest))
    assert digests[0] != digests[1]


def test_it_needs_sound_and_genres() -> None:
    baseline = get_baseline("genre-space")
    require_input(baseline, tracks(["pop"], sound=1), {})
    with pytest.raises(ConfigError, match="^genre-space learns from genres, and no train track .* has any.$"):
        require_input(baseline, tracks([], sound=1), {})
    with pytest.raises(ConfigError, match="genre-space needs audio, and 1 of 1 tracks"):
        require_input(baseline, tracks(["pop"]), {})
    assert "genre-space" in choose_models("all", tracks(["pop"], sound=1))[0]
    assert "genre-space" in choose_models("all", tracks([], sound=1))[1]


@pytest.mark.slow
def test_genres_of_few_tracks_and_tracks_of_none_are_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labels = true_labels()
    labels[0], labels[1], labels[11] = [], ["polka"], ["polka", "Bass"]
    folder = train(write_data(tmp_path / "few", labels), tmp_path / "runs", "--epochs", "1")
    training = read_json(folder / "training.json")
    assert list(training["classifier"]["genres"]) == list(GENRES)
    assert training["classifier"]["n_train_tracks"] == 61
    note = "1 of 4 genres were left out, with fewer than 10 train tracks (min_tracks)"
    assert note in training["notes"]
    assert "2 of 63 train tracks have no genre and did not train the classifier" in training["notes"]
    capfd.readouterr()
    least = "--set=models.genre-space.model.min_tracks=22"
    command = [
        "run-baselines",
        tmp_path / "few" / "dataset",
        "--models",
        "genre-space",
        "--out",
        tmp_path / "none",
    ]
    assert run(*command, *SETTINGS, least) == 1
    assert "at least two genres with enough train tracks" in capfd.readouterr().err


def rows_of(path: Path, table: str) -> dict[tuple[str, str], float]:
    with open(path, encoding="utf-8", newline="") as file:
        return {
            (row["row"], row["column"]): float(row["value"])
            for row in csv.DictReader(file)
            if row["table"] == table and row["value"]
        }


def test_the_command_prints_the_predictions_of_the_run(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("genres", trained, "--track", "t008", "--track", "t019", "--out", tmp_path) == 0
    printed = capfd.readouterr().out
    assert "18 of 18 test tracks that the run was not trained on are evaluated" in " ".join(printed.split())
    assert "t008 (its genres: Treble)" in printed and "█" in printed
    with np.load(trained / "genres.npz") as genres:
        best, is_test = genres["probabilities"].argmax(axis=1), genres["is_test"]
        truth = np.array([genre_of(int(track_id[1:])) for track_id in genres["track_ids"]])
        shares = dict(zip(genres["track_ids"].tolist(), genres["probabilities"].tolist(), strict=True))
    accuracy = rows_of(tmp_path / "tables.csv", "Accuracy")
    assert accuracy["classifier", "accuracy"] == np.mean(best[is_test] == truth[is_test])
    assert accuracy["most frequent genre: Bass", "accuracy"] == np.mean(truth[is_test] == 0)
    confusion = rows_of(tmp_path / "tables.csv", "Confusion matrix")
    for row, name in enumerate(GENRES):
        for column, other in enumerate(GENRES):
            assert confusion[name, f"predicted_{other}"] == np.sum(
                (truth == row) & (best == column) & is_test
            )
    composition = rows_of(tmp_path / "tables.csv", "Genre probabilities")
    for track_id in ("t008", "t019"):
        assert [composition[track_id, f"share_{name}"] for name in GENRES] == shares[track_id]
    for name in ("confusion", "composition-1", "composition-2"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / f"{name}.svg").read_text(encoding="utf-8")


def test_another_collection_is_evaluated_by_its_own_labels(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labels = [[[name.upper() for name in GENRES][genre_of(row)]] for row in range(20)]
    labels[0], labels[1], labels[2] = [], ["Gabber"], ["Gabber", "bass"]
    other = write_sounds(tmp_path / "other", labels, prefix="x")
    assert run("genres", trained, other, "--track", "x003", "--out", tmp_path / "out") == 0
    printed = " ".join(capfd.readouterr().out.split())
    assert f"18 of all 20 tracks of {other} are evaluated" in printed
    assert "Not evaluated: 1 track without a genre." in printed
    assert "Not evaluated: 1 track without a genre of the classifier." in printed
    assert "Their genres, with numbers of tracks: Gabber (2)." in printed
    accuracy = rows_of(tmp_path / "out" / "tables.csv", "Accuracy")["classifier", "accuracy"]
    assert accuracy > 0.85  # the same sounds; track 2 is labelled wrongly
    table = tmp_path / "names.csv"
    table.write_text(f"from,to\ngabber,{GENRES[genre_of(1)]}\n")
    mixed = ("--mix", "75% bass, 25% treble", "-k", "3")
    assert run("genres", trained, other, "--map", table, *mixed, "--out", tmp_path / "mapped") == 0
    printed = " ".join(capfd.readouterr().out.split())
    assert f"19 of all 20 tracks of {other} are evaluated" in printed and "Gabber (" not in printed
    found = rows_of(tmp_path / "mapped" / "tables.csv", "Tracks nearest to 75% bass, 25% treble")
    distances = [value for (_, column), value in found.items() if column == "distance"]
    assert len(distances) == 3 and distances == sorted(distances)
    shares = {key: value for key, value in found.items() if key[1] != "distance"}
    nearest = next(track for track, _ in found)
    own = np.array([shares[nearest, f"share_{name}"] for name in GENRES])
    wanted = np.array([0.75 * (name == "Bass") + 0.25 * (name == "Treble") for name in GENRES])
    assert distances[0] == pytest.approx(np.linalg.norm(own - wanted), abs=1e-6)
    table.write_text("from,to\ngabber,polka\n")
    assert run("genres", trained, other, "--map", table) == 1
    assert "must be mapped to some of Bass, Middle, Treble. Received: 'polka'" in capfd.readouterr().err
    table.write_text("from,to\ngabber,\n")
    assert run("genres", trained, other, "--map", table) == 1
    assert (
        "no rows for genres that it does not have. Received: an empty cell for 'gabber'."
        in capfd.readouterr().err
    )


def test_train_tracks_are_not_evaluated(
    data: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, source in (("alone", []), ("given", [data])):
        assert run("genres", trained, *source, "--out", tmp_path / name) == 0
    tables = [(tmp_path / name / "tables.csv").read_text() for name in ("alone", "given")]
    assert tables[0] == tables[1]
    assert "18 of 18 test tracks" in " ".join(capfd.readouterr().out.split())


def test_invalid_arguments_are_reported(
    data: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("genres", tmp_path) == 1
    assert "is not a finished run" in capfd.readouterr().err
    assert run("genres", trained, "--track", "t000") == 1
    assert "There is no track 't000'" in capfd.readouterr().err
    (tmp_path / "DONE").touch()
    assert run("genres", tmp_path) == 1
    assert "expected a run of genre-space" in capfd.readouterr().err
    jazz = write_sounds(tmp_path / "jazz", [["jazz"]] * 3, prefix="x")
    assert run("genres", trained, jazz) == 1
    assert "expected some of Bass, Middle, Treble. Received: jazz" in capfd.readouterr().err


def test_the_space_can_be_taken_as_features(data: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.npz"
    assert run("features", trained, data, "--split", "test", "--out", out) == 0
    with np.load(out) as features, np.load(trained / "genres.npz") as genres:
        assert str(features["layer"]) == "genre-space_classifier/genres"
        expected = genres["probabilities"][genres["is_test"]]
        np.testing.assert_allclose(features["features"], expected, atol=1e-6)  # float32, other batches
    keras.backend.clear_session()
    assert json.loads((trained / "config.json").read_text())["procedure"] == "genre_space"
