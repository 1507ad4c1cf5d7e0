"""Work that runs share is done once, by the first process."""

import json
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipelines.training.procedures.codebook
from cs_keras.errors import StorageError
from cs_keras.progress import SilentProgress
from pipelines.training.shared_cache import SHARED_FOLDER, shared_work
from tests.command_line import SMALL, run


class RecordedLines(SilentProgress):
    """Remembers the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.waiting = threading.Event()

    def log(self, line: str) -> None:
        self.lines.append(line)
        self.waiting.set()


def test_equal_settings_get_the_same_folder_and_others_another(tmp_path: Path) -> None:
    with shared_work(tmp_path, {"a": 1, "b": 2}, SilentProgress()) as one:
        (one / ".half.npz.01234567.tmp").write_bytes(b"left by a kill")
    with shared_work(tmp_path, {"b": 2, "a": 1}, SilentProgress()) as two:
        assert not list(two.glob(".half*"))
    with shared_work(tmp_path, {"a": 1, "b": 3}, SilentProgress()) as other:
        assert one == two != other and one.parent == tmp_path / SHARED_FOLDER
    assert json.loads((one / "settings.json").read_text()) == {"a": 1, "b": 2}


def hold(runs: Path, ready: Any, done: Any) -> None:
    with shared_work(runs, {"a": 1}, SilentProgress()):
        ready.set()
        done.wait()


def test_another_process_waits_and_says_so(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready, done))
    process.start()
    try:
        assert ready.wait(60)
        progress, entered = RecordedLines(), threading.Event()

        def enter() -> None:
            with shared_work(tmp_path, {"a": 1}, progress):
                entered.set()

        thread = threading.Thread(target=enter)
        thread.start()
        assert progress.waiting.wait(60) and not entered.is_set()
        done.set()
        thread.join(60)
        assert entered.is_set() and progress.lines[0].startswith("waiting for another process that writes ")
    finally:
        done.set()
        process.join(60)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / SHARED_FOLDER).write_text("")
    with pytest.raises(StorageError, match="Cannot write "), shared_work(tmp_path, {}, SilentProgress()):
        pass


def predicted(runs: Path, model: str) -> np.ndarray:
    with np.load(next(runs.glob(f"????-??-??-{model}-*")) / "predictions.npz") as stored:
        factors: np.ndarray = stored["factors"]
    return factors


@pytest.mark.slow
def test_both_bags_of_tones_share_codebook_and_histograms(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []
    fit_codebook = pipelines.training.procedures.codebook.fit_codebook

    def counted(*arguments: Any) -> Any:
        fitted.append(arguments)
        return fit_codebook(*arguments)

    monkeypatch.setattr(pipelines.training.procedures.codebook, "fit_codebook", counted)
    together, alone = tmp_path / "together", tmp_path / "alone"
    assert run("run-baselines", demo, "--models", "bot,bot-wide", "--out", together, *SMALL) == 0
    assert len(fitted) == 1
    assert run("run-baselines", demo, "--models", "bot-wide", "--out", alone, *SMALL) == 0
    assert len(fitted) == 2
    assert np.array_equal(predicted(together, "bot-wide"), predicted(alone, "bot-wide"))
    narrow = [*SMALL, "--set=models.bot.model.dense=[8]"]
    assert run("run-baselines", demo, "--models", "bot", "--out", together, *narrow) == 0
    assert len(fitted) == 2
    assert run("run-baselines", demo, "--models", "bot", "--out", together, *narrow, "--seed", 1) == 0
    assert len(fitted) == 3, "another seed is another codebook"


@pytest.mark.slow
def test_features_are_shared_by_runs_with_other_dense_layers(demo: Path, tmp_path: Path) -> None:
    arguments = ["run-baselines", demo, "--models", "choi-features", "--out", tmp_path, *SMALL]
    assert run(*arguments) == 0
    (features,) = tmp_path.glob(f"{SHARED_FOLDER}/*/train.f32")
    written = features.stat().st_mtime_ns
    assert run(*arguments, "--set=models.choi-features.model.dense=[8]") == 0
    assert [path.stat().st_mtime_ns for path in tmp_path.glob(f"{SHARED_FOLDER}/*/train.f32")] == [written]
    notes = [json.loads(p.read_text())["notes"] for p in tmp_path.glob("*-choi-features-*/training.json")]
    assert len(notes) == 2 and all("features are those of random convolutions" in text for (text,) in notes)
