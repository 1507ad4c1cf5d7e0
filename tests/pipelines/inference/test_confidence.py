"""Standard deviations of factors, from the training through the files of a run to predictions and reports."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cs_keras.evaluation.confidence import expected_errors, mix_deviations
from cs_keras.models import load_model
from cs_keras.run_files.evaluation import Evaluation
from pipelines.inference.trained_run import read_run
from pipelines.library import load_run
from tests.command_line import run
from tests.conftest import TrainDemo

KEY = "cnn-heteroscedastic"
SMALLER = ("--set", "training.epochs=1", "--set", "model.filters=8")
pytestmark = pytest.mark.slow


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def test_predictions_have_the_deviations_of_the_run(
    demo: Path, train_demo: TrainDemo, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trained = train_demo(KEY, *SMALLER)
    own = load(trained / "predictions.npz")
    assert own["scaled_std"].shape == own["scaled_factors"].shape and (own["scaled_std"] > 0).all()
    for name in ("out.npz", "out.parquet"):
        assert run("predict", trained, demo, "--out", tmp_path / name) == 0
    assert "median expected error" in capfd.readouterr().out
    found = load(tmp_path / "out.npz")
    rows = [found["track_ids"].tolist().index(track_id) for track_id in own["track_ids"].tolist()]
    # Sequences of several tracks are one batch in training.
    np.testing.assert_allclose(found["scaled_factors"][rows], own["scaled_factors"], rtol=1e-3, atol=1e-5)
    scale = read_run(trained).signature.scaler.scale
    np.testing.assert_allclose(found["std"][rows] / scale, own["scaled_std"], rtol=1e-3)
    expected = expected_errors(own["scaled_std"])
    np.testing.assert_allclose(found["expected_error"][rows], expected, rtol=1e-3)
    called = load_run(trained).predict(demo)
    assert np.array_equal(called.std, found["std"])
    assert np.array_equal(called.expected_errors, found["expected_error"])
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["expected_error"].to_numpy().tolist() == found["expected_error"].tolist()
    assert np.array_equal(np.stack(table["std"].to_numpy()), found["std"])


def test_the_model_gives_factors_alone_and_can_be_exported(train_demo: TrainDemo, tmp_path: Path) -> None:
    trained = train_demo(KEY, *SMALLER)
    model = load_model(trained / "model.keras")
    n_factors = load(trained / "predictions.npz")["factors"].shape[1]
    assert model.output_shape == (None, n_factors)
    assert run("export", trained, tmp_path / "exported") == 0  # which compares factors
    assert run("features", trained, "--list") == 0


def test_the_seed_of_a_recommendation_has_a_confidence(
    train_demo: TrainDemo, capfd: pytest.CaptureFixture[str]
) -> None:
    trained = train_demo(KEY, *SMALLER)
    own = load(trained / "predictions.npz")
    errors = expected_errors(own["scaled_std"])
    row = int(np.argsort(errors)[3])
    assert run("recommend", trained, own["track_ids"][row], "-k", 2) == 0
    share = (errors > errors[row]).mean()
    expected = f"seed: {errors[row]:.2f}; {share:.0%} of the {len(errors)} tracks"
    assert expected in " ".join(capfd.readouterr().err.split())


def test_attributes_and_their_ensembles_have_deviations_too(
    demo: Path, train_demo: TrainDemo, tmp_path: Path
) -> None:
    table = demo / "source" / "attributes.csv"
    options = ("--features", str(table), "--set", "training.epochs=3", "--seed")
    members = [train_demo(key, *options, "1") for key in ("attributes-heteroscedastic", "attributes-mixture")]
    loaded = [load(member / "predictions.npz") for member in members]
    assert run("predict", members[1], table, "--out", tmp_path / "out.npz") == 0
    found = load(tmp_path / "out.npz")
    rows = [found["track_ids"].tolist().index(track_id) for track_id in loaded[1]["track_ids"].tolist()]
    expected = expected_errors(loaded[1]["scaled_std"])
    np.testing.assert_allclose(found["expected_error"][rows], expected, rtol=1e-4)

    assert run("ensemble", *members, "--dataset", demo, "--out", tmp_path) == 0
    (mixed,) = tmp_path.glob("*ensemble-mean*")
    values = ([one[name] for one in loaded] for name in ("scaled_factors", "scaled_std"))
    np.testing.assert_allclose(
        load(mixed / "predictions.npz")["scaled_std"], mix_deviations([0.5, 0.5], *values), rtol=1e-5
    )
    record = Evaluation.read(mixed).confidence
    assert (
        record is not None and sum(group.n for group in record.groups) == Evaluation.read(mixed).n_tracks.test
    )
    assert run("ensemble", *members, "--dataset", demo, "--out", tmp_path, "--combine", "stack") == 0
    (summed,) = tmp_path.glob("*ensemble-stack*")
    assert "scaled_std" not in load(summed / "predictions.npz")
    assert Evaluation.read(summed).confidence is None


def test_losses_of_distributions_need_a_network_that_learns_them(
    demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ("--out", tmp_path, "--set", "training.loss=gaussian_nll")
    assert run("run-baselines", demo, "--models", "bot", *options) == 1
    assert "needs a network from audio, attributes or genres" in " ".join(capfd.readouterr().err.split())
