"""Trainers that sleep, count and score by a known function: no TensorFlow, so that a process starts at once."""

import dataclasses
import fcntl
import json
import math
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from cs_keras.run_files.names import OUTCOME_FILE
from cs_keras.training.executions import Execution

LEDGER = "ledger.txt"


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """Trains nothing, in epochs that take `epoch_s` seconds and leave what `pipelines.training.trial` would.

    `ledger` is a folder with a line for each epoch of each trial; `epochs` are those of a whole training.
    """

    ledger: Path
    epochs: int = 2
    epoch_s: float = 0.02

    def __call__(self, execution: Execution, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / OUTCOME_FILE).exists():
                replace(folder / OUTCOME_FILE, json.dumps(self.train(execution, folder)))

    def train(self, execution: Execution, folder: Path) -> dict[str, Any]:
        """Return the outcome."""
        last = execution.until or self.epochs
        first = max(epochs_of(folder), epochs_of(execution.continued))
        for epoch in range(first + 1, last + 1):
            time.sleep(self.epoch_s)
            self.note(folder, f"epoch {epoch}")
            (folder / "checkpoint" / f"epoch-{epoch:05d}").mkdir(parents=True, exist_ok=True)
        score = score_of(execution.changes, last)
        metrics = {execution.objective: score, "val_loss": 1 - score}
        return {
            "metrics": metrics,
            "epochs": last,
            "best_epoch": last,
            "seconds": float(last),  # the same however fast a rehearsal is
            "n_weights": 7,
        }

    def note(self, folder: Path, what: str) -> None:
        with open(self.ledger / LEDGER, "a", encoding="utf-8") as file:  # one write, so whole lines
            file.write(f"{folder.parent.name} {folder.name} {what}\n")


@dataclasses.dataclass(frozen=True)
class Troubled(Rehearsal):
    """A rehearsal that fails: ``killed``, ``raises``, ``pruned``, or by ``data``, which is not its fault.

    `trials` are those that fail, and `times` how often each does.
    """

    how: str = "killed"
    trials: tuple[str, ...] = ("0001",)
    times: int = 1000

    def train(self, execution: Execution, folder: Path) -> dict[str, Any]:
        if folder.parent.name in self.trials and self.count(folder) <= self.times:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "data":
                from cs_keras.errors import DataError

                raise DataError("The dataset has changed.")
            if self.how == "raises":
                raise ZeroDivisionError("no such luck\nand more")
            return {"cause": "pruned", "reason": "it does not learn", "n_weights": 7}
        return super().train(execution, folder)

    def count(self, folder: Path) -> int:
        """Return how often this training was begun, this time included."""
        self.note(folder, "begun")
        return begun(self.ledger)[folder.parent.name]


def score_of(changes: Any, epochs: int) -> float:
    """Return a score between 0 and 1: the better the nearer the rate is to 1e-3, and better after more epochs."""
    rate = changes.get("training", {}).get("learning_rate", 1e-3)
    seed = changes["seed"]
    return 0.5 - 0.1 * abs(math.log10(rate) + 3) + 0.02 * epochs + 0.001 * seed


def epochs_of(folder: Path | None) -> int:
    """Return after which epoch a training can go on."""
    done = sorted((folder / "checkpoint").glob("epoch-*")) if folder else []
    return int(done[-1].name.removeprefix("epoch-")) if done else 0


def lines(ledger: Path) -> list[str]:
    """Return what trainings have noted: trial, execution, and what."""
    path = ledger / LEDGER
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def begun(ledger: Path) -> Counter[str]:
    """Return how often each trial was begun."""
    return Counter(line.split()[0] for line in lines(ledger) if line.endswith("begun"))


def epochs_trained(ledger: Path) -> Counter[str]:
    """Return how many epochs of each trial were trained, those that were trained again included."""
    return Counter(line.split()[0] for line in lines(ledger) if re.search(r" epoch \d+$", line))


def replace(path: Path, text: str) -> None:
    """Write a small file at once, whole."""
    temporary = path.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
