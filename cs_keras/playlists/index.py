"""Nearest tracks by faiss: exact, or approximate for very large catalogues with a stored index."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
import numpy.typing as npt

from cs_keras.config import check_choice
from cs_keras.errors import StorageError
from cs_keras.runs import atomic_write
from cs_keras.storage.location import read_bytes

FloatArray = npt.NDArray[np.float32]
Kind = Literal["exact", "hnsw", "ivf"]

KINDS: tuple[Kind, ...] = ("exact", "hnsw", "ivf")
MANY = 1_000_000  # vectors; above it a stored index is approximate unless another kind is requested
FIRST = 64  # tracks requested first; doubled each time they do not suffice
NEIGHBOURS = 32  # of each vector in an HNSW graph: faiss's own default
EF_CONSTRUCTION = 80  # candidates while the graph is built: twice faiss's own, for recall at 200 dimensions
LEAST_SHARE = 0.2  # of an IVF index's lists, to search in
VECTORS_PER_LIST = 64  # that an IVF index is trained on: faiss requires at least 39


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """Vectors searchable by inner product, which is the cosine for unit vectors.

    Attributes
    ----------
    kind
        ``exact``, ``hnsw`` or ``ivf``.
    vectors
        Shape (n, n_factors), float32.
    """

    kind: Kind
    vectors: FloatArray
    _faiss: Any

    def search(self, queries: npt.ArrayLike, k: int) -> npt.NDArray[np.int64]:
        """Return rows of the k largest inner products, shape (n_queries, k), best first.

        Exact ones, ties in row order, where the index is exact; -1 where an approximate one found fewer.
        """
        vectors = np.ascontiguousarray(np.atleast_2d(queries), dtype=np.float32)
        _widen(self.kind, self._faiss, k)
        scores, rows = self._faiss.search(vectors, k)
        order = np.lexsort((rows, -scores), axis=1)
        return np.asarray(np.take_along_axis(rows, order, axis=1))

    def iterate_ranked(self, query: npt.ArrayLike) -> Iterator[int]:
        """Yield rows by falling inner product with `query`, shape (n_factors,)."""
        yielded: set[int] = set()
        k = min(FIRST, len(self.vectors))
        while True:
            for row in self.search(query, k)[0].tolist():
                if row >= 0 and row not in yielded:
                    yielded.add(row)
                    yield row
            if k == len(self.vectors):
                return
            k = min(2 * k, len(self.vectors))

    def save(self, path: Path) -> None:
        """Write the index for `open_index`; raise StorageError if it cannot be written."""
        with atomic_write(path) as file:
            file.write(faiss.serialize_index(self._faiss).tobytes())


def build_index(vectors: npt.ArrayLike, kind: Kind) -> Index:
    """Return an index of `vectors`, shape (n, n_factors).

    ``hnsw``: the graph of Malkov & Yashunin 2018; the fastest, and the slowest to build. ``ivf``: the lists of
    Jégou et al. 2011, about ``4 sqrt(n)`` of them, whose quantiser is trained on a sample.

    Raises
    ------
    ConfigError
        The kind is unknown.
    """
    check_choice("index", kind, KINDS)
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    n_factors = rows.shape[1]
    made: Any
    if kind == "hnsw":
        made = faiss.IndexHNSWFlat(n_factors, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        made.hnsw.efConstruction = EF_CONSTRUCTION
    elif kind == "ivf":
        n_lists = max(1, min(int(4 * len(rows) ** 0.5), len(rows) // VECTORS_PER_LIST))
        quantiser = faiss.IndexFlatIP(n_factors)
        made = faiss.IndexIVFFlat(quantiser, n_factors, n_lists, faiss.METRIC_INNER_PRODUCT)
        rng = np.random.default_rng(0)
        sample = rng.choice(len(rows), min(len(rows), VECTORS_PER_LIST * n_lists), replace=False)
        made.train(rows[np.sort(sample)])
    else:
        made = faiss.IndexFlatIP(n_factors)
    made.add(rows)
    return Index(kind, rows, made)


def open_index(vectors: npt.ArrayLike, kind: Kind, path: Path) -> Index:
    """Return the index of `vectors` stored at `path`, building and storing it if necessary.

    Raises
    ------
    ConfigError
        The kind is unknown.
    StorageError
        `path` holds no index, or one of other vectors or another kind, or it cannot be written.
    """
    if not path.exists():
        index = build_index(vectors, kind)
        index.save(path)
        return index
    check_choice("index", kind, KINDS)
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    try:
        stored = faiss.deserialize_index(np.frombuffer(read_bytes(path), np.uint8))
    except StorageError:
        raise
    except Exception as error:  # faiss raises whatever damaged sizes provoke
        raise StorageError(
            f"{path} is not a readable index; delete it, and it will be built again."
        ) from error
    if (
        type(stored) is not _CLASSES[kind]
        or (stored.ntotal, stored.d) != rows.shape
        or not _holds(stored, rows)
    ):
        raise StorageError(
            f"{path} is not the {kind} index of these {len(rows)} tracks; name another file, or delete it."
        )
    return Index(kind, rows, stored)


def measure_recall(index: Index, k: int, n_queries: int = 100, seed: int = 0) -> float:
    """Return the recall@k of `index` against exact search, over a sample of its own vectors as queries.

    Parameters
    ----------
    index
        Index of any kind.
    k
        Length of the lists.
    n_queries, seed
        Size and seed of the sample.
    """
    rng = np.random.default_rng(seed)
    sample = rng.choice(len(index.vectors), min(n_queries, len(index.vectors)), replace=False)
    queries, k = index.vectors[sample], min(k, len(index.vectors))
    exact = build_index(index.vectors, "exact").search(queries, k)
    approximate = index.search(queries, k)
    return float(
        np.mean([len(set(a) & set(b)) / k for a, b in zip(exact.tolist(), approximate.tolist(), strict=True)])
    )


_CLASSES: dict[Kind, type] = {
    "exact": faiss.IndexFlatIP,
    "hnsw": faiss.IndexHNSWFlat,
    "ivf": faiss.IndexIVFFlat,
}


def _widen(kind: Kind, index: Any, k: int) -> None:
    """Set the search width: at least twice as many candidates as requested, or `LEAST_SHARE` of the lists."""
    if kind == "hnsw":
        index.hnsw.efSearch = max(128, 2 * k)
    elif kind == "ivf":
        share = min(1.0, max(LEAST_SHARE, 2 * k / max(1, index.ntotal)))
        index.nprobe = max(1, round(share * index.nlist))


def _holds(index: Any, rows: FloatArray) -> bool:
    """Return whether a sample of an index's vectors is that of `rows`."""
    sample = np.unique(np.linspace(0, len(rows) - 1, 1000).astype(np.int64)).tolist()
    if isinstance(index, faiss.IndexIVF):
        index.make_direct_map()
    return all(np.array_equal(index.reconstruct(row), rows[row]) for row in sample)
