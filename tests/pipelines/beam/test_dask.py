"""A Dask cluster of one scheduler and two worker processes makes the same files as this process."""

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import pipelines.dataset.ingest
from pipelines.inference.embed import EncoderModel
from pipelines.inference.trained_run import TrainedRun
from tests.command_line import run
from tests.conftest import TrainDemo
from tests.encoders.test_onnx_file import RATE, network  # noqa: F401
from tests.pipelines.beam.test_beam import contents, ingest_arguments
from tests.pipelines.dataset.test_import_patches import OPTIONS, write_files
from tests.pipelines.makers import KilledShardMaker, UnmountedShardMaker
from tests.pipelines.test_kill import kill_when

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not installed"),
]


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[list[object]]:
    """Start a scheduler and two workers on loopback; yield the options of a command, and end these processes."""
    started = []

    def start(*arguments: object) -> None:
        with open(folder / f"{arguments[0]}-{len(started)}.log", "w") as log:
            command = [sys.executable, "-m", "dask", *map(str, arguments)]
            quiet = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3"}
            process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **quiet}
            )
        started.append(process)

    known = folder / "scheduler.json"
    try:
        start("scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard", "--scheduler-file", known)
        deadline = time.monotonic() + 60
        while not known.exists():
            assert time.monotonic() < deadline and started[0].poll() is None, "the scheduler did not start"
            time.sleep(0.05)
        for _ in range(2):
            start("worker", "--scheduler-file", known, "--nthreads=1", "--no-nanny", "--no-dashboard")
        yield ["--runner=DaskRunner", "--", "--dask_scheduler_file", known]
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def on_dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[object]]:
    with cluster(tmp_path_factory.mktemp("cluster")) as options:
        yield options


def test_a_dataset_and_predictions_have_the_same_bytes(
    on_dask: list[object],
    demo: Path,
    train_demo: TrainDemo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # workers have another folder
    for name, options in (("local", []), ("dask", on_dask)):
        assert run(*ingest_arguments(demo, Path(name)), *options) == 0
    assert contents(tmp_path / "dask") == contents(tmp_path / "local")

    monkeypatch.setattr(TrainedRun, "block_tracks", 8)
    trained = train_demo("bot")
    capfd.readouterr()
    for name, options in (("local", []), ("dask", on_dask)):
        assert run("predict", trained, name, "--out", f"{name}.npz", *options) == 0
    assert (tmp_path / "dask.npz").read_bytes() == (tmp_path / "local.npz").read_bytes()
    assert "Traceback" not in capfd.readouterr().err


def test_imported_patches_and_features_have_the_same_bytes(
    on_dask: list[object],
    network: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(EncoderModel, "block_tracks", 2)
    urls, _ = write_files(tmp_path / "patches", n_files=3)
    audio = tmp_path / "audio"
    audio.mkdir()
    for number in range(5):
        samples = np.random.default_rng(number).normal(0, 0.1, 2 * RATE).astype(np.float32)
        soundfile.write(audio / f"{number}.wav", samples, RATE, subtype="FLOAT")
    (audio / "5.wav").write_bytes(b"no audio")
    for name, options in (("local", []), ("dask", on_dask)):
        out = tmp_path / name
        assert run("import-patches", *urls, "--out", out, "--folds", "track", *OPTIONS, *options) == 0
        assert run("embed", audio, "--encoder", network, "--out", tmp_path / f"{name}.npz", *options) == 0
        assert "left out 5: " in capfd.readouterr().err
    assert contents(tmp_path / "dask") == contents(tmp_path / "local")
    assert (tmp_path / "dask.npz").read_bytes() == (tmp_path / "local.npz").read_bytes()
    assert not list(tmp_path.glob("*.parts"))


def test_a_worker_without_the_recordings_is_named(
    on_dask: list[object],
    demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pipelines.dataset.ingest, "ShardMaker", UnmountedShardMaker)
    assert run(*ingest_arguments(demo, tmp_path / "out"), *on_dask) == 1
    error = capfd.readouterr().err
    assert f"The worker {os.uname().nodename} does not find the recordings of shards/" in error
    assert "Traceback" not in error


def test_killed_driver_and_killed_worker_end_with_the_same_bytes(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*ingest_arguments(demo, tmp_path / "local")) == 0
    out = tmp_path / "job" / "out"
    out.parent.mkdir()

    def shards() -> list[Path]:
        return sorted(out.glob("shards/*/*.h5"))

    with cluster(tmp_path) as on_dask:
        kill_when(lambda: len(shards()) >= 2, *ingest_arguments(demo, out), *on_dask)
        before = {path: path.stat().st_mtime_ns for path in shards()}
        assert not (out / "dataset.json").exists()
        monkeypatch.setattr(pipelines.dataset.ingest, "ShardMaker", KilledShardMaker)
        assert run(*ingest_arguments(demo, out), *on_dask) == 0
    assert (out.parent / "trouble-came").exists()  # a worker was killed
    assert {path: path.stat().st_mtime_ns for path in before} == before  # not made again
    assert contents(out) == contents(tmp_path / "local")
