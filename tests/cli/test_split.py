"""``cs-keras split`` and what uses its splits: factors, baselines, recommendations, check and report."""

import csv
import datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cs_keras.data.schema import read_tracks
from cs_keras.factors.store import load_factors
from cs_keras.run_files.evaluation import Evaluation
from cs_keras.run_files.predictions import read_predictions
from tests.command_line import run
from tests.pipelines.planted_items import Planted, write_items

FIT = ["--n-factors", 8, "--alpha", 5, "--regularization", 1, "--no-ceiling"]
QUICK = ["--set=evaluation.n_permutations=19", "--set=evaluation.ks=[10]"]
RIDGE = ["--models", "attributes-linear", *QUICK]


def year_of(row: int) -> int:
    return 1950 + (row * 37) % 60


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """300 items with release dates, and interactions with times."""
    planted = write_items(tmp_path_factory.mktemp("planted"), n_items=300, n_plays=8_000)
    with open(planted.items, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with open(planted.items, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "release_date"])
        writer.writeheader()
        writer.writerows({**row, "release_date": year_of(i)} for i, row in enumerate(rows))
    return planted


@pytest.fixture
def items(planted: Planted, tmp_path: Path) -> Path:
    out = tmp_path / "items"
    assert run("ingest", "--no-audio", "--tracks", planted.items, "--out", out) == 0
    return out


def parts_of(dataset: Path, name: str) -> dict[str, str]:
    table = pq.read_table(dataset / "splits" / f"{name}.parquet")
    return dict(zip(table["track_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def test_a_split_by_release_date_from_factors_to_recommendations(
    planted: Planted, items: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("split", items, "--by", "time", "--name", "by-year") == 0
    assert "split 'by-year' of 210 train, 30 validation, 60 test tracks." in capfd.readouterr().out
    parts = parts_of(items, "by-year")
    newest = [f"item-{i:04d}" for i in sorted(range(300), key=year_of)[-60:]]
    assert sorted(track_id for track_id, part in parts.items() if part == "test") == sorted(newest)
    common = ["--features", planted.table, "--out", tmp_path / "runs"]
    assert run("factors", planted.interactions, items, *FIT) == 0
    assert run("run-baselines", items, *RIDGE, *common, "--split-name", "by-year") == 1
    assert (
        "Factors 'wmf' were fitted for the stored folds, with interactions of test" in capfd.readouterr().err
    )
    assert run("factors", planted.interactions, items, *FIT, "--name", "year", "--split-name", "by-year") == 0
    factors = load_factors(items / "factors/year.npz")
    assert factors.split_name == "by-year"
    assert run("run-baselines", items, *RIDGE, *common, "--factors", "year") == 0  # the split of the factors
    (folder,) = (tmp_path / "runs").glob("*-attributes-linear-*")
    assert Evaluation.read(folder).n_tracks.test == 60
    unseen = {track_id for track_id, part in parts.items() if part != "train"}
    assert set(read_predictions(folder).track_ids.tolist()) == unseen
    assert run("run-baselines", items, *RIDGE, *common, "--factors", "wmf") == 0
    assert len(list((tmp_path / "runs").glob("*-attributes-linear-*"))) == 2
    new = sorted(unseen)[0]
    assert run("recommend", folder, new, "--dataset", items, "-k", 5) == 0
    capfd.readouterr()
    assert run("check", items) == 0
    assert "split 'by-year': train and test share: " in capfd.readouterr().out
    assert run("report", tmp_path / "runs", "--dataset", items, "--format", "html") == 0


def test_thesis_factors_are_scaled_by_the_train_tracks_of_any_split(
    planted: Planted, items: Path, tmp_path: Path
) -> None:
    from pipelines.factors.open import open_dataset

    assert (
        run(
            "split", items, "--by", "folds", "--name", "other", "--test-folds", "0,1", "--validation-folds", 2
        )
        == 0
    )
    assert run("factors", planted.interactions, items, *FIT, "--protocol", "thesis") == 0
    dataset, factors = open_dataset(items, split_name="other")
    train = factors.item_factors[dataset.tracks.in_split("train")]
    assert np.allclose(factors.scaler.transform(train).mean(axis=0), 0, atol=1e-5)
    folds = read_tracks(items).numbers("fold")
    assert np.array_equal(dataset.tracks.in_split("test"), folds < 2)
    features = ["--features", planted.table, "--out", tmp_path / "runs"]
    assert run("run-baselines", items, *RIDGE, *features, "--split-name", "other") == 0
    (folder,) = (tmp_path / "runs").glob("*-attributes-linear-*")
    assert set(read_predictions(folder).track_ids.tolist()) == set(dataset.tracks.ids[folds < 3].tolist())


def test_first_interactions_date_tracks(planted: Planted, items: Path, tmp_path: Path) -> None:
    """Dates as text: a day later for each item, and a second interaction of each that is older for none."""
    plays, first = tmp_path / "plays.csv", datetime.datetime(2009, 1, 1, 12)
    with open(plays, "w", encoding="utf-8") as file:
        file.write("user,item,timestamp\n")
        for i in range(290):
            for n_days in (i + 400, i):
                file.write(f"u,item-{i:04d},{(first + datetime.timedelta(n_days)).isoformat()}Z\n")
    assert (
        run("split", items, "--by", "time", "--name", "first", "--interactions", plays, "--test-share", 0.1)
        == 0
    )
    parts = parts_of(items, "first")
    assert sorted(i for i, part in parts.items() if part == "test") == [
        f"item-{i:04d}" for i in range(261, 290)
    ]
    assert len(parts) == 290


def test_a_table_splits_tracks(items: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "tracks.csv"
    table.write_text("track_id,split\nitem-0001,Train\nitem-0002,validation\nitem-0003,test\nitem-0004,\n")
    assert run("split", items, "--by", table, "--name", "mine") == 0
    assert "1 train, 1 validation, 1 test tracks; 297 in none" in capfd.readouterr().out
    assert parts_of(items, "mine") == {"item-0001": "train", "item-0002": "validation", "item-0003": "test"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("track_id,part\na,test\n", "expected the columns track_id and split. Received: track_id, part."),
        ("track_id,split\nitem-0001,dev\n", "split must be one of train, validation, test. Received: 'dev'."),
        ("track_id,split\nitem-0001,test\nitem-0001,test\n", "track_id 'item-0001' occurs twice"),
        ("track_id,split\nx,test\n", "names no track of the dataset, which contains item-0000"),
        ("track_id,split\nitem-0001,test\n", "has no train tracks"),
    ],
)
def test_a_bad_table_is_one_sentence(
    items: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    table = tmp_path / "split.csv"
    table.write_text(content)
    assert run("split", items, "--by", table, "--name", "mine") == 1
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not (items / "splits").exists()


def test_wrong_usage_is_one_sentence(
    demo: Path, items: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        "has no release dates": [demo, "--by", "time"],
        "--test-folds needs --by folds.": [items, "--by", "time", "--test-folds", "1"],
        "--time-column names a column of --interactions": [items, "--by", "time", "--time-column", "x"],
        "there is no such file": [items, "--by", tmp_path / "none.csv"],
        "is not a cs-keras dataset": [tmp_path, "--by", "folds"],
    }
    for message, arguments in wrong.items():
        assert run("split", *arguments, "--name", "x") == 1
        lines = capfd.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and message in lines[0]
