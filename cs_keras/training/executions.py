"""Executions: the trainings of which a trial of a search consists (Keras Tuner's ``executions_per_trial``)."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Execution:
    """One training of one trial.

    Attributes
    ----------
    key
        Model key.
    changes
        Nested settings laid over the model's own, seed included.
    objective
        Name of the objective of the search.
    prune_after
        Epochs after which a model no better than the mean predictor is pruned; 0 for never.
    until
        Epoch to stop after; None for all.
    continued
        Folder of an execution of the same settings that stopped earlier, to continue; None to start anew.
    shared
        Folder of work that trials share.
    keep
        Keep the checkpoint that a later execution needs to continue this one.
    """

    key: str
    changes: Mapping[str, Any]
    objective: str
    prune_after: int
    until: int | None
    continued: Path | None
    shared: Path
    keep: bool


# Trains in a folder and writes outcome.json there (`cs_keras.run_files.study.ExecutionOutcome`). It must resume an
# interrupted training, and raise CsKerasError for failures that are not the trial's.
Trainer = Callable[[Execution, Path], None]
