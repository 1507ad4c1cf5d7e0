"""``training.json`` and ``metrics.jsonl``: how the model of a run was trained, and the metrics of each epoch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cs_keras.errors import DataError, StorageError
from cs_keras.parsing import parse_json
from cs_keras.run_files.names import METRICS_FILE, TRAINING_FILE
from cs_keras.run_files.records import StoredRecord, to_record
from cs_keras.runs import atomic_write
from cs_keras.storage.location import require_regular

History = tuple[dict[str, Any], ...]  # metrics by name, of each epoch


@dataclass(frozen=True)
class EpochLosses:
    """Losses of one epoch, counted from 1."""

    epoch: int
    loss: float
    val_loss: float | None = None


@dataclass(frozen=True)
class EmbeddingTraining:
    """A record of a triplet embedding's training; a constant embedding has the loss `margin`."""

    margin: float
    history: History
    best_epoch: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not all(isinstance(epoch.get("loss"), int | float) for epoch in self.history):
            raise ValueError("training.embedding.history must have a loss for every epoch.")


@dataclass(frozen=True)
class ClassifierTraining:
    """A record of a genre classifier's training: its train tracks by genre and in all, and its accuracy."""

    genres: dict[str, int]
    n_train_tracks: int
    best_epoch: int
    accuracy: float
    seconds: float
    history: History


@dataclass(frozen=True)
class Training(StoredRecord):
    """A record of a model's training.

    Attributes
    ----------
    parameters
        Trainable parameters.
    n_train_tracks
        Train tracks that were used.
    epochs, best_epoch
        Epochs of the fit to factors, and which of them the weights are from, counted from 1.
    monitor
        Metric of validation tracks by which that epoch is the best.
    seconds
        Time spent in all epochs.
    notes
        Notes for readers of the results, one sentence each, without full stop.
    embedding, classifier
        Training of a triplet embedding or of a genre classifier, where there was one.
    branches
        Summary of each model that was trained first, by model key.
    weights
        Weight of each member of an ensemble, by the name of its run; one is 1 where the best was chosen.
    history
        Metrics of each epoch of the fit to factors; empty in ``evaluation.json``.
    """

    FILE = TRAINING_FILE

    parameters: int
    n_train_tracks: int
    epochs: int
    best_epoch: int
    seconds: float
    monitor: str = "val_loss"
    notes: tuple[str, ...] = ()
    embedding: EmbeddingTraining | None = None
    classifier: ClassifierTraining | None = None
    branches: dict[str, dict[str, Any]] | None = None
    weights: dict[str, float] | None = None
    history: History = ()


def write_metrics(run: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write ``metrics.jsonl``: a line with the metrics of each epoch."""
    with atomic_write(run / METRICS_FILE, "w") as file:
        file.writelines(json.dumps({"epoch": n, **epoch}) + "\n" for n, epoch in enumerate(history, 1))


def read_metrics(run: Path) -> tuple[EpochLosses, ...]:
    """Read the losses in ``metrics.jsonl``; empty if the run did not record them.

    Raises
    ------
    StorageError
        When the file is there and cannot be read.
    DataError
        When a line is not the record of an epoch.
    """
    path = run / METRICS_FILE
    require_regular(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"Cannot read {path}: {error}.") from error
    try:
        contents = [parse_json(line) for line in lines]
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}.") from error
    return tuple(to_record(EpochLosses, content, path) for content in contents)
