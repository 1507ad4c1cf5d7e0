"""A trainer that sleeps; a module of its own, so that the process of a trial imports little."""

import dataclasses
import json
import time
from pathlib import Path

from cs_keras.run_files.names import OUTCOME_FILE
from cs_keras.training.executions import Execution


@dataclasses.dataclass(frozen=True)
class Waiting:
    """A trainer that sleeps and reports a fixed score."""

    seconds: float

    def __call__(self, execution: Execution, folder: Path) -> None:
        time.sleep(self.seconds)
        folder.mkdir(parents=True, exist_ok=True)
        rest = {"epochs": 1, "best_epoch": 1, "seconds": self.seconds, "n_weights": None}
        outcome = {"metrics": {execution.objective: 0.5}, **rest}
        (folder / OUTCOME_FILE).write_text(json.dumps(outcome), encoding="utf-8")
