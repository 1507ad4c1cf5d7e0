"""Models of known artists reach the best prediction that planted data allow, and fall back where they know less."""

from pathlib import Path

import numpy as np
import pytest

from cs_keras.errors import ConfigError
from pipelines.run_baselines import run_baselines
from tests.pipelines.planted_artists import PlantedArtists, write_artists
from tests.pipelines.planted_evidence import write_evidence

QUICK = {"evaluation": {"n_permutations": 9, "n_bootstrap": 10, "ks": [10]}}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> PlantedArtists:
    return write_artists(tmp_path_factory.mktemp("planted") / "dataset")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def train(planted: PlantedArtists, runs: Path, model: str) -> Path:
    done = run_baselines(planted.folder, [model], runs, QUICK)
    assert not done.failed
    return done.runs[0]


def predictions(planted: PlantedArtists, run: Path) -> np.ndarray:
    """Return the predictions of a run, with rows of NaN for train tracks."""
    found = np.full_like(planted.factors, np.nan)
    with np.load(run / "predictions.npz") as stored:
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


def test_without_test_tracks_of_known_artists_it_is_refused_before_training(tmp_path: Path) -> None:
    without = write_evidence(tmp_path / "dataset", 40)  # artists are not known
    with pytest.raises(
        ConfigError, match="artist-mean needs test tracks by artists who have train tracks too"
    ):
        run_baselines(without.folder, ["artist-mean"], tmp_path / "runs", QUICK)
    assert not (tmp_path / "runs").exists()
