"""Cross-validation: each track predicted out of fold, all of them evaluated at once, resumed when repeated."""

from pathlib import Path

import numpy as np
import pytest

from cs_keras.data.schema import read_tracks
from cs_keras.data.splits import split_names
from cs_keras.factors.store import load_factors
from cs_keras.run_files.evaluation import Evaluation
from cs_keras.run_files.predictions import read_predictions
from cs_keras.run_files.settings import read_settings
from tests.command_line import run
from tests.pipelines.planted_items import Planted, write_items

FIT = ["--n-factors", 8, "--alpha", 5, "--regularization", 1, "--no-ceiling"]
QUICK = ["--set=evaluation.n_permutations=19", "--set=evaluation.n_bootstrap=20", "--set=evaluation.ks=[10]"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return write_items(tmp_path_factory.mktemp("planted"), n_items=300, n_plays=8_000)


@pytest.fixture(scope="module")
def items(planted: Planted) -> Path:
    out = planted.items.parent / "items"
    assert run("ingest", "--no-audio", "--tracks", planted.items, "--out", out) == 0
    for name, protocol in (("all", "thesis"), ("fitted", "strict")):
        assert run("factors", planted.interactions, out, *FIT, "--protocol", protocol, "--name", name) == 0
    return out


def nearest(factors: np.ndarray, k: int) -> list[set[int]]:
    unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    cosine = unit.astype(np.float64) @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    return [set(row.tolist()) for row in np.argsort(-cosine, axis=1)[:, :k]]


def test_every_track_is_predicted_out_of_fold_and_all_are_evaluated_at_once(
    planted: Planted, items: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    data = [items, "--factors", "all", "--features", planted.table, "--models", "attributes-linear", *QUICK]
    command = ["run-baselines", *data, "--cross-validate", "--out", runs]
    assert run(*command) == 0
    assert split_names(items) == [f"cv5-{n}" for n in range(1, 6)]
    (pooled,) = runs.glob("????-??-??-attributes-linear-??????????")
    rotations = {read_settings(one).split_name: one for one in (runs / "rotations").iterdir()}
    found, tracks = read_predictions(pooled), read_tracks(items)
    factors = load_factors(items / "factors/all.npz")
    assert found.track_ids.tolist() == tracks.ids.tolist()
    for name, folder in rotations.items():
        is_test = read_tracks(items, name).in_split("test")
        own = read_predictions(folder).select(tracks.ids[is_test])
        assert np.array_equal(own.factors, found.factors[is_test])
    reference, predicted = nearest(factors.item_factors, 10), nearest(found.factors, 10)
    overlap = np.mean([len(a & b) / 10 for a, b in zip(reference, predicted, strict=True)])
    evaluation = Evaluation.read(pooled)
    assert evaluation.overlap["similarity"][0].overlap == pytest.approx(overlap, abs=1e-9)
    assert evaluation.n_tracks.test == 300
    assert evaluation.n_known_artists == 0  # folds keep artists together
    assert overlap > 3 * 10 / 299
    each = [Evaluation.read(folder) for folder in rotations.values()]
    mse = np.average([one.losses.test.mse for one in each], weights=[one.n_tracks.test for one in each])
    assert evaluation.losses.test.mse == pytest.approx(mse)
    capfd.readouterr()
    assert run(*command) == 0
    printed = capfd.readouterr().err
    assert printed.count("attributes-linear: done before") == 5
    assert "attributes-linear: pooled before" in printed


def test_factors_without_the_test_tracks_of_one_rotation_are_refused(
    planted: Planted, items: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ["--features", planted.table, "--models", "attributes-linear", "--out", tmp_path / "runs"]
    assert run("run-baselines", items, "--factors", "fitted", *common, "--cross-validate") == 1
    assert "needs factors of the thesis protocol" in capfd.readouterr().err
    assert run("run-baselines", items, "--factors", "all", *common, "--cross-validate", "--rotations", 3) == 1
    assert "rotations must be one of 2, 5, 10. Received: 3." in capfd.readouterr().err
    assert run("run-baselines", items, *common, "--rotations", 5) == 2
    assert "--rotations needs --cross-validate." in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()
