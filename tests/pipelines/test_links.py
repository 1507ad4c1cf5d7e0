"""Folders in a dataset, a run or a report that are links: what they lead to is neither written nor removed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cs_keras.data.catalogue import read_catalogue
from cs_keras.data.schema import read_tracks
from cs_keras.data.splits import Split
from cs_keras.data.splits import write_split as store_split
from cs_keras.errors import StorageError
from cs_keras.factors.store import load_factors, save_factors
from cs_keras.progress import SilentProgress
from cs_keras.runs import PARTIAL, open_run
from pipelines.dataset.ingest import IngestConfig, ingest
from pipelines.demo import make_demo
from pipelines.inference.predict import write_outputs
from pipelines.removal import remove_runs
from pipelines.training.shared_cache import remove_caches, shared_work
from reports.html.recordings import Recordings, remove_copies
from tests.command_line import run

COPY = f"{'0' * 16}.mp3"


def add_shards(demo: Path, folder: Path, planted: str) -> None:
    ingest(read_catalogue(demo / "source" / "tracks.csv"), folder, IngestConfig())


def write_split(demo: Path, folder: Path, planted: str) -> None:
    tracks = read_tracks(demo)
    parts = np.array(["train", "validation", "test"])[np.arange(len(tracks)) % 3]
    store_split(folder, Split("mine", parts), tracks.ids.tolist())


def write_factors(demo: Path, folder: Path, planted: str) -> None:
    save_factors(folder / "factors" / "mine.npz", load_factors(demo / "factors" / "wmf.npz"))


def synthesise(demo: Path, folder: Path, planted: str) -> None:
    make_demo(folder)


def predict(demo: Path, folder: Path, planted: str) -> None:
    ids, vectors = np.array(["a"]), {"factors": np.zeros((1, 2), np.float32)}
    write_outputs(folder / "out.npz", lambda parts: (ids, vectors, {}, {}))


def share_work(demo: Path, folder: Path, planted: str) -> None:
    with shared_work(folder, {"a": 1}, SilentProgress()):
        raise AssertionError


def begin_run(demo: Path, folder: Path, planted: str) -> None:
    begun = open_run(folder / "new", "cnn", {}, "digest")
    begun.rename(folder / begun.name)
    (folder / begun.name / "checkpoint").symlink_to(folder.parent / "outside")
    open_run(folder, "cnn", {}, "digest")


def copy_recordings(demo: Path, folder: Path, planted: str) -> None:
    recordings = Recordings({"a": demo / "a.wav"}, folder, lambda path: b"copy")
    recordings.url(("a", 0.0))
    recordings.write_copies()


@pytest.mark.parametrize(
    ("write", "planted"),
    [
        (add_shards, "shards"),
        (add_shards, "shards/fold-0"),
        (write_split, "splits"),
        (write_factors, "factors"),
        (synthesise, "source"),
        (predict, "out.npz.parts"),
        (share_work, ".shared"),
        (share_work, ".shared/0123456789abcdef"),
        (lambda demo, folder, planted: remove_caches(folder, "all"), ".shared"),
        (
            lambda demo, folder, planted: remove_runs([folder / planted]),
            f"2026-11-29-cnn-0123456789{PARTIAL}",
        ),
        (begin_run, "unused"),
        (copy_recordings, "audio"),
        (lambda demo, folder, planted: remove_copies(folder), "audio"),
    ],
)
def test_no_writer_follows_a_link_to_a_folder(
    demo: Path, tmp_path: Path, write: Callable[[Path, Path, str], object], planted: str
) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    (folder / planted).parent.mkdir(parents=True)
    outside.mkdir()
    (folder / planted).symlink_to(outside)
    (outside / "cache").mkdir()
    for name in ("config.json", "settings.json", "cache/settings.json", "part-00000.npz", COPY):
        (outside / name).write_text("{}")
    before = {path: path.stat().st_mtime_ns for path in outside.rglob("*")}
    with pytest.raises(StorageError, match="symbolic link, which is not followed|is no run"):
        write(demo, folder, planted)
    assert {path: path.stat().st_mtime_ns for path in outside.rglob("*")} == before


def test_the_folder_that_is_named_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    with shared_work(tmp_path / "runs", {"a": 1}, SilentProgress()) as folder:
        pass
    assert run("runs", "prune", tmp_path / "runs", "--yes") == 0
    assert (tmp_path / "runs").is_symlink() and not folder.exists()


def test_a_report_removes_only_copies_that_it_made(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    for name in ("song.mp3", COPY):
        (tmp_path / "audio" / name).write_bytes(b"")
    remove_copies(tmp_path)
    assert [path.name for path in (tmp_path / "audio").iterdir()] == ["song.mp3"]
