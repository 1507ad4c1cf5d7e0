"""What a run folder's ``evaluation.json``, ``config.json`` and ``failure.json`` hold, checked and typed."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cs_keras.evaluation.groups import GroupMean
from cs_keras.evaluation.losses import RegressionLosses
from cs_keras.evaluation.overlap import OverlapAtK
from cs_keras.runs import read_json
from reports.runs.json_schema import check_version, mismatch, to_record

EVALUATION_FILE = "evaluation.json"
CONFIG_FILE = "config.json"
FAILURE_FILE = "failure.json"
SCHEMA_VERSION = 2
FIRST_VERSION = 1  # of losses and overlaps alone; it is read too

Overlaps = dict[str, tuple[OverlapAtK, ...]]  # by "similarity" and, where there are playlists, "dot"
GroupMeans = dict[str, tuple[GroupMean, ...]]  # by what tracks are grouped by: "popularity" or "artist"


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
    """Which factors were predicted, how they were made (`config` is None for ready-made ones), and how firm."""

    name: str
    n_factors: int
    protocol: str
    scaling: str
    config: dict[str, Any] | None
    quality: dict[str, Any]


@dataclass(frozen=True)
class SplitLosses:
    """Losses on each split: the MSE of scaled factors, the others in the original factor space."""

    validation: RegressionLosses
    test: RegressionLosses


@dataclass(frozen=True)
class LeftOut:
    """What could not be used: recordings as (track_id, reason) objects, and tracks on one side only."""

    recordings: tuple[dict[str, Any], ...]
    n_tracks_without_interactions: int
    n_unknown_tracks: int


@dataclass(frozen=True)
class MeanRecord:
    """A mean over playlists with its bootstrap interval, from 0 to 1."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class RankingRecord:
    """How well playlists find the test tracks they hold: metrics by predictor and name; None if not available."""

    n_playlists: int
    n_left_out: int
    n_candidates: int
    predictors: dict[str, dict[str, MeanRecord | None]]


@dataclass(frozen=True)
class BeyondRecord:
    """Numbers beyond accuracy by predictor and name, of lists of length k."""

    k: int
    predictors: dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class GroupSize:
    """How many test tracks a group has."""

    group: Any
    n: int


@dataclass(frozen=True)
class GroupsRecord:
    """Means of groups of test tracks, at list length k, by predictor and measure (``overlap``, ``ndcg``)."""

    k: int
    sizes: dict[str, tuple[GroupSize, ...]]
    predictors: dict[str, dict[str, GroupMeans]]


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
    n_known_artists: int | None = None
    ranking: RankingRecord | None = None
    beyond_accuracy: BeyondRecord | None = None
    groups: GroupsRecord | None = None


@dataclass(frozen=True, order=True)
class EvaluationSettings:
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
    evaluation: EvaluationSettings
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
    is_first = isinstance(content, dict) and content.get("schema_version") == FIRST_VERSION
    check_version(content, path, FIRST_VERSION if is_first else SCHEMA_VERSION)
    return to_record(Evaluation, content, path)


def read_settings(run: Path) -> Settings:
    """Read the settings of `run`, finished or not; errors as for `read_evaluation`."""
    path = run / CONFIG_FILE
    content = read_json(path)
    settings = to_record(Settings, content, path)
    if not settings.evaluation.ks:
        raise mismatch(path, "evaluation.ks", "at least one list length", [])
    others = {name: value for name, value in content.items() if name not in _FIELDS}
    return dataclasses.replace(settings, others=tuple(sorted(_flatten(others))))


def read_failure(run: Path) -> Failure:
    """Read why `run` failed; errors as for `read_evaluation`."""
    path = run / FAILURE_FILE
    return to_record(Failure, read_json(path), path)


_FIELDS = tuple(field.name for field in dataclasses.fields(Settings))


def _flatten(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)
