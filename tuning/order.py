"""What a worker asks of the process that trains; apart, so that the process loads no more than it needs."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Order:
    """What a trainer is to train.

    Attributes
    ----------
    key
        Model key.
    changes
        Nested settings laid over the model's own.
    objective, prune_after
        See `tuning.study.Search`.
    until
        Stop after so many epochs; None for all.
    continued
        Folder to go on from, if it is on this machine; else None.
    shared
        Folder for work that trials share.
    keep
        Leave what a later trial needs to go on from this one.
    """

    key: str
    changes: Mapping[str, Any]
    objective: str
    prune_after: int
    until: int | None
    continued: Path | None
    shared: Path
    keep: bool


# Trains in a folder and leaves outcome.json there: metrics, epochs, best_epoch and seconds, or cause and reason,
# and n_weights in either case. Must go on where it was killed, and raise CsKerasError for what is no trial's fault.
Trainer = Callable[[Order, Path], None]
