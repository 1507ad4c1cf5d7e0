"""``config.json``, ``signature.json`` and ``failure.json``: settings of a run, and why its last attempt failed."""

import dataclasses
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cs_keras.config import OMIT_IF_DEFAULT, check_choice, check_range, update_names
from cs_keras.errors import ConfigError, StorageError
from cs_keras.run_files.names import CONFIG_FILE, FAILURE_FILE, SIGNATURE_FILE
from cs_keras.run_files.records import StoredRecord, to_record
from cs_keras.runs import DONE, digest, read_json, verify_run
from cs_keras.storage.location import Location, is_file

CANDIDATES = ("all", "new")  # of an evaluation, and of recommendations
CROSS_VALIDATION = "cross_validation"  # in ``config.json``: number of rotations that a run pools
ROTATIONS_FOLDER = "rotations"  # next to pooled runs, with the runs that they pool


@dataclass(frozen=True, order=True)
class EvaluationConfig:
    """Settings of an evaluation.

    Attributes
    ----------
    ks
        List lengths of the overlap.
    metric
        Metric of track-to-track similarity: ``cosine`` or ``euclidean``.
    n_permutations
        Permutations of the permutation tests.
    max_queries
        Most tracks or playlists to average over; more are sampled.
    candidates
        ``new``: lists hold test tracks; ``all``: overlap is also measured in lists of all tracks.
    """

    ks: tuple[int, ...] = (10, 50, 100, 500)
    metric: str = "cosine"
    n_permutations: int = 999
    n_bootstrap: int = dataclasses.field(
        default=1000, init=False
    )  # of earlier releases; runs are named by it
    max_queries: int = 20_000
    candidates: str = dataclasses.field(default="new", metadata=OMIT_IF_DEFAULT)

    def __post_init__(self) -> None:
        check_choice("evaluation.metric", self.metric, ("cosine", "euclidean"))
        check_choice("evaluation.candidates", self.candidates, CANDIDATES)
        for name in ("n_permutations", "max_queries"):
            check_range(f"evaluation.{name}", getattr(self, name), 1)
        if not self.ks:
            raise ConfigError("evaluation.ks must be at least one list length. Received: none.")
        for k in self.ks:
            check_range("evaluation.ks", k, 1)


@dataclass(frozen=True)
class RunSettings:
    """A run's settings: runs with the same data and evaluation can be compared; `others` distinguish them.

    Attributes
    ----------
    seed
        None where the file names none.
    split_name
        Named split of the dataset; None for the split by folds.
    cross_validation
        Number of rotations that are pooled; None for a single training.
    labels
        Digest of the labels that are evaluated, and of the test tracks; None where factors are.
    others
        All other settings as text, by dotted path, such as ``("training.epochs", "5")``; sorted.
    """

    data_digest: str
    evaluation: EvaluationConfig
    seed: int | None = None
    split_name: str | None = None
    cross_validation: int | None = None
    labels: str | None = None
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ScalerRecord:
    """Kind, offset and scale of each factor of the scaling of a model's targets."""

    kind: Literal["standardize", "unit_norm", "minmax", "none"]
    offset: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.offset) != len(self.scale):
            raise ValueError(f"offset and scale have {len(self.offset)} and {len(self.scale)} values.")


@dataclass(frozen=True)
class SignatureRecord(StoredRecord):
    """Audio settings and stored type of the frames that a model was trained on, and the scaling of its targets."""

    FILE = SIGNATURE_FILE
    VERSIONS = (1,)

    audio: dict[str, Any]
    dtype: str
    scaler: ScalerRecord
    schema_version: int = VERSIONS[-1]


@dataclass(frozen=True)
class Failure(StoredRecord):
    """Why a model was not trained to the end, or left out, as the dataset has no tracks for it."""

    FILE = FAILURE_FILE

    model: str
    reason: str
    is_left_out: bool = False

    @property
    def state(self) -> str:
        """What happened."""
        return "left out" if self.is_left_out else "failed"

    @property
    def outcome(self) -> str:
        """What happened and why, without a full stop."""
        return f"{self.state}: {self.reason.rstrip('.')}"


def read_settings(run: Location) -> RunSettings:
    """Read ``config.json`` of a run, finished or not; errors as for `cs_keras.run_files.records.read_record`."""
    path = run / CONFIG_FILE
    content = read_json(path)
    settings = to_record(RunSettings, content, path)
    names = [field.name for field in dataclasses.fields(RunSettings)]
    if settings.cross_validation:
        names.append("members")  # which differ between seeds
    others = flatten_settings(
        {name: value for name, value in update_names(content).items() if name not in names}
    )
    return dataclasses.replace(settings, others=tuple(sorted(others)))


def require_finished(run: Location, skip: Collection[str]) -> None:
    """Raise StorageError unless `run` is the folder of a finished run, ConfigError if it pools several models.

    StorageError too if a file of it was changed since, except for those with a name in `skip`, which are not read.
    The rotations of a cross-validation have a model each. Those of an ensemble are not trained by it.
    """
    if not is_file(run / DONE):
        raise StorageError(
            f"{run} is not a finished run: expected a run folder of `cs-keras run-baselines` with a file "
            f"{DONE}."
        )
    verify_run(run, skip)
    settings = read_json(run / CONFIG_FILE) if is_file(run / CONFIG_FILE) else None
    if isinstance(settings, dict) and (n_rotations := settings.get(CROSS_VALIDATION)):
        raise ConfigError(
            f"{run} pools {n_rotations} rotations of a cross-validation, each with its own model; name one of "
            f"their runs in {run.parent / ROTATIONS_FOLDER}: {', '.join(map(str, settings.get('members', ())))}."
        )


def digest_pooled(dataset: str, factors: str, n_rotations: int) -> str:
    """Return the data digest of pooled rotations in the one space of some factors, from those of both."""
    return digest([dataset, factors, "cross-validation", n_rotations])


def flatten_settings(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested settings as text by dotted path."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flatten_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)
