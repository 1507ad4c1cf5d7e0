"""``queries.npz``: results of each query, for paired comparisons of models."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.run_files.evaluation import MODEL, Evaluation, stored_name
from cs_keras.run_files.names import QUERIES_FILE
from cs_keras.runs import read_npz, write_npz

NDCG = "ndcg"


@dataclass(frozen=True, eq=False)
class Queries:
    """Values from 0 to 1 of each query, by measure such as ``filtered@10``, ``dot@10`` or ``ndcg@10``.

    Attributes
    ----------
    rows
        By measure, the rows of query tracks or playlists, shape (n_queries,). For ``dot_per_artist`` those of all
        draws, one after another, so that a playlist may occur several times.
    values
        By measure and predictor, shape (n_queries,), float64.
    artists
        By measure of lists of tracks, a number for the artist of each query, -1 if unknown, shape (n_queries,).
        None in files of earlier releases.
    sums
        By measure and predictor, the values summed over clusters of queries, as they are and after each cluster of
        tracks is deleted, shape (n_query_clusters, 1 + n_clusters): `sums` of
        `cs_keras.evaluation.statistics.jackknife.QuerySums` for one seed.
    clusters
        By measure, numbers of queries and of tracks in each cluster: `n_queries` and `n_tracks` of the same.
    """

    rows: dict[str, npt.NDArray[np.int64]]
    values: dict[str, dict[str, npt.NDArray[np.float64]]]
    artists: dict[str, npt.NDArray[np.int64]] | None = None
    sums: dict[str, dict[str, npt.NDArray[np.float64]]] | None = None
    clusters: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] | None = None


def write_queries(run: Path, queries: Queries) -> None:
    """Write ``queries.npz`` of a run.

    Queries are stored once by kind of list, and overlaps as the number of common tracks in the smallest type that
    holds the list length and -1, which is stored for queries that have too few candidates for a list.
    """
    kinds: dict[str, npt.NDArray[np.int64]] = {}
    artists: dict[str, npt.NDArray[np.int64]] = {}
    for measure, rows in queries.rows.items():
        kind = _kind_of(measure)
        if len(rows) > len(kinds.get(kind, ())):
            kinds[kind] = rows
            if queries.artists and measure in queries.artists:
                artists[kind] = queries.artists[measure]
    arrays: dict[str, npt.NDArray[np.generic]] = {f"{kind}/queries": rows for kind, rows in kinds.items()}
    arrays |= {f"{kind}/artists": numbers for kind, numbers in artists.items()}
    for measure, predictors in queries.values.items():
        kind, _, length = measure.partition("@")
        k, every = int(length), kinds[kind]
        is_query = (
            np.isin(every, queries.rows[measure]) if len(queries.rows[measure]) < len(every) else slice(None)
        )
        for name, values in predictors.items():
            if kind == NDCG:
                arrays[f"{measure}/{name}"] = values
                continue
            counts = np.full(len(every), -1, np.min_scalar_type(-k - 1))
            counts[is_query] = np.rint(values * k)
            arrays[f"{measure}/{name}"] = counts
    for measure, sizes in (queries.clusters or {}).items():
        arrays |= dict(zip(_cluster_members(measure), sizes, strict=True))
    for measure, sums in (queries.sums or {}).items():
        for name, values in sums.items():
            if _kind_of(measure) == NDCG:
                arrays[f"sums/{measure}/{name}"] = values
                continue
            counts = np.rint(values * int(measure.partition("@")[2]))
            arrays[f"sums/{measure}/{name}"] = counts.astype(np.min_scalar_type(int(counts.max())))
    write_npz(run / QUERIES_FILE, **arrays)


def read_queries(run: Path, evaluation: Evaluation) -> Queries | None:
    """Read ``queries.npz`` of a run; None if the run is of an early release, which had no such file.

    Raises
    ------
    StorageError
        When the file is damaged, or lacks an array that `evaluation` requires.
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
    kinds = list(dict.fromkeys(_kind_of(measure) for measure, _ in stored))
    arrays = read_npz(
        path,
        *(f"{kind}/queries" for kind in kinds),
        *stored.values(),
        optional=(
            *(f"{kind}/artists" for kind in kinds),
            *(f"sums/{member}" for member in stored.values()),
            *(member for measure, _ in stored for member in _cluster_members(measure)),
        ),
    )
    _check(arrays, path)
    rows: dict[str, npt.NDArray[np.int64]] = {}
    values: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    artists: dict[str, npt.NDArray[np.int64]] = {}
    sums: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    clusters: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
    for (measure, name), member in stored.items():
        kind = _kind_of(measure)
        found = arrays[member]
        is_query = found >= 0
        rows[measure] = arrays[f"{kind}/queries"][is_query]
        if f"{kind}/artists" in arrays:
            artists[measure] = arrays[f"{kind}/artists"][is_query]
        k = 1 if kind == NDCG else int(measure.partition("@")[2])
        values.setdefault(measure, {})[name] = found[is_query] / k
        n_queries, n_tracks = (arrays.get(size) for size in _cluster_members(measure))
        if f"sums/{member}" in arrays and n_queries is not None and n_tracks is not None:
            sums.setdefault(measure, {})[name] = arrays[f"sums/{member}"] / k
            clusters[measure] = n_queries, n_tracks
    return Queries(rows, values, artists or None, sums or None, clusters or None)


def _check(arrays: dict[str, npt.NDArray[Any]], path: Path) -> None:
    """Raise DataError unless all arrays are finite numbers, one for each query or cluster."""
    for member, found in arrays.items():
        kind, is_sum = re.split("[@/]", member)[0], member.startswith("sums/")
        if not is_sum:
            expected: tuple[int, ...] = (arrays[f"{kind}/queries"].size,)
        elif member.endswith(("/n_queries", "/n_tracks")):
            expected = (found.size,)
        else:
            sizes = _cluster_members(member.split("/")[1])
            n_queries, n_tracks = (arrays[size].size if size in arrays else 0 for size in sizes)
            expected = (n_queries, 1 + n_tracks) if n_queries else found.shape
        wanted = "iu" if member.endswith(("/queries", "/artists", "/n_queries", "/n_tracks")) else "iuf"
        if found.shape != expected or found.dtype.kind not in wanted or not np.isfinite(found).all():
            raise DataError(
                f"{path}: {member} must hold a finite number for each query, shape {expected}. "
                f"Received: shape {found.shape}, {found.dtype}."
            )


def _cluster_members(measure: str) -> tuple[str, str]:
    return f"sums/{measure}/n_queries", f"sums/{measure}/n_tracks"


def _kind_of(measure: str) -> str:
    return measure.partition("@")[0]


def _members(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Yield measures and predictors that the file must hold."""
    for name, overlaps in ((MODEL, evaluation.overlap), *evaluation.references.items()):
        for kind, rows in overlaps.items():
            yield from ((f"{kind}@{k}", name) for k in dict.fromkeys(row.k for row in rows if row.available))
    if evaluation.ranking is not None:
        metrics = evaluation.ranking.predictors.get(MODEL, {})
        yield from ((name, MODEL) for name, mean in metrics.items() if mean and name.startswith(f"{NDCG}@"))
