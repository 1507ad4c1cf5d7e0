"""A SIGKILL at any moment of the triplet procedure's stages costs time only."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import SMALL, run
from tests.pipelines.test_kill import epochs_done, kill_when, results

pytestmark = pytest.mark.slow
SETTINGS = [
    *SMALL,
    "--set=models.triplet.model.embedding_epochs=3",
    "--set=models.triplet.model.dropout=0.2",  # the regressor draws at random too
    "--set=models.triplet.training.epochs=20",
    "--set=models.triplet.training.patience=0",
    "--set=models.triplet.augment.gain_db=6.0",  # and so does the embedding
]


def baselines(dataset: Path, runs: Path) -> list[object]:
    return ["run-baselines", dataset, "--models", "triplet", "--out", runs, *SETTINGS]


@pytest.fixture(scope="module")
def undisturbed(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> list:
    runs = tmp_path_factory.mktemp("undisturbed")
    assert run(*baselines(demo, runs)) == 0
    return list(results(runs))


def embedding_epochs(runs: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in runs.glob("*/embedding/metrics.jsonl"))


MOMENTS: dict[str, Callable[[Path], object]] = {
    "in the embedding's second epoch": lambda runs: embedding_epochs(runs) == 1,
    "while embeddings are computed": lambda runs: list(runs.glob("*/checkpoint/train.f32.partial")),
    "between embeddings and regressor": lambda runs: list(runs.glob("*/checkpoint/unseen.f32")),
    "in the regressor's second epoch": lambda runs: epochs_done(runs, "triplet") == 1,
}


def test_it_ends_like_an_undisturbed_run_however_often_it_is_killed(
    demo: Path, undisturbed: list, tmp_path: Path
) -> None:
    for moment in MOMENTS.values():
        kill_when(lambda moment=moment: moment(tmp_path), *baselines(demo, tmp_path))
        assert len(list(tmp_path.glob("*.partial"))) == 1
    assert run(*baselines(demo, tmp_path)) == 0
    assert list(results(tmp_path)) == undisturbed
    (_, _, evaluation) = undisturbed[0]
    assert [epoch["val_loss"] > 0 for epoch in evaluation["training"]["embedding"]["history"]] == [True] * 3
