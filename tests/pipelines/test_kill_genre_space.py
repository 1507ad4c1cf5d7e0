"""A SIGKILL at any moment of the classifier's fit, or after it, costs time only."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import run
from tests.pipelines.planted_genres import FACTORS, QUICK, true_labels, write_interactions, write_sounds
from tests.pipelines.test_kill import kill_when, results

pytestmark = pytest.mark.slow
SETTINGS = [
    *QUICK,
    "--set=models.genre-space.training.epochs=5",
    "--set=models.genre-space.training.patience=0",
    "--set=models.genre-space.model.dropout=0.2",  # draws at random
    "--set=evaluation.n_permutations=20000",  # for evaluation to be caught at work
]


def baselines(dataset: Path, runs: Path) -> list[object]:
    return ["run-baselines", dataset, "--models", "genre-space", "--out", runs, *SETTINGS]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    out = write_sounds(folder / "dataset", true_labels())
    assert run("factors", write_interactions(folder / "listening.csv"), out, *FACTORS) == 0
    return out


def epochs_done(runs: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in runs.glob("*/classifier/metrics.jsonl"))


MOMENTS: dict[str, Callable[[Path], object]] = {
    "in the classifier's second epoch": lambda runs: epochs_done(runs) == 1,
    "in its fourth": lambda runs: epochs_done(runs) == 3,
    "between classifier and ridge": lambda runs: list(runs.glob("*/checkpoint/genres-?.npz")),
    "while it is evaluated": lambda runs: list(runs.glob("*/predictions.npz")),
}


def test_it_ends_like_an_undisturbed_run_however_often_it_is_killed(dataset: Path, tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert run(*baselines(dataset, undisturbed)) == 0
    for moment in MOMENTS.values():
        kill_when(lambda moment=moment: moment(killed), *baselines(dataset, killed))
        assert len(list(killed.glob("*.partial"))) == 1
    assert run(*baselines(dataset, killed)) == 0
    assert list(results(killed)) == list(results(undisturbed))
    genres = []
    for runs in (killed, undisturbed):
        (path,) = runs.glob("*/genres.npz")
        with np.load(path) as arrays:
            genres.append({name: arrays[name].tobytes() for name in arrays.files})
    assert genres[0] == genres[1]
