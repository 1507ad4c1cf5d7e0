"""Networks that learn several sets of factors at once, and predict one."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.models import load_model
from cs_keras.models.spec import TrainingConfig
from cs_keras.run_files.names import MODEL_FILE
from cs_keras.runs import read_json, read_npz
from pipelines.factors.open import open_factors
from pipelines.training.objectives import make_training_targets
from pipelines.training.targets import make_training_data, open_extra_factors
from tests.command_line import SMALL, run

NAMED = '--set=training.extra_factors=["other"]'


@pytest.fixture(scope="module")
def dataset(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with eight more factors for each track."""
    place = tmp_path_factory.mktemp("several") / "dataset"
    shutil.copytree(demo, place, ignore=shutil.ignore_patterns("source"))
    make(place, demo, 0)
    return place


def make(dataset: Path, demo: Path, seed: int) -> None:
    interactions = demo / "source/listening.csv"
    assert run("factors", interactions, dataset, "--name", "other", "--n-factors", 8, "--seed", seed) == 0


def train(dataset: Path, runs: Path, *options: object, models: str = "cnn-bn") -> int:
    named = ("--models", models, "--factors", "wmf", "--out", runs)
    return run("run-baselines", dataset, *named, *SMALL, *options)


def folders(runs: Path) -> set[Path]:
    return set(runs.glob("????-??-??-*"))


@pytest.mark.parametrize("loss", ["mse", "unit_mse"])
def test_further_targets_follow_the_own_ones(loss: str, dataset: Path) -> None:
    read = Dataset(dataset)
    several = [open_factors(dataset, read.tracks, name) for name in ("wmf", "other")]
    training = TrainingConfig(loss=loss, extra_factors=("other",))
    extra = open_extra_factors(read, several[0], training)
    both = make_training_targets(
        make_training_data(read, several[0], 1.0, extra=extra), several[0], training
    ).examples
    alone = [
        make_training_targets(make_training_data(read, one, 1.0), one, training).examples for one in several
    ]
    assert both.shape == (60, 32 + 8)
    np.testing.assert_array_equal(both, np.hstack(alone))


@pytest.mark.slow
def test_they_are_learnt_and_cut_off(
    demo: Path, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    assert train(dataset, runs) == 0
    (plain,) = folders(runs)
    assert train(dataset, runs, NAMED) == 0
    (several,) = folders(runs) - {plain}
    found, stored = (
        read_npz(folder / "predictions.npz", "track_ids", "factors") for folder in (plain, several)
    )
    assert found["factors"].shape == stored["factors"].shape
    assert not np.allclose(found["factors"], stored["factors"])
    alone, both = (read_json(folder / "training.json")["parameters"] for folder in (plain, several))
    assert both - alone == 8 * (16 + 1)  # of the last layer, after 16 units
    assert load_model(several / MODEL_FILE).output_shape == (None, 32)

    assert run("predict", several, dataset, "--split", "test", "--out", tmp_path / "test.npz") == 0
    again = read_npz(tmp_path / "test.npz", "track_ids", "factors")
    of_test = np.isin(stored["track_ids"], again["track_ids"])
    assert stored["track_ids"][of_test].tolist() == again["track_ids"].tolist()
    np.testing.assert_allclose(again["factors"], stored["factors"][of_test], rtol=1e-4, atol=1e-5)
    assert run("export", several, tmp_path / "exported") == 0
    notes = read_json(several / "training.json")["notes"]
    assert notes == ["it was also trained on the factors other (8 dimensions), which it does not predict"]

    capfd.readouterr()
    assert train(dataset, runs, NAMED) == 0
    assert "done before" in capfd.readouterr().err
    make(dataset, demo, 1)
    assert train(dataset, runs, NAMED) == 0  # other numbers under the same name
    assert len(folders(runs)) == 3
    assert run("report", runs) == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (['--set=training.extra_factors=["nothing"]'], "no factors called 'nothing'"),
        (['--set=training.extra_factors=["wmf"]'], "names 'wmf' more than once or as the main factors"),
        (['--set=training.extra_factors=[""]'], "Received: a name that is empty"),
        (['--set=training.extra_factors=["other", "other"]'], "names 'other' more than once"),
        ([NAMED, "--set=training.loss=wpe"], "needs outputs that are learnt independently"),
        ([NAMED, "--set=training.loss=cosine"], "needs outputs that are learnt independently"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    options: list[str], complaint: str, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(dataset, tmp_path, *options) == 1
    error = capfd.readouterr().err
    assert complaint in error and error.count("Error:") == 1 and "Traceback" not in error
    assert not folders(tmp_path)


def test_a_model_of_several_steps_refuses_them(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(dataset, tmp_path, NAMED, models="bot") == 1
    assert "needs a network that is trained end to end" in capfd.readouterr().err


def test_factors_that_have_seen_test_tracks_are_refused(
    demo: Path, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    interactions = demo / "source/listening.csv"
    assert (
        run("factors", interactions, dataset, "--name", "seen", "--n-factors", 8, "--protocol", "thesis") == 0
    )
    assert train(dataset, tmp_path, '--set=training.extra_factors=["seen"]') == 1
    assert "'seen' were fitted on interactions with test tracks" in capfd.readouterr().err


def test_factors_of_fewer_tracks_are_refused(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    read = Dataset(dataset)
    ids = read.tracks.ids[~read.tracks.in_split("test")][1:]
    np.savez(tmp_path / "given.npz", ids=ids, item_factors=np.ones((len(ids), 8), np.float32))
    assert run("factors", "--from-npz", tmp_path / "given.npz", dataset, "--name", "fewer") == 0
    assert train(dataset, tmp_path / "runs", '--set=training.extra_factors=["fewer"]') == 1
    assert "Factors 'fewer' lack 1 of the train and validation tracks" in capfd.readouterr().err
