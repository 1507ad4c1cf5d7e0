"""What a run's ``queries.npz`` holds: how each query fared, so that models can be compared pair by pair."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.runs import read_npz
from reports.runs.evaluation_json import Evaluation

QUERIES_FILE = "queries.npz"
MODEL = "model"  # what the run's own predictor is called in the file
NDCG = "ndcg"

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Queries:
    """Values from 0 to 1, query by query.

    Attributes
    ----------
    asked
        By kind (``similarity``, ``dot``, ``ndcg``), the rows of tracks or playlists that asked, shape (n_queries,).
    values
        By measure, such as ``dot@10`` or ``ndcg@10``, and predictor, shape (n_queries,), float64.
    """

    asked: dict[str, npt.NDArray[np.int64]]
    values: dict[str, dict[str, Values]]


def read_queries(run: Path, evaluation: Evaluation) -> Queries | None:
    """Read what was found query by query; None if the run is of an earlier release, which kept nothing of it.

    Raises
    ------
    StorageError
        When the file is damaged, or lacks what `evaluation` speaks of.
    DataError
        When its arrays do not fit together.
    """
    path = run / QUERIES_FILE
    if not path.exists():
        return None
    members = list(_members(evaluation))
    kinds = list(dict.fromkeys(measure.partition("@")[0] for measure, _ in members))
    names = [f"{measure}/{predictor}" for measure, predictor in members]
    arrays = read_npz(path, *(f"{kind}/queries" for kind in kinds), *names)
    values: dict[str, dict[str, Values]] = {}
    for measure, predictor in members:
        kind, _, k = measure.partition("@")
        found = arrays[f"{measure}/{predictor}"]
        if found.shape != arrays[f"{kind}/queries"].shape or not np.isfinite(found).all():
            raise DataError(
                f"{path}: {measure}/{predictor} must hold a finite number a query, shape "
                f"{arrays[f'{kind}/queries'].shape}. Received: shape {found.shape}."
            )
        values.setdefault(measure, {})[predictor] = found / (1 if kind == NDCG else int(k))
    return Queries({kind: arrays[f"{kind}/queries"] for kind in kinds}, values)


def _members(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Yield measures and predictors that the file must hold."""
    for name, overlaps in ((MODEL, evaluation.overlap), *evaluation.references.items()):
        for kind, rows in overlaps.items():
            yield from ((f"{kind}@{k}", name) for k in dict.fromkeys(row.k for row in rows if row.available))
    if evaluation.ranking is not None:
        metrics = evaluation.ranking.predictors.get(MODEL, {})
        yield from ((name, MODEL) for name, mean in metrics.items() if mean and name.startswith(f"{NDCG}@"))
