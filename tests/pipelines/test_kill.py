"""A SIGKILL at any moment costs time only: the same command ends with the same files as an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command_line import SMALL, run

TIMEOUT_S = 120
CLOCKS = {"seconds", "sequences_per_s", "mb_per_s", "input_wait_share"}
COMMAND = [sys.executable, "-c", "from cs_keras.cli import main; main()"]
MODELS = "bot,cnn-bn"
# Enough permutations for evaluation to be caught at work, and enough epochs to be caught between two.
SETTINGS = [*SMALL, "--set=evaluation.n_permutations=20000", "--set=models.cnn-bn.training.epochs=6"]


def kill_when(condition: Callable[[], object], *arguments: object) -> None:
    """Start the command line in a process of its own and kill it as soon as `condition` holds."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while not condition():
            assert process.poll() is None, "the command ended before it could be killed"
            assert time.monotonic() < deadline, "the moment to kill at never came"
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def without_clocks(value: Any) -> Any:
    """Leave out what a clock decides, however deep it lies."""
    if isinstance(value, dict):
        return {name: without_clocks(v) for name, v in value.items() if name not in CLOCKS}
    return [without_clocks(v) for v in value] if isinstance(value, list) else value


def results(runs: Path) -> Iterator[tuple[str, dict[str, bytes], dict]]:
    """Yield name, predicted arrays and evaluation of each finished run, without what a clock decides."""
    for folder in sorted(runs.glob("????-??-??-*")):
        assert (folder / "DONE").exists(), f"{folder} is not finished"
        assert not list(folder.rglob("checkpoint"))
        with np.load(folder / "predictions.npz") as arrays:
            predicted = {name: arrays[name].tobytes() for name in arrays.files}
        evaluation = json.loads((folder / "evaluation.json").read_text())
        yield folder.name[11:], predicted, without_clocks(evaluation)


def baselines(dataset: Path, runs: Path) -> list[object]:
    return ["run-baselines", dataset, "--models", MODELS, "--out", runs, *SETTINGS]


@pytest.fixture(scope="module")
def undisturbed(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> list:
    runs = tmp_path_factory.mktemp("undisturbed")
    assert run(*baselines(demo, runs)) == 0
    return list(results(runs))


def epochs_done(runs: Path, model: str) -> int:
    return sum(len(path.read_text().splitlines()) for path in runs.glob(f"*-{model}-*/metrics.jsonl"))


MOMENTS: dict[str, Callable[[Path], object]] = {
    "during the codebook": lambda runs: list(runs.glob("*-bot-*.partial/config.json")),
    "between models": lambda runs: list(runs.glob("*-bot-*/DONE")),
    "during the second epoch": lambda runs: epochs_done(runs, "cnn-bn") == 1,
    "during the fifth epoch": lambda runs: epochs_done(runs, "cnn-bn") == 4,
    "during evaluation": lambda runs: list(runs.glob("*-cnn-bn-*.partial/predictions.npz")),
}


@pytest.mark.slow
def test_run_killed_again_and_again_ends_like_an_undisturbed_one(
    demo: Path, undisturbed: list, tmp_path: Path
) -> None:
    for moment in MOMENTS.values():
        kill_when(lambda moment=moment: moment(tmp_path), *baselines(demo, tmp_path))
        assert len(list(tmp_path.glob("*.partial"))) <= 1
    assert run(*baselines(demo, tmp_path)) == 0
    assert list(results(tmp_path)) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("n_shards", [1, 4])
def test_killed_ingest_keeps_whole_shards_and_ends_with_the_same_bytes(
    n_shards: int, demo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["ingest", "--tracks", demo / "source" / "tracks.csv", "--out", out]

    def shards() -> list[Path]:
        return sorted(out.glob("shards/*/*.h5"))

    kill_when(lambda: len(shards()) >= n_shards, *arguments)
    assert not (out / "dataset.json").exists()
    before = {path: path.stat().st_mtime_ns for path in shards()}
    assert run(*arguments) == 0

    assert {path: path.stat().st_mtime_ns for path in before} == before  # not made again
    for path in demo.glob("shards/*/*.h5"):
        assert (out / path.relative_to(demo)).read_bytes() == path.read_bytes()
    for name in ("dataset.json", "tracks.parquet"):
        assert (out / name).read_bytes() == (demo / name).read_bytes()


@pytest.mark.slow
def test_killed_demo_data_ends_with_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["demo-data", out, "--n-tracks", 60, "--n-artists", 30, "--n-playlists", 200]
    kill_when(lambda: len(list(out.glob("source/audio/*.wav"))) >= 10, *arguments)
    assert run(*arguments) == 0

    def content(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    assert content(out) == content(demo)
