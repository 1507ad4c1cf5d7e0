"""Datasets in a bucket: the same files, the same numbers, whatever the network does on the way."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from cs_keras.runs import read_npz
from cs_keras.storage import remote
from cs_keras.storage.location import list_files, locate, remove, write_bytes
from tests.command_line import SMALL, run
from tests.storage.servers import BUCKET, FaultyProxy, emulator, reached_through

URL = f"gs://{BUCKET}/demo"
FILES = ("dataset.json", "tracks.parquet", "interactions.npz")
FAULTS = (
    "503",
    "corrupt",
    "drop",
    "truncate",
    "429",
    "ok",
    "short",
    "corrupt",
    "ok",
    "ok",
    "ok",
    "stall",
    "ok",
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with emulator() as port:
        yield port


@pytest.fixture
def bucket(port: int, demo: Path) -> Iterator[UPath]:
    """The demo dataset in a bucket."""
    with reached_through(port):
        place = locate(URL)
        for name in list_files(demo):
            if not name.startswith("source/") or name == "source/truth.npz":
                write_bytes(place / name, (demo / name).read_bytes())
        yield place
        for name in list_files(place):
            (place / name).unlink()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "DEFAULT", remote.RemoteConfig(timeout_s=5.0))
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.02)


def train(dataset: object, runs: Path, *options: object, models: str = "cnn-bn") -> int:
    return run("run-baselines", dataset, "--models", models, "--out", runs, *SMALL, *options)


def written(place: UPath) -> dict[str, str]:
    """When each file was written."""
    return {name: str((place / name).fs.info((place / name).path)["mtime"]) for name in list_files(place)}


def numbers(runs: Path) -> tuple[dict, dict]:
    """What training ended with: predictions, and the evaluation without what depends on the clock."""
    (folder,) = runs.glob("????-??-??-cnn-bn-*")
    evaluation = json.loads((folder / "evaluation.json").read_text())
    evaluation["training"].pop("seconds")
    arrays = read_npz(folder / "predictions.npz", "track_ids", "factors")
    return {name: array.tobytes() for name, array in arrays.items()}, evaluation


@pytest.fixture(scope="module")
def expected(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    """The numbers of a local run."""
    runs = tmp_path_factory.mktemp("expected")
    assert train(demo, runs) == 0
    return numbers(runs)


def test_ingest_and_factors_write_the_same_bytes_as_on_a_disk(port: int, demo: Path) -> None:
    with reached_through(port):
        place = locate(f"gs://{BUCKET}/ingested")
        assert run("ingest", "--tracks", demo / "source/tracks.csv", "--out", place) == 0
        interactions = demo / "source/listening.csv"
        assert run("factors", interactions, place, "--n-factors", 32, "--alpha", 1, "--iterations", 50) == 0
        there = [name for name in list_files(demo) if not name.startswith("source/")]
        assert list_files(place) == there
        assert all((place / name).read_bytes() == (demo / name).read_bytes() for name in there)


def test_a_stopped_ingest_resumes(port: int, demo: Path) -> None:
    with reached_through(port):
        place = locate(f"gs://{BUCKET}/stopped")
        arguments = ("ingest", "--tracks", demo / "source/tracks.csv", "--out", place)
        assert run(*arguments) == 0
        before = written(place)
        (place / "dataset.json").unlink()
        (place / "shards/fold-02/part-00000.h5").unlink()
        assert run(*arguments) == 0
        after = written(place)
        again = {name for name in before if before[name] != after[name]}
        assert again == {"dataset.json", "tracks.parquet", "shards/fold-02/part-00000.h5"}


def test_training_gives_the_same_numbers(bucket: UPath, tmp_path: Path, expected: tuple[dict, dict]) -> None:
    assert train(bucket, tmp_path) == 0
    assert numbers(tmp_path) == expected


@pytest.mark.slow
@pytest.mark.parametrize("faults", [FAULTS, ("truncate",)], ids=["of all kinds", "every first answer cut"])
def test_training_gives_the_same_numbers_through_a_bad_network(
    faults: tuple[str, ...], port: int, bucket: UPath, tmp_path: Path, expected: tuple[dict, dict]
) -> None:
    with FaultyProxy(port, faults) as proxy, reached_through(proxy.port):
        assert train(URL, tmp_path, "--timeout", 2.0) == 0
    assert numbers(tmp_path) == expected
    assert all(proxy.counts[fault] for fault in faults)


@pytest.mark.slow
def test_a_bad_network_and_a_cache(
    port: int, bucket: UPath, tmp_path: Path, expected: tuple[dict, dict]
) -> None:
    cache = ("--cache", tmp_path / "cache", "--timeout", 2.0)
    with FaultyProxy(port, FAULTS, only_media=True) as proxy, reached_through(proxy.port):
        assert train(URL, tmp_path / "first", *cache) == 0
    with FaultyProxy(port) as proxy, reached_through(proxy.port):
        assert train(URL, tmp_path / "second", *cache) == 0
    assert numbers(tmp_path / "first") == numbers(tmp_path / "second") == expected
    n_files = len(list_files(bucket))
    assert proxy.n_media <= 4 * n_files  # headers and tables; no frames


@pytest.mark.slow
def test_a_small_cache_is_evicted_and_the_numbers_stay(
    bucket: UPath, tmp_path: Path, expected: tuple[dict, dict]
) -> None:
    assert train(bucket, tmp_path / "runs", "--cache", tmp_path / "cache", "--cache-size", "8MB") == 0
    assert numbers(tmp_path / "runs") == expected
    used = sum(path.stat().st_blocks * 512 for path in (tmp_path / "cache").glob("*.frames"))
    assert 0 < used <= 1.1 * 8e6


@pytest.mark.slow
def test_killed_and_parallel_processes_share_a_cache(
    port: int, bucket: UPath, tmp_path: Path, expected: tuple[dict, dict]
) -> None:
    def start(runs: Path) -> subprocess.Popen:
        arguments = ["run-baselines", URL, "--models", "cnn-bn", "--out", runs, *SMALL]
        command = [sys.executable, "-c", "from cs_keras.cli import main; main()", *arguments]
        return subprocess.Popen([*map(str, command), "--cache", str(tmp_path / "cache")])

    with FaultyProxy(port), reached_through(port):
        killed = start(tmp_path / "killed")
        deadline = time.monotonic() + 60
        while not list((tmp_path / "cache").glob("*.frames")) and time.monotonic() < deadline:
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        both = [start(tmp_path / name) for name in ("one", "two")]
        assert [process.wait() for process in both] == [0, 0]
    assert numbers(tmp_path / "one") == numbers(tmp_path / "two") == expected


@pytest.mark.slow
def test_a_server_that_stays_busy_is_reported_in_one_sentence(
    port: int, bucket: UPath, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with FaultyProxy(port, ("503",), only_media=True, always=True) as proxy, reached_through(proxy.port):
        assert train(URL, tmp_path) == 1
    error = capfd.readouterr().err
    assert "Traceback" not in error
    assert error.splitlines()[-1] == f"Error: {URL}/dataset.json: busy, 503 (8 attempts)."


@pytest.mark.slow
def test_frames_that_stay_wrong_are_reported_with_their_track(
    bucket: UPath, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shard = bucket / "shards/fold-00/part-00000.h5"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    write_bytes(shard, bytes(content))
    assert train(URL, tmp_path) == 1
    error = capfd.readouterr().err
    assert "Traceback" not in error
    assert "in gs://music/demo/shards/fold-00/part-00000.h5 has changed since written" in error
    assert run("check", URL) == 1
    assert "shards/fold-00/part-00000.h5: track" in capfd.readouterr().out


def test_check_reads_a_bucket(bucket: UPath, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("check", URL) == 0
    assert "is intact: 60 tracks" in capfd.readouterr().out
    for name in (*FILES, "factors/wmf.npz", "shards/fold-03/part-00000.h5"):
        content = (bucket / name).read_bytes()
        (bucket / name).unlink()
        assert run("check", URL) == 1, name
        assert name.partition("/wmf")[0] in capfd.readouterr().out
        write_bytes(bucket / name, content)


@pytest.mark.slow
def test_check_through_a_bad_network_finds_nothing_wrong(
    port: int, bucket: UPath, capfd: pytest.CaptureFixture[str]
) -> None:
    with FaultyProxy(port, ("corrupt", "truncate", "503", "ok"), only_media=True) as proxy:
        with reached_through(proxy.port):
            assert run("check", URL) == 0
    assert "is intact" in capfd.readouterr().out


def test_a_shard_that_cannot_be_reached_is_neither_made_anew_nor_called_damaged(
    port: int, bucket: UPath, demo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = written(bucket)
    with FaultyProxy(port, ("403",), only_media=True, always=True, named="fold-02") as proxy:
        with reached_through(proxy.port):
            tracks = ("--tracks", demo / "source/tracks.csv")
            assert run("ingest", *tracks, "--out", URL, "--append") == 1
            assert "fold-02/part-00000.h5: " in capfd.readouterr().err
            assert run("check", URL) == 1
            assert "delete them" not in capfd.readouterr().out
    with reached_through(port):
        assert written(bucket) == before


def test_a_removal_whose_answer_is_lost_is_a_removal(port: int, bucket: UPath) -> None:
    with FaultyProxy(port, ("lost",)) as proxy, reached_through(proxy.port):
        place = locate(URL)
        remove(place / "interactions.npz")
    assert "interactions.npz" not in list_files(bucket)


@pytest.mark.slow
def test_check_repairs_a_table_in_a_bucket(bucket: UPath) -> None:
    before = (bucket / "dataset.json").read_bytes()
    (bucket / "dataset.json").unlink()
    assert run("check", URL) == 1
    assert run("check", URL, "--repair") == 0
    assert json.loads((bucket / "dataset.json").read_bytes())["shards"] == json.loads(before)["shards"]


def test_patches_come_from_a_bucket_and_go_into_one(port: int, tmp_path: Path) -> None:
    import h5py

    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "patches.h5", "w") as file:
        file["patches"] = rng.random((30, 513, 64)).astype(np.float32)
        file["index"] = np.repeat(np.arange(10), 3)
    with reached_through(port):
        local, place = tmp_path / "local", locate(f"gs://{BUCKET}/patches")
        there = locate(f"gs://{BUCKET}/elsewhere/patches.h5")
        write_bytes(there, (tmp_path / "patches.h5").read_bytes())
        for source, out in ((tmp_path / "patches.h5", local), (there, place)):
            assert run("import-patches", source, "--folds", "track", "--out", out) == 0
        assert list_files(place) == list_files(local)
        for name in list_files(local):
            assert (place / name).read_bytes() == (local / name).read_bytes()
    shutil.rmtree(local)


def test_a_bucket_that_is_not_there_is_reported(
    port: int, demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with reached_through(port):
        assert train("gs://nowhere/demo", tmp_path) == 1
        assert "gs://nowhere/demo is not a cs-keras dataset" in capfd.readouterr().err
        out = ("--out", "gs://nowhere/demo")
        assert run("ingest", "--tracks", demo / "source/tracks.csv", *out) == 1
        error = capfd.readouterr().err
        assert "Traceback" not in error and "gs://nowhere/demo" in error.splitlines()[-1]
