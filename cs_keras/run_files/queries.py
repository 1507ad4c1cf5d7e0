"""``queries.npz``: results of each query, so that models can be compared pair by pair."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.run_files.evaluation import MODEL, Evaluation, stored_name
from cs_keras.run_files.names import QUERIES_FILE
from cs_keras.runs import read_npz, write_npz

NDCG = "ndcg"


@dataclass(frozen=True, eq=False)
class Queries:
    """Values from 0 to 1 of each query.

    Overlaps are stored as the number of common tracks, in the smallest type that holds the list length.

    Attributes
    ----------
    rows
        By kind (``similarity``, ``dot``, ``ndcg``), the rows of query tracks or playlists, shape (n_queries,).
    values
        By measure, such as ``dot@10`` or ``ndcg@10``, and predictor, shape (n_queries,), float64.
    """

    rows: dict[str, npt.NDArray[np.int64]]
    values: dict[str, dict[str, npt.NDArray[np.float64]]]


def write_queries(run: Path, queries: Queries) -> None:
    """Write ``queries.npz`` of a run."""
    arrays: dict[str, npt.NDArray[np.generic]] = {
        f"{kind}/queries": rows for kind, rows in queries.rows.items()
    }
    for measure, predictors in queries.values.items():
        kind, _, k = measure.partition("@")
        for name, values in predictors.items():
            counts = np.rint(values * int(k)).astype(np.min_scalar_type(int(k)))
            arrays[f"{measure}/{name}"] = values if kind == NDCG else counts
    write_npz(run / QUERIES_FILE, **arrays)


def read_queries(run: Path, evaluation: Evaluation) -> Queries | None:
    """Read ``queries.npz`` of a run; None if the run is of an early release, which had no such file.

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
    stored = {
        (measure, name): f"{measure}/{stored_name(name, evaluation.schema_version)}"
        for measure, name in _members(evaluation)
    }
    kinds = list(dict.fromkeys(measure.partition("@")[0] for measure, _ in stored))
    arrays = read_npz(path, *(f"{kind}/queries" for kind in kinds), *stored.values())
    values: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for (measure, name), member in stored.items():
        kind, _, k = measure.partition("@")
        found, expected = arrays[member], arrays[f"{kind}/queries"].shape
        if found.shape != expected or not np.isfinite(found).all():
            raise DataError(
                f"{path}: {member} must hold a finite number for each query, shape {expected}. "
                f"Received: shape {found.shape}."
            )
        values.setdefault(measure, {})[name] = found / (1 if kind == NDCG else int(k))
    return Queries({kind: arrays[f"{kind}/queries"] for kind in kinds}, values)


def _members(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Yield measures and predictors that the file must hold."""
    for name, overlaps in ((MODEL, evaluation.overlap), *evaluation.references.items()):
        for kind, rows in overlaps.items():
            yield from ((f"{kind}@{k}", name) for k in dict.fromkeys(row.k for row in rows if row.available))
    if evaluation.ranking is not None:
        metrics = evaluation.ranking.predictors.get(MODEL, {})
        yield from ((name, MODEL) for name, mean in metrics.items() if mean and name.startswith(f"{NDCG}@"))
