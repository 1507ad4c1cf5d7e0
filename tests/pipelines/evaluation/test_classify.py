"""Features and tables of labels to numbers on the terminal and in a file."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from cs_keras.data.dataset import Dataset
from cs_keras.evaluation.labels.one_vs_rest import TaggedTracks, score_tags
from cs_keras.evaluation.labels.retrieval import measure_retrieval
from pipelines.inference.track_vectors import write_vectors
from tests.command_line import run

N = 60
LABELS = ("=jazz", "[bold]rock", "hip\nhop")


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Features that separate three labels, of tracks 0, 1, 2, 0, …"""
    rng = np.random.default_rng(0)
    matrix = (2 * np.eye(3, 8)[np.arange(N) % 3] + rng.standard_normal((N, 8))).astype(np.float32)
    ids = np.array([f"t{number}" for number in range(N)])
    write_vectors(
        tmp_path / "features.npz", ids, {"features": matrix}, {"layer": "dense_1", "run_digest": "d"}
    )
    return tmp_path / "features.npz"


def write_labels(path: Path, n: int = N, **columns: list[object]) -> Path:
    columns = {"track_id": [f"t{i}" for i in range(n)], "label": [LABELS[i % 3] for i in range(n)]} | columns
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(f'"{cell}"' for cell in row) for row in [tuple(columns), *rows]]
    path.write_text("\n".join(lines))
    return path


def test_every_number_is_written_and_the_main_ones_shown(
    features: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labels, out = write_labels(tmp_path / "labels.csv"), tmp_path / "out.json"
    assert run("classify", features, labels, "--n-folds", 4, "--repeats", 2, "--out", out) == 0
    document, shown = json.loads(out.read_text()), capfd.readouterr().out
    assert (document["layer"], document["run_digest"], document["n_features"]) == ("dense_1", "d", 8)
    assert document["classes"] == dict.fromkeys(sorted(LABELS), 20)
    assert document["folds"] == {"kind": "stratified", "n_folds": 4, "repeats": 2, "seed": 0}
    assert list(document["heads"]) == ["majority", "linear", "rbf"]
    for name, head in document["heads"].items():
        assert np.array(head["fold_accuracy"]).shape == (2, 4) and np.array(head["confusion"]).sum() == 2 * N
        assert head["interval_tracks"][0] <= head["accuracy"] <= head["interval_tracks"][1]
        assert head["interval_repeats"][0] <= head["accuracy"] <= head["interval_repeats"][1]
        assert (head["accuracy"] > 0.6) == (name != "majority")
        assert f"{100 * head['accuracy']:.1f}" in shown
    assert "fold 8" in shown and "2 [bold]rock" in shown and "3 hip hop" in shown and "1 =jazz" in shown


def test_given_folds_are_held_out_one_by_one(features: Path, tmp_path: Path) -> None:
    folds = [["x", "y", "z"][i * 7 % 11 % 3] for i in range(N)]
    out = tmp_path / "out.json"
    labels = write_labels(tmp_path / "labels.csv", fold=folds)
    assert run("classify", features, labels, "--head", "rbf", "--out", out) == 0
    by_column = json.loads(out.read_text())
    assert by_column["folds"] == {"kind": "given", "n_folds": 3, "repeats": 1, "seed": 0}
    head = by_column["heads"]["rbf"]
    assert "interval_repeats" not in head and len(head["settings"]) == 3
    plain = write_labels(tmp_path / "plain.csv")
    table = tmp_path / "folds.csv"
    table.write_text("\n".join(["fold,track_id", *(f"{fold},t{i}" for i, fold in enumerate(folds))]))
    assert run("classify", features, plain, "--head", "rbf", "--fold-table", table, "--out", out) == 0
    assert json.loads(out.read_text())["heads"] == by_column["heads"]
    # scikit-learn, with each fold's own settings in turn.
    with np.load(features) as arrays:
        matrix = arrays["features"].astype(np.float64)
    truth = np.array([LABELS[i % 3] for i in range(N)])
    for number, (name, chosen) in enumerate(zip("xyz", head["settings"], strict=True)):
        machine = make_pipeline(StandardScaler(), SVC(C=chosen["C"], gamma=chosen["gamma"]))
        said = cross_val_predict(machine, matrix, truth, groups=folds, cv=LeaveOneGroupOut())
        inside = np.array(folds) == name
        assert head["fold_accuracy"][0][number] == np.mean(said[inside] == truth[inside])


def test_artists_stay_in_one_fold(features: Path, tmp_path: Path) -> None:
    artists = [f"artist {i // 6}" if i < 54 else "" for i in range(N)]
    labels = write_labels(tmp_path / "labels.csv", artist=artists)
    out = tmp_path / "out.json"
    assert run("classify", features, labels, "--n-folds", 3, "--head", "linear", "--out", out) == 0
    assert json.loads(out.read_text())["folds"]["kind"] == "stratified, grouped by artist"


def test_albums_stay_in_one_fold_and_are_no_candidates(features: Path, tmp_path: Path) -> None:
    # Titles of albums are those of one label each: 3 labels with 2 albums, so one is left to choose settings on.
    albums = [f"album {i % 2}" for i in range(N)]
    labels = write_labels(tmp_path / "labels.csv", album=albums)
    out = tmp_path / "out.json"
    assert run("classify", features, labels, "--n-folds", 2, "--head", "linear", "--out", out) == 0
    document = json.loads(out.read_text())
    assert document["folds"]["kind"] == "stratified, grouped by album"
    assert document["heads"]["linear"]["accuracy"] > 0.6
    found = tmp_path / "retrieval.json"
    assert run("retrieval", features, "--labels", labels, "-k", 5, "--out", found) == 0
    (result,) = json.loads(found.read_text())
    assert (result["grouped_by"], result["n_groups"], result["n_features"]) == ("album", 6, 8)
    assert result["queries"] == dict.fromkeys(sorted(LABELS), 20)
    assert result["chance_precision"] == pytest.approx(10 / 50)  # of the others, the label's other album
    with np.load(features) as arrays:
        matrix = arrays["features"].astype(np.float64)
    matrix = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    expected = measure_retrieval(matrix, [LABELS[i % 3] for i in range(N)], np.arange(N) % 6, (5,))
    assert result["mean_average_precision"]["mean"] == expected.mean_average_precision.mean
    assert result["precision"]["5"]["mean"] == expected.precision[5].mean > 0.5


def test_retrieval_by_predicted_factors_and_for_artists_of_a_dataset(
    demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = Dataset(demo).tracks.ids
    folder = tmp_path / "run"
    folder.mkdir()
    drawn = np.random.default_rng(0).standard_normal((len(ids), 4)).astype(np.float32)
    np.savez(folder / "predictions.npz", track_ids=ids, factors=drawn)
    assert run("retrieval", folder, "--dataset", demo) == 1
    assert "is not a finished run" in capfd.readouterr().err
    (folder / "DONE").touch()
    assert run("retrieval", folder, "--dataset", demo, "--out", tmp_path / "out.json") == 0
    (result,) = json.loads((tmp_path / "out.json").read_text())
    assert result["grouped_by"] == "artist"
    assert result["mean_average_precision"]["mean"] == pytest.approx(result["chance"], abs=0.1)
    shown = capfd.readouterr().out
    assert "of other artists" in shown and "precision@10" in shown
    # Each artist of the demo has a single album.
    assert run("retrieval", folder, "--dataset", demo, "--label", "artist") == 1
    assert "nothing to retrieve: expected a label with tracks in two groups" in capfd.readouterr().err
    assert run("retrieval", folder) == 2
    assert "either a table by --labels or a dataset" in capfd.readouterr().err


def test_genres_of_a_dataset(demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tracks = Dataset(demo).tracks
    chosen = np.arange(len(tracks))[5:]  # the others have no features
    genres = [genres[0] for genres in tracks.table["genres"].to_pylist()]
    kinds = {genre: number for number, genre in enumerate(sorted(set(genres)))}
    matrix = np.array(
        [[kinds[genres[row]], 1.0] for row in chosen], np.float32
    )  # as if classified without error
    path = tmp_path / "features.npz"
    write_vectors(path, tracks.ids[chosen], {"features": matrix})
    assert run("classify", path, "--dataset", demo, "--n-folds", 3, "--out", tmp_path / "out.json") == 0
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["n_tracks"] == len(chosen) and set(document["classes"]) == set(kinds)
    assert document["folds"]["kind"] == "stratified, grouped by artist"
    assert document["heads"]["rbf"]["accuracy"] > 0.95 > document["heads"]["majority"]["accuracy"]


def test_tracks_of_several_tags(features: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    has = np.array([[i % 3 == 0, i % 3 != 1, i % 2 == 0, i == 7] for i in range(N)])
    names = ("one", "two", "random", "rare")
    rows = [
        f"t{i},{name},{i // 5 % 3},artist {i // 5}"
        for i in range(N)
        for name, own in zip(names, has[i], strict=True)
        if own
    ]
    table, out = tmp_path / "tags.csv", tmp_path / "out.json"
    table.write_text("\n".join(["track_id,tag,fold,artist", *rows, rows[0]]))  # a repeated row counts once
    assert run("classify", features, table, "--head", "linear", "--out", out) == 0
    shown, document = capfd.readouterr().out, json.loads(out.read_text())
    kept = [i for i in range(N) if has[i].any()]
    assert document["n_tracks"] == len(kept) < N and document["left_out"] == ["rare"]
    assert document["classes"] == {"two": 40, "random": 30, "one": 20}
    assert document["folds"] == {"kind": "given", "n_folds": 3, "repeats": 1, "seed": 0}
    assert "Left out, since some fold leaves fewer than two tracks with it or without it: rare" in shown
    # Means of scikit-learn's metrics of the three folds, of scores by `score_tags`.
    with np.load(features) as arrays:
        matrix = arrays["features"].astype(np.float64)[kept]
    order = [1, 2, 0]
    folds, truth = np.array([i // 5 % 3 for i in kept]), has[kept][:, order]
    groups = np.array([i // 5 for i in kept])
    tracks = TaggedTracks(matrix, np.array(names)[order], truth, groups)
    scores = score_tags(tracks, folds[np.newaxis], "linear")[0]
    for key, metric in (("auc", roc_auc_score), ("average_precision", average_precision_score)):
        expected = [metric(truth[folds == one], scores[folds == one]) for one in range(3)]
        head, chance = document["heads"]["linear"], document["heads"]["chance"]
        assert head[f"fold_{key}"] == [pytest.approx(expected)]
        assert head[key]["mean"] == pytest.approx(np.mean(expected))
        assert head[key]["low"] < head[key]["mean"] < head[key]["high"]
        assert f"{np.mean(expected):.3f}" in shown and chance[key]["mean"] < head[key]["mean"]
    assert document["heads"]["linear"]["by_label"]["one"]["auc"]["mean"] > 0.8
    assert document["heads"]["chance"]["auc"]["mean"] == pytest.approx(0.5)
    # Generated folds hold artists out; other commands need one label of each track.
    assert (
        run("classify", features, table, "--head", "linear", "--n-folds", 2, "--repeats", 2, "--out", out)
        == 0
    )
    document = json.loads(out.read_text())
    assert document["folds"]["kind"] == "stratified by the rarest label of each track, grouped by artist"
    low, high = document["heads"]["linear"]["interval_repeats_auc"]
    assert low < document["heads"]["linear"]["auc"]["mean"] < high
    capfd.readouterr()
    assert run("retrieval", features, "--labels", table) == 1
    assert "expected one label of each track. Received for 't0': one, two, random" in capfd.readouterr().err


def unlabelled(path: Path) -> None:
    path.write_text(path.read_text().replace("=jazz", "", 1))


@pytest.mark.parametrize(
    ("spoil", "options", "status", "expected"),
    [
        (lambda path: write_labels(path, N + 2), [], 1, "2 of 62 tracks, the first of them 't60'"),
        (lambda path: write_labels(path, 9), [], 1, "for 10 folds"),
        (
            lambda path: path.write_text("track_id,tag\n" + "".join(f"t{i},x\nt{i},y\n" for i in range(20))),
            [],
            1,
            "expected at least two labels that, outside each of 10 folds, two tracks have and two lack",
        ),
        (
            lambda path: path.write_text("track_id,tag,fold\nt0,x,1\nt0,y,2\n"),
            [],
            1,
            "rows of track 't0' differ in fold: '1' and '2'",
        ),
        (unlabelled, [], 1, "track 't0' has no label"),
        (lambda path: path.write_text("track_id,genre\nt0,x\n"), [], 1, "columns track_id and label or tag"),
        (lambda path: path.unlink(), [], 1, "no such file"),
        (None, ["--n-folds", 1], 1, "folds must be at least 2"),
        (None, ["--repeats", 0], 1, "repeats must be at least 1"),
        (None, ["--fold-table", "missing.csv"], 1, "missing.csv"),
        (None, ["--out", "x.csv"], 1, "must end in .json"),
        (None, ["--dataset", "demo", "--all-genres"], 2, "--all-genres needs --dataset, without LABELS"),
        (
            lambda path: write_labels(path, fold=[i % 3 for i in range(N)]),
            ["--repeats", 2],
            1,
            "leave out --repeats",
        ),
        (lambda path: write_labels(path, fold=[0] * N), [], 1, "at least two folds"),
        (
            lambda path: write_labels(path, artist=[i % 3 for i in range(N)]),
            ["--n-folds", 2],
            1,
            "Received: 1",
        ),
    ],
)
def test_bad_input_gets_one_sentence(
    spoil: object,
    options: list[object],
    status: int,
    expected: str,
    features: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    labels = write_labels(tmp_path / "labels.csv")
    if callable(spoil):
        spoil(labels)
    assert run("classify", features, labels, *options) == status
    error = capfd.readouterr().err
    assert expected in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"track_ids": np.array(["a"])}, "expected the arrays track_ids, features"),
        ({"ids": np.array(["a", "a"]), "features": np.zeros((2, 1))}, "must not repeat"),
        ({"ids": np.array(["a", "b"]), "features": np.zeros((3, 1))}, "features of shape (2, n_features)"),
        (
            {"ids": np.array(["a", "b"]), "features": np.array([[1.0], [np.nan]])},
            "'b' has features that are not finite",
        ),
    ],
)
def test_features_that_are_none_are_reported(
    arrays: dict[str, np.ndarray], expected: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "f.npz", **arrays)
    assert run("classify", tmp_path / "f.npz", write_labels(tmp_path / "labels.csv")) == 1
    assert expected in capfd.readouterr().err
