"""What a run folder's ``evaluation.json``, ``config.json`` and ``failure.json`` hold, checked and typed."""

import dataclasses
import json
import reprlib
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cs_keras.errors import DataError
from cs_keras.evaluation.losses import RegressionLosses
from cs_keras.evaluation.overlap import OverlapAtK
from cs_keras.runs import read_json

EVALUATION_FILE = "evaluation.json"
CONFIG_FILE = "config.json"
FAILURE_FILE = "failure.json"
SCHEMA_VERSION = 1

Record = TypeVar("Record")
Overlaps = dict[str, tuple[OverlapAtK, ...]]  # by "similarity" and, where there are playlists, "dot"


@dataclass(frozen=True)
class EmbeddingEpoch:
    """What one epoch of a triplet embedding reached; shares and spread are 0 to 1."""

    loss: float
    val_loss: float | None = None
    active_share: float | None = None
    embedding_spread: float | None = None


@dataclass(frozen=True)
class EmbeddingRecord:
    """How a triplet embedding was trained; an embedding that is the same for every track scores `margin`."""

    history: tuple[EmbeddingEpoch, ...]
    margin: float


@dataclass(frozen=True)
class Training:
    """How a model was trained; the weights are those of `best_epoch`, counted from 1."""

    parameters: int
    n_train_tracks: int
    epochs: int
    best_epoch: int
    seconds: float
    notes: tuple[str, ...] = ()
    embedding: EmbeddingRecord | None = None


@dataclass(frozen=True)
class TrackCounts:
    """Tracks with reference factors in each split."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class FactorsRecord:
    """Which factors were predicted, and how they were made; `config` is None for ready-made ones."""

    name: str
    n_factors: int
    protocol: str
    scaling: str
    config: dict[str, Any] | None


@dataclass(frozen=True)
class SplitLosses:
    """Losses on each split: the MSE of scaled factors, the others in the original factor space."""

    validation: RegressionLosses
    test: RegressionLosses


@dataclass(frozen=True)
class LeftOut:
    """What could not be used: recordings as (track_id, reason) objects, and tracks on one side only."""

    recordings: tuple[dict[str, Any], ...]
    n_tracks_without_listening: int
    n_unknown_tracks: int


@dataclass(frozen=True)
class Evaluation:
    """A model's results, and those of the predictors that know nothing of sound."""

    model: str
    seed: int
    training: Training
    n_tracks: TrackCounts
    n_playlists: int
    left_out: LeftOut
    factors: FactorsRecord
    losses: SplitLosses
    mean_predictor: SplitLosses
    overlap: Overlaps
    references: dict[str, Overlaps]


@dataclass(frozen=True, order=True)
class Judging:
    """How overlaps were measured: list lengths, similarity, and sizes of test, interval and sample."""

    ks: tuple[int, ...]
    metric: str
    n_permutations: int
    n_bootstrap: int
    max_queries: int


@dataclass(frozen=True)
class Failure:
    """Why a model was not trained to the end."""

    model: str
    reason: str


@dataclass(frozen=True)
class Settings:
    """A run's settings: data and judging decide which runs can be compared, `others` tell them apart.

    Attributes
    ----------
    seed
        None where the file names none.
    others
        All other settings as text, by dotted path, such as ``("training.epochs", "5")``; sorted.
    """

    data_digest: str
    evaluation: Judging
    seed: int | None = None
    others: tuple[tuple[str, str], ...] = ()


def read_evaluation(run: Path) -> Evaluation:
    """Read the results of a finished run.

    Raises
    ------
    StorageError
        When the file cannot be read or is not JSON.
    DataError
        When it is of another schema version, or lacks a value or holds one of another type.
    """
    path = run / EVALUATION_FILE
    content = read_json(path)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path} cannot be read by this version: expected schema_version {SCHEMA_VERSION}. "
            f"Received: {reprlib.repr(version)}."
        )
    return _record(Evaluation, content, path)


def read_settings(run: Path) -> Settings:
    """Read the settings of `run`, finished or not; errors as for `read_evaluation`."""
    path = run / CONFIG_FILE
    content = read_json(path)
    settings = _record(Settings, content, path)
    if not settings.evaluation.ks:
        raise _mismatch(path, "evaluation.ks", "at least one list length", [])
    others = {name: value for name, value in content.items() if name not in _FIELDS}
    return dataclasses.replace(settings, others=tuple(sorted(_flatten(others))))


def read_failure(run: Path) -> Failure:
    """Read why `run` failed; errors as for `read_evaluation`."""
    path = run / FAILURE_FILE
    return _record(Failure, read_json(path), path)


_FIELDS = tuple(field.name for field in dataclasses.fields(Settings))


def _flatten(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _record(kind: type[Record], value: Any, path: Path, prefix: str = "") -> Record:
    """Return a JSON object as dataclass `kind`; keys that it does not name are ignored, some may be missing."""
    if not isinstance(value, dict):
        raise _mismatch(path, prefix.rstrip("."), "an object", value)
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    for field in fields:
        if field.name not in value and field.default is dataclasses.MISSING:
            raise DataError(f"{path} lacks {prefix}{field.name}.")
    names = [field.name for field in fields if field.name in value]
    return kind(**{name: _typed(hints[name], value[name], path, prefix + name) for name in names})


def _typed(kind: Any, value: Any, path: Path, name: str) -> Any:
    """Return a JSON value as `kind`: a dataclass, ``X | None``, ``tuple[X, ...]``, ``dict[str, X]`` or a scalar."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _record(typing.cast(type[Any], kind), value, path, f"{name}.")
    if origin is types.UnionType:
        return None if value is None else _typed(arguments[0], value, path, name)
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(arguments[0], item, path, f"{name}.{i}") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _typed(arguments[1], item, path, f"{name}.{key}") for key, item in value.items()}
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if kind is float or type(value) is not kind:
        raise _mismatch(path, name, _EXPECTED[origin or kind], value)
    return value


_EXPECTED = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "text",
    tuple: "a list",
    dict: "an object",
}


def _mismatch(path: Path, name: str, expected: str, value: Any) -> DataError:
    what = f"{path}: {name}" if name else str(path)
    return DataError(f"{what} must be {expected}. Received: {reprlib.repr(value)}.")
