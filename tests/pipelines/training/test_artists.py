"""Models of known artists reach the best prediction that planted data allow, and fall back where they know less."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cs_keras import config
from cs_keras.errors import ConfigError
from cs_keras.run_files.settings import Failure
from pipelines.run_baselines import run_baselines
from tests.command_line import run
from tests.pipelines.planted_artists import PlantedArtists, write_artists
from tests.pipelines.planted_evidence import write_evidence

HEAD = {
    "model": {"dense": [64], "dropout": 0.0},
    "training": {"epochs": 15, "loss": "mse", "l2": 1e-3, "learning_rate": 3e-3},
}
QUICK = {
    "evaluation": {"n_permutations": 9, "ks": [10]},
    "models": {
        **dict.fromkeys(("attributes", "genre-label"), HEAD),
        "fusion": config.merge(
            HEAD, {"model": {"branches": ["attributes", "genre-label"], "branch_dropout": 0.0}}
        ),
        "artist-residual": {"model": {"folds": 2}},
        "artist-attention": {"model": {"folds": 2}, "training": {"epochs": 8}},
    },
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> PlantedArtists:
    return write_artists(tmp_path_factory.mktemp("planted") / "dataset")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def train(
    planted: PlantedArtists,
    runs: Path,
    model: str,
    content: str | None = None,
    has: np.ndarray | None = None,
) -> Path:
    """Train `model`, on attributes of all tracks or of those that have them, and return its run folder."""
    own = {"models": {model: {"model": {"content": content}}}} if content else {}
    tables = {} if model == "artist-mean" else {"": planted.table(has)}
    done = run_baselines(planted.folder, [model], runs, config.merge(QUICK, own), tables=tables)
    assert not done.failed
    return done.runs[0]


def predictions(planted: PlantedArtists, folder: Path) -> np.ndarray:
    """Return the predictions of a run, with rows of NaN for train tracks."""
    found = np.full_like(planted.factors, np.nan)
    with np.load(folder / "predictions.npz") as stored:
        found[np.searchsorted(planted.ids, stored["track_ids"])] = stored["factors"]
    return found


def assert_as_good(planted: PlantedArtists, found: np.ndarray, best: np.ndarray, chosen: np.ndarray) -> None:
    """Check that squared errors exceed the optimum's by at most 4 %, and are not significantly below."""
    rows = np.flatnonzero((planted.folds >= 8) & chosen)
    of_found, of_best = (np.square(one[rows] - planted.factors[rows]).mean(axis=1) for one in (found, best))
    difference = of_found - of_best
    interval = 2.6 * difference.std() / np.sqrt(len(rows))  # 99 %
    assert difference.mean() + interval > 0
    assert difference.mean() - interval < 0.04 * of_best.mean()


def test_the_artist_mean_is_the_best_prediction_from_the_artist(planted: PlantedArtists, runs: Path) -> None:
    found = predictions(planted, train(planted, runs, "artist-mean"))
    assert_as_good(planted, found, planted.best(), np.ones(len(planted.ids), np.bool_))
    new = planted.is_new & (planted.folds >= 8)
    assert new.sum() > 30
    np.testing.assert_allclose(
        found[new], np.tile(planted.factors[planted.folds < 7].mean(axis=0), (new.sum(), 1)), atol=1e-5
    )


def test_with_a_split_by_time_it_is_the_best_prediction_from_older_tracks(
    planted: PlantedArtists, runs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("split", planted.folder, "--by", "time", "--name", "by-year") == 0
    assert "train and test share: " in capfd.readouterr().out
    table = pq.read_table(planted.folder / "splits" / "by-year.parquet")
    folds = np.array([{"train": 0, "validation": 7, "test": 8}[part] for part in table["split"].to_pylist()])
    assert table["track_id"].to_pylist() == planted.ids.tolist()
    by_time = dataclasses.replace(planted, folds=folds)
    models = ["artist-mean", "attributes-linear", "artist-residual"]
    tables = {"": planted.table()}
    done = run_baselines(planted.folder, models, runs, QUICK, tables=tables, split_name="by-year")
    mean, content, residual = (predictions(planted, folder) for folder in done.runs)
    assert_as_good(by_time, mean, by_time.best(), np.ones(len(folds), np.bool_))
    assert_as_good(by_time, content, planted.by_attributes, np.ones(len(folds), np.bool_))
    assert_as_good(by_time, residual, by_time.best(planted.by_attributes), ~by_time.is_new)


def test_without_test_tracks_of_known_artists_it_is_refused_before_training(tmp_path: Path) -> None:
    without = write_evidence(tmp_path / "dataset", 40)  # artists are not known
    with pytest.raises(
        ConfigError, match="artist-mean needs test tracks by artists who have train tracks too"
    ):
        run_baselines(without.folder, ["artist-mean"], tmp_path / "runs", QUICK)
    assert not (tmp_path / "runs").exists()
    # Of several models it is left out, and the reason stored for reports.
    models = ["artist-mean", "genre-label-linear"]
    outcome = run_baselines(without.folder, models, tmp_path / "runs", QUICK)
    assert [folder.name[11:-11] for folder in outcome.runs] == ["genre-label-linear"] and not outcome.failed
    assert "artist-mean needs test tracks" in outcome.left_out["artist-mean"]
    (folder,) = (tmp_path / "runs").glob("*-artist-mean-*")
    assert Failure.read(folder) == Failure("artist-mean", outcome.left_out["artist-mean"], is_left_out=True)


WITH_CONTENT = pytest.mark.parametrize(
    "model", ["artist-residual", pytest.param("artist-attention", marks=pytest.mark.slow)]
)


@WITH_CONTENT
def test_with_attributes_it_is_the_best_prediction_from_artist_and_attributes(
    planted: PlantedArtists, runs: Path, model: str
) -> None:
    found = predictions(planted, train(planted, runs, model, "attributes-linear"))
    assert_as_good(planted, found, planted.best(planted.by_attributes), ~planted.is_new)
    assert_as_good(planted, found, planted.by_attributes, planted.is_new)


@pytest.mark.slow
@WITH_CONTENT
def test_with_a_fusion_it_is_the_best_prediction_from_all_evidence(
    planted: PlantedArtists, runs: Path, model: str
) -> None:
    both = planted.by_attributes, planted.by_genre
    every = np.ones(len(planted.ids), np.bool_)
    assert_as_good(planted, predictions(planted, train(planted, runs, "fusion")), sum(both), every)
    found = predictions(planted, train(planted, runs, model, "fusion"))
    assert_as_good(planted, found, planted.best(*both), ~planted.is_new)
    assert_as_good(planted, found, sum(both), planted.is_new)


@WITH_CONTENT
def test_it_falls_back_to_what_is_known(planted: PlantedArtists, runs: Path, model: str) -> None:
    """To the very prediction of the content model or of the artist mean; to the mean of all without either."""
    has = np.arange(len(planted.ids)) // 10 % 2 == 0
    found = predictions(planted, train(planted, runs, model, "attributes-linear", has))
    content = predictions(planted, train(planted, runs, "attributes-linear", has=has))
    artist = predictions(planted, train(planted, runs, "artist-mean"))
    unseen, known = planted.folds >= 7, ~planted.is_new
    for chosen, expected in ((has & ~known, content), (~has, artist)):
        np.testing.assert_allclose(found[unseen & chosen], expected[unseen & chosen], atol=1e-4)
    assert_as_good(planted, found, planted.best(planted.by_attributes), has & known)


def table_file(planted: PlantedArtists, folder: Path, rows: np.ndarray) -> Path:
    path = folder / "attributes.csv"
    names = [f"number {n}" for n in range(planted.attributes.shape[1])]
    lines = [
        [track_id, *values]
        for track_id, values in zip(planted.ids[rows], planted.attributes[rows], strict=True)
    ]
    path.write_text(
        "\n".join(",".join(map(str, line)) for line in [["id", *names], *lines]), encoding="utf-8"
    )
    return path


def read_factors(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return dict(zip(stored["track_ids"].tolist(), stored["factors"], strict=True))


@WITH_CONTENT
def test_new_predictions_are_those_of_training(
    planted: PlantedArtists, runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], model: str
) -> None:
    folder, out = train(planted, runs, model, "attributes-linear"), tmp_path / "out.npz"
    expected = predictions(planted, folder)
    every = table_file(planted, tmp_path, np.arange(len(planted.ids)))
    given = ["--features", every, "--split", "test"]
    assert run("predict", folder, planted.folder, *given, "--out", out) == 0
    for track_id, factors in read_factors(out).items():
        np.testing.assert_allclose(factors, expected[int(track_id[1:])], atol=1e-4)

    row = np.flatnonzero((planted.folds == 9) & ~planted.is_new)[:1]
    (release,) = row.tolist()
    alone = table_file(planted, tmp_path, row)
    assert run("predict", folder, alone, "--artist", planted.artists[release], "--out", out) == 0
    np.testing.assert_allclose(read_factors(out)[planted.ids[release]], expected[release], atol=1e-4)
    content = predictions(planted, train(planted, runs, "attributes-linear"))
    assert run("predict", folder, alone, "--artist", "Artist 77", "--out", out) == 0
    assert (
        "No train track is by 'Artist 77'; its artist is not used. Did you mean 'artist 77'?"
        in capfd.readouterr().err
    )
    np.testing.assert_allclose(read_factors(out)[planted.ids[release]], content[release], atol=1e-4)
    assert run("predict", folder, planted.folder, "--artist", "artist 1", "--out", out) == 1
    assert "a dataset names its own" in capfd.readouterr().err


def test_an_artist_mean_needs_no_features(
    planted: PlantedArtists, runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, out = train(planted, runs, "artist-mean"), tmp_path / "out.npz"
    expected = predictions(planted, folder)
    assert run("predict", folder, planted.folder, "--out", out) == 0
    found = read_factors(out)
    known = np.flatnonzero((planted.folds >= 7) & ~planted.is_new)
    for row in known.tolist():
        np.testing.assert_allclose(found[planted.ids[row]], expected[row], atol=1e-4)
    assert not found.keys() & set(planted.ids[planted.is_new].tolist())
    recording = tmp_path / "song.wav"
    recording.write_bytes(b"")
    assert run("predict", folder, recording, "--artist", planted.artists[known[0]], "--out", out) == 0
    np.testing.assert_allclose(read_factors(out)["song"], expected[known[0]], atol=1e-4)
    assert run("recommend", folder, recording, "--artist", planted.artists[known[0]], "-k", "3") == 0
    assert run("predict", folder, recording, "--artist", "nobody", "--out", out) == 1
    assert "left out song: no train track is by its artist" in capfd.readouterr().err
